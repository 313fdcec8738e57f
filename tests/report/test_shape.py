"""Statements: paired runs, and the table and figure that show them."""

from __future__ import annotations

import numpy as np
import pytest

from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.report.grid import to_markdown
from andes_engine.report.shape import LABELS, Arm, Case, Statement, measure, numbers_of, statement_grid
from andes_engine.report.shape_page import burst_figure
from andes_engine.report.shape_settings import STATEMENTS
from andes_engine.sim.simulator import simulate
from andes_engine.workload.spec import workload_spec
from scripts.shape import main
from tests.builders import make_engine, make_workload

TRAFFIC = workload_spec({"lengths": "tiny", "requests": 80, "rate": 40.0})
CASE = Case("small", make_engine(200), TRAFFIC)
STATEMENT = Statement(
    "Andes beats FCFS", (CASE,), (Arm("fcfs", "fcfs"), Arm("andes"), Arm("host", limits={"host_kv_blocks": 400}))
)


def test_one_value_for_each_seed_and_the_same_requests_in_each_arm() -> None:
    outcomes = measure(STATEMENT, (0, 1, 2))
    assert set(outcomes) == {("small", "fcfs"), ("small", "andes"), ("small", "host")}
    assert all(values.shape == (3,) for metrics in outcomes.values() for values in metrics.values())
    again = measure(STATEMENT, (1,))
    assert all(again[pair]["qoe_mean"][0] == outcomes[pair]["qoe_mean"][1] for pair in outcomes)
    assert outcomes["small", "host"]["recomputed"][0] < outcomes["small", "andes"]["recomputed"][0]


def test_recomputed_tokens_are_those_beyond_the_prompts() -> None:
    record = simulate(make_engine(), make_workload(3, 600, 20.0, 700), "andes")
    prompts = record.workload.prompt_tokens.sum()
    assert numbers_of(record)["recomputed"] * prompts == pytest.approx(record.prefill_tokens - prompts)
    assert record.preemptions.sum() > 0
    easy = simulate(make_engine(), make_workload(4, 50, 0.5), "andes")
    assert numbers_of(easy)["recomputed"] == 0.0
    assert numbers_of(easy)["perfect_share"] > 0.9


def test_differences_in_the_table_are_paired() -> None:
    low, high = {key: np.array([0.1, 0.5]) for key in LABELS}, {key: np.array([0.4, 0.6]) for key in LABELS}
    outcomes = {("small", "fcfs"): low, ("small", "andes"): high, ("small", "host"): high}
    grid = statement_grid(STATEMENT, outcomes)
    assert [cell.text for cell in grid.rows[0][-2:]] == ["–", "–"]
    assert [cell.text for cell in grid.rows[1][-2:]] == ["+0.200 [+0.100 to +0.300]", "2.60 [1.20 to 4.00]"]
    assert "QoE less fcfs" in to_markdown(grid)
    assert len(burst_figure(STATEMENT, outcomes).axes[0].get_yticks()) == 1


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(AndesError, match="at least one seed"):
        measure(STATEMENT, ())
    with pytest.raises(AndesError, match="SEEDS"):
        main(["none"])
    with pytest.raises(UnknownNameError, match="Did you mean 'burst'"):
        main(["1", "brust"])


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_statements_can_be_shown(name: str) -> None:
    statement = STATEMENTS[name]
    assert set(statement.keys) <= set(LABELS)
    assert len({case.name for case in statement.cases}) == len(statement.cases)
    assert len({arm.name for arm in statement.arms}) == len(statement.arms) > 1
    assert statement.source
