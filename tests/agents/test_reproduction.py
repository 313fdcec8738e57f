"""The reproduction: statements as settings, claims from numbers, the document."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.cli import compose
from agents.evaluate import Outcome
from agents.reproduction.document import PAGE, write_document
from agents.reproduction.headlines import saving_section, times_claim
from agents.reproduction.run import SIZES, ReproduceConfig
from agents.reproduction.section import Section
from agents.reproduction.statement import Arm, Case, Found, Statement
from agents.reproduction.statement_claims import CLAIMS, cap, control, greedy, horizon, light, steady
from agents.reproduction.statements import STATEMENTS, TINY, burst
from agents.reproduction.sweeps import hour_section, sweep_section
from agents.run_suite import run_suite
from agents.schema import SettingError, from_mapping
from agents.suite import Suite
from agents.suite_file import suite_of
from andes_engine.contender import Contender
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import simulate
from tests.builders import make_engine, make_workload

SMALL = Statement(
    "small",
    "Andes beats FCFS",
    (Case("tiny", TINY, burst("tiny", 20.0), 1.3),),
    (Arm("fcfs", "fcfs"), Arm("andes"), Arm("host", limits={"host_kv_blocks": 400})),
    ratio=True,
)


def config(*overrides: str) -> ReproduceConfig:
    return from_mapping(ReproduceConfig, compose("reproduce", "run_dir=runs/nowhere", *overrides))


def found(**arms: tuple[float, ...]) -> Found:
    """Mean QoE of arms in one case; `_` stands for a blank in a name."""
    return {("case, load 0.3", name.replace("_", " ")): {"qoe_mean": np.array(values)} for name, values in arms.items()}


def record(name: str, qoe: float) -> RunRecord:
    run = simulate(make_engine(), make_workload(1, 20, 1.0), "fcfs")
    return replace(run, scheduler=name, qoe=np.full(len(run.qoe), qoe))


def outcome(setting: str, name: str, qoe: float, seed: int = 0) -> Outcome:
    return Outcome(f"{setting}, load 1", record(name, qoe), setting, 1.0, seed)


def test_every_arm_of_a_statement_serves_the_same_requests(tmp_path: Path) -> None:
    outcomes = run_suite(Suite("s", tuple(SMALL.settings(2))), (), tmp_path, workers=1)
    prints = {(entry.seed, entry.record.workload.fingerprint) for entry in outcomes}
    assert len(outcomes) == 6 and len(prints) == 2
    values = SMALL.found(outcomes)
    assert set(values) == {("tiny", "fcfs"), ("tiny", "andes"), ("tiny", "host")}
    assert all(columns["qoe_mean"].shape == (2,) for columns in values.values())
    assert (values["tiny", "host"]["recomputed_per_request"] < values["tiny", "andes"]["recomputed_per_request"]).all()
    rows = SMALL.grid(values).rows
    assert [cell.text for cell in rows[0][-2:]] == ["–", "–"]
    gain = np.median(values["tiny", "andes"]["qoe_mean"] - values["tiny", "fcfs"]["qoe_mean"])
    assert rows[1][-2].value == f"{gain:+.3f}"
    plain = replace(SMALL, ratio=False).grid(values)
    assert [row[:-1] for row in rows] == [*plain.rows] and plain.columns[-1].label == "QoE less fcfs"


def test_the_suite_of_the_paper_and_all_statements_have_names_of_their_own() -> None:
    settings = [
        *suite_of(config().compare).settings,
        *(one for entry in STATEMENTS.values() for one in entry.settings(1)),
    ]
    assert len({setting.name for setting in settings}) == len(settings) > 200
    assert set(CLAIMS) <= set(STATEMENTS)


def test_the_smoke_size_shortens_every_workload_and_keeps_its_shape() -> None:
    whole = list(suite_of(config().compare).settings)
    kept = SIZES["smoke"].of(whole)
    assert len(kept) == -(-len(whole) // 5) and SIZES["full"].of(whole) == whole
    for small in kept:
        large = next(setting for setting in whole if setting.name == small.name)
        assert small.workload.duration_s == pytest.approx(0.1 * large.workload.duration_s) and small.seeds == 1
        assert small.workload.lengths == large.workload.lengths
        if small.workload.arrivals != large.workload.arrivals:
            assert small.workload.arrivals == {**large.workload.arrivals, "period_s": 120.0}


@pytest.mark.parametrize(
    ("claim", "values", "holds"),
    [
        (light, {"fcfs": (0.99,), "andes": (0.985,)}, "yes"),
        (light, {"fcfs": (0.90,), "andes": (0.98,)}, "partly"),
        (light, {"fcfs": (0.99,), "andes": (0.80,)}, "no"),
        (greedy, {"greedy": (0.90,), "exact": (0.89,)}, "yes"),
        (greedy, {"greedy": (0.90,), "exact": (0.92,)}, "no"),
        (horizon, {"10_s": (0.80,), "50_s": (0.81,)}, "yes"),
        (horizon, {"10_s": (0.80,), "50_s": (0.95,)}, "no"),
        (cap, {"at_most_1": (0.8,), "at_most_2": (0.8,), "at_most_4": (0.8,), "at_most_16": (0.7,)}, "yes"),
        (cap, {"at_most_1": (0.8,), "at_most_2": (0.9,), "at_most_4": (0.9,), "at_most_16": (0.9,)}, "no"),
        (control, {"uncontrolled": (0.4,), "uncontrolled_but_refined": (0.7,), "fcfs": (0.6,)}, "yes"),
        (control, {"uncontrolled": (0.7,), "uncontrolled_but_refined": (0.7,), "fcfs": (0.6,)}, "no"),
    ],
)
def test_claims_follow_the_numbers(
    claim: Callable[[Found], object], values: dict[str, tuple[float, ...]], holds: str
) -> None:
    assert claim(found(**values)).holds == holds  # type: ignore[attr-defined]


def test_the_steady_claim_weighs_tail_first_token_and_price() -> None:
    def run(p10: float, ttft_s: float, speed: float) -> dict[str, np.ndarray]:
        return {
            key: np.array([value]) for key, value in (("qoe_p10", p10), ("ttft_p50_s", ttft_s), ("tokens_per_s", speed))
        }

    fcfs = {("case", "fcfs"): run(0.1, 50.0, 100.0)}
    assert steady({**fcfs, ("case", "andes"): run(0.7, 0.5, 95.0)}).holds == "yes"
    assert steady({**fcfs, ("case", "andes"): run(0.7, 0.5, 60.0)}).holds == "partly"
    assert steady({**fcfs, ("case", "andes"): run(0.05, 0.5, 99.0)}).holds == "no"


def test_the_headline_is_the_largest_ratio_and_says_where() -> None:
    pairs = {"a, burst, coding, h 2.0": (0.9, 0.9), "b, burst, arxiv, w 0.40": (0.2, 0.9)}
    outcomes = [
        outcome(name, who, qoe)
        for name, both in pairs.items()
        for who, qoe in zip(("fcfs", "andes"), both, strict=True)
    ]
    claim = times_claim(outcomes)
    assert claim.holds == "yes" and claim.ours.startswith("up to 4.5x (b, burst, arxiv, w 0.40)")


def test_both_sweeps_share_the_default_burst() -> None:
    names = [f"a, burst, coding, {point}" for point in ("h 1.2", "h 2.0", "w 0.45")]
    section = sweep_section([outcome(name, who, qoe) for name in names for who, qoe in (("fcfs", 0.5), ("andes", 0.8))])
    assert [len(entry.figure.axes[0].lines[0].get_xdata()) for entry in section.figures] == [2, 2]
    assert "ahead of FCFS at 2 of 2 points, by +0.300" in section.text[0]


def test_the_hour_sets_the_published_numbers_beside_ours() -> None:
    where = "phi_3_5_moe, burstgpt hour, sharegpt_multi_round"
    section = hour_section([outcome(where, "fcfs", 0.5), outcome(where, "andes", 0.8)])
    first = section.claims[0]
    assert (first.published, first.ours, first.holds) == (".88 to .99", "0.500 to 0.800", "yes")
    assert len(section.grids[0].rows) == 2


def test_a_capacity_outside_the_searched_loads_is_said_not_hidden() -> None:
    search = replace(config().capacity, low=0.05, high=0.1, scan=2, seeds=1)
    who = [Contender("fcfs", "fcfs"), Contender("fcfs_reserve", "fcfs", {"kv_reserve": 0.05}), Contender("andes")]
    section = saving_section([TINY], [burst("tiny", 10.0)], who, search, workers=1)
    assert not section.claims and "not found" in section.text[0]


def test_the_document_has_every_claim_and_picture(tmp_path: Path) -> None:
    names = ["a, burst, coding, h 1.2", "a, burst, coding, h 2.0"]
    outcomes = [outcome(name, who, qoe) for name in names for who, qoe in (("fcfs", 0.5), ("andes", 0.8))]
    sections = [Section("All", claims=(times_claim(outcomes),)), sweep_section(outcomes)]
    page = write_document(tmp_path, "make reproduce", sections, 60.0)
    text = page.read_text()
    assert page.name == PAGE and "| mean QoE over vLLM's FCFS at equal GPUs | v2 | up to 4.7x |" in text
    pictures = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert pictures and all((tmp_path / picture).is_file() for picture in pictures)


@pytest.mark.parametrize(
    ("override", "error", "said"),
    [
        ("size=huge", UnknownNameError, "Known: full, smoke"),
        ("statements=[brust]", UnknownNameError, "Did you mean 'burst'"),
        ("~compare.contenders.fcfs", AndesError, "fcfs and andes must take part"),
        ("capacity.target=2.0", SettingError, "between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused(override: str, error: type[AndesError], said: str) -> None:
    with pytest.raises(error, match=said):
        config(override)
