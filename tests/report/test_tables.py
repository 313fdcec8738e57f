from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from rich.console import Console

from andes_engine.metrics import HEADLINE, METRICS, summarize
from andes_engine.report.differences import Difference, difference_grid
from andes_engine.report.grid import MISSING, Cell, Column, Grid, to_markdown, to_rich
from andes_engine.report.tables import compare, comparison_grid


def printed(grid: Grid, width: int = 220) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(to_rich(grid))
    return console.export_text()


def test_values_are_median_and_range_of_the_metric(busy):
    comparison = compare({"simulator": busy})
    for scheduler in ("fcfs", "andes"):
        for key in HEADLINE:
            expected = [summarize(run)[key] for run in busy if run.scheduler == scheduler]
            got = comparison.values["simulator", scheduler, key]
            assert (got.median, got.low, got.high) == (np.median(expected), min(expected), max(expected))
            assert got.runs == 2


def test_what_was_not_measured_is_a_dash(busy, live):
    grid = comparison_grid(compare({"simulator": busy, "live vLLM": live}), "t")
    andes = next(row for row in grid.rows if row[0].value == "andes")
    shown = len(HEADLINE)
    assert all(cell.value != MISSING for cell in andes[1 : 1 + shown])
    assert [cell.value for cell in andes[1 + shown :]] == [MISSING] * shown


def test_an_engine_without_runs_keeps_its_columns(busy):
    grid = comparison_grid(compare({"simulator": busy, "live vLLM": []}), "t")
    assert grid.groups == [("", 1), ("simulator", len(HEADLINE)), ("live vLLM", len(HEADLINE))]


def test_a_metric_nobody_could_measure_is_a_dash(busy):
    silent = replace(busy[0], first_token_s=np.full(len(busy[0].workload), np.nan))
    grid = comparison_grid(compare({"sim": [silent]}, ("ttft_p50_s", "qoe_mean")), "t")
    assert grid.rows[0][1] == Cell(MISSING)
    assert grid.rows[0][2].value != MISSING


def test_both_layouts_show_the_same_cells(busy, live):
    comparison = compare({"simulator": busy, "live vLLM": live})
    wide, tall = comparison_grid(comparison, "t"), comparison_grid(comparison, "t", layout="rows")
    flat = [cell for row in wide.rows for cell in row[1:]]
    assert flat == [cell for row in tall.rows for cell in row[2:]]


@pytest.mark.parametrize("layout", ["columns", "rows"])
def test_terminal_and_markdown_show_every_number(busy, live, layout):
    grid = comparison_grid(compare({"simulator": busy, "live vLLM": live}), "QoE [0, 1]", layout)
    for text in (printed(grid), to_markdown(grid)):
        assert "QoE [0, 1]" in text
        for part in (part for row in grid.rows for cell in row for part in cell if part):
            assert part in text


def test_seven_metrics_fit_a_terminal_of_120_columns(busy):
    grid = comparison_grid(compare({"simulator": busy}), "t", "rows")
    text = printed(grid, width=120)
    assert "…" not in text
    assert all(cell.spread in text for row in grid.rows for cell in row)


def test_markdown_is_rectangular_and_escapes_bars():
    grid = Grid("a|b", (Column("x|y", numeric=False), Column("z")), ((Cell("1|2"), Cell("3", "2–4")),))
    lines = [line.replace("\\|", "") for line in to_markdown(grid).splitlines() if line.startswith("|")]
    assert all(a.count("|") == b.count("|") for a, b in pairwise(lines))
    assert lines[-1] == "| 12 | 3 [2–4] |"


def test_a_note_of_several_tables_is_said_once():
    first, second = (
        Grid(title, (Column("x"),), ((Cell("1"),),), ("of all", f"of {title}")) for title in ("one", "two")
    )
    assert to_markdown(first, second).split("\n\n")[-2:] == ["| x |\n| ---: |\n| 1 |", "of two\n"]
    assert to_markdown(second).split("\n\n")[-2:] == ["of all", "of two\n"]


def test_a_title_that_stands_above_is_not_said_again():
    grid = Grid("one", (Column("x"),), ((Cell("1"),),))
    assert "**one**" in to_markdown(grid) and to_markdown(grid, heading="one").startswith("| x |")


def test_grid_refuses_a_short_row():
    with pytest.raises(ValueError, match="a row has 1 cells, there are 2 columns"):
        Grid("t", (Column("a"), Column("b")), ((Cell("1"),),))


def test_notes_name_unfinished_requests_with_the_lower_bound(cut_short):
    notes = " ".join(compare({"sim": [cut_short]}).notes)
    unfinished = int((~cut_short.finished).sum())
    assert unfinished > 0
    assert f"{unfinished} requests unfinished" in notes
    assert f"{cut_short.qoe_lower.mean():.3f}" in notes


def test_notes_name_a_scheduler_that_ran_other_workloads(busy):
    assert not any("not comparable" in note for note in compare({"sim": busy}).notes)
    notes = compare({"sim": busy[:3]}).notes
    assert any("sim, andes: ran 1 of the 2 workloads" in note for note in notes)


@pytest.mark.parametrize(
    ("low", "high", "key", "verdict"),
    [
        (0.1, 0.3, "qoe_mean", "better"),
        (0.1, 0.3, "ttft_p90_s", "worse"),
        (-0.1, 0.5, "qoe_mean", "no difference"),
        (np.nan, np.nan, "tokens_per_s", "unknown"),
    ],
)
def test_difference_rows_show_interval_and_verdict(low, high, key, verdict):
    entry = Difference("andes", "fcfs", key, 0.2, low, high, 0.7, 4)
    row = difference_grid([entry], "t").rows[0]
    assert row[-1].value == verdict
    assert (row[3].value == MISSING) == (verdict == "unknown")


def test_every_metric_can_be_shown(busy):
    keys = [entry.key for entry in METRICS]
    assert len(comparison_grid(compare({"sim": busy}, keys), "t").columns) == 1 + len(keys)


def test_robust_differences_get_a_column_of_their_own():
    entry = Difference("andes", "fcfs", "qoe_mean", 0.2, 0.1, 0.3, 0.7, 4, 0.6, 0.8, 0.15, np.nan, np.nan)
    plain, robust = (difference_grid([entry], "t", robust) for robust in (False, True))
    assert len(robust.columns) == len(plain.columns) + 1 and robust.columns[4].label == "IQM"
    assert [cell.text for cell in robust.rows[0][2:6]] == ["+0.200", "[+0.100, +0.300]", "+0.150", "0.70 [0.60, 0.80]"]
    unknown = Difference("andes", "fcfs", "qoe_mean", np.nan, np.nan, np.nan, np.nan, 4)
    assert [cell.text for cell in difference_grid([unknown], "t").rows[0][2:5]] == [MISSING] * 3
