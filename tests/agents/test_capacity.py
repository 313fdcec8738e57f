"""Capacity search on functions with a known crossing, and on the simulator."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents import capacity_points
from agents.capacity import POINTS, CapacityConfig, capacities_of, capacity, run_capacity
from agents.capacity_points import KeptPoints
from agents.capacity_search import BracketError, Curve, Evaluate, Point, Search, search_capacity
from agents.capacity_traffic import CommonTraffic
from agents.cli import compose
from agents.schema import ConfigError, from_mapping
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.records import RunRecord
from andes_engine.report.capacity import CapacityRatio, capacity_figure
from andes_engine.workload import Workload

SMALL = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=8", "search.seeds=2", "search.scan=3", "workers=1")
TRIALS = 200


def config(*overrides: str) -> CapacityConfig:
    return from_mapping(CapacityConfig, compose("capacity", *SMALL, *overrides))


def each(qoe: Callable[[Point], float], asked: list[Point] | None = None) -> Evaluate:
    """Evaluate one point after the other, and note which were asked for."""

    def evaluate(points: Sequence[Point]) -> list[float]:
        if asked is not None:
            asked.extend(points)
        return [qoe(point) for point in points]

    return evaluate


def falling(crossing: float, slope: float = 0.5) -> Callable[[Point], float]:
    return lambda point: 0.9 - slope * (point.load - crossing)


@given(st.floats(0.45, 1.95), st.floats(0.05, 5.0), st.integers(2, 9), st.floats(0.001, 0.2))
def test_finds_a_known_crossing_with_bounded_effort(crossing: float, slope: float, scan: int, tolerance: float) -> None:
    asked: list[Point] = []
    search = Search(seeds=2, scan=scan, tolerance=tolerance)
    curve = search_capacity(["a"], each(falling(crossing, slope), asked), search)["a"]
    inside, outside = curve.bracket(0.9)
    assert inside <= crossing + 1e-9 and crossing <= outside + 1e-9 and outside - inside <= tolerance
    assert curve.crossing(0.9) == pytest.approx(crossing, abs=1e-6), "a straight line is found exactly"
    assert len(asked) <= search.usual_loads * 2 and len(set(asked)) == len(asked), "nothing is evaluated twice"


@settings(max_examples=30)
@given(st.floats(0.5, 1.8), st.floats(0.02, 0.4))
def test_finds_the_crossing_of_a_curve(crossing: float, width: float) -> None:
    curve = search_capacity(
        ["a"], each(lambda at: 1.8 / (1.0 + np.exp((at.load - crossing) / width))), Search(seeds=1, low=0.01, high=9.0)
    )["a"]
    assert curve.crossing(0.9) == pytest.approx(crossing, abs=0.01)


def test_the_first_crossing_counts_and_a_second_is_told() -> None:
    """Below the target from .75 to .95, above it again until 1.5."""

    def dips(point: Point) -> float:
        return 0.8 if 0.75 < point.load < 0.95 or point.load > 1.5 else 0.95

    curve = search_capacity(["a"], each(dips), Search(seeds=1))["a"]
    assert curve.crossing(0.9) == pytest.approx(0.75, abs=0.01)
    assert not curve.monotone(0.9)
    found = capacities_of({"a": curve}, Search(seeds=1), 2.0, [])
    assert "a higher load reaches the target again" in " ".join(found.grid("t").notes)


def lucky(rng: np.random.Generator, seeds: int, ratio: float = 1.0) -> Callable[[Point], float]:
    """Crossing 1 on average, moved by the luck of each workload, which all contenders share; 'b' carries `ratio` as much."""
    luck = rng.normal(0.0, 0.05, seeds)
    return lambda at: 0.9 - 0.6 * (at.load / (ratio if at.contender == "b" else 1.0) - 1.0 - luck[at.seed])


@pytest.mark.parametrize("seeds", [3, 6])
def test_interval_covers_the_true_capacity(seeds: int) -> None:
    rng, hits, search = np.random.default_rng(seeds), 0, Search(seeds=seeds)
    for _ in range(TRIALS):
        curve = search_capacity(["a"], each(lucky(rng, seeds)), search)["a"]
        low, high = np.quantile(curve.resampled(0.9, 0, 500), [0.025, 0.975])
        hits += low <= 1.0 <= high
    assert hits / TRIALS >= 0.93 - 3.1 * np.sqrt(0.93 * 0.07 / TRIALS)


def test_ratios_are_paired_so_luck_cancels() -> None:
    search = Search(seeds=4)
    curves = search_capacity(["a", "b"], each(lucky(np.random.default_rng(1), 4, ratio=1.25)), search)
    found = capacities_of(curves, search, 2.0, ["a"])
    ours, theirs = found.capacities
    (ratio,) = found.ratios
    assert (ratio.contender, ratio.reference, ratio.verdict) == ("b", "a", "more")
    assert ratio.ratio == pytest.approx(1.25)
    assert ratio.high - ratio.low < 0.02 < theirs.high - theirs.low, "the capacities vary, their ratio does not"
    assert ratio.saving == pytest.approx((0.2, 0.2, 0.2), abs=0.02)
    assert ours.rate == pytest.approx(2.0 * ours.load)
    assert (
        found.sentences[0].startswith("b carries 1.25 times the load of a") and "20% fewer GPUs" in found.sentences[0]
    )
    first, again, other = (curves["a"].resampled(0.9, seed) for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_ratio_interval_covers_the_true_ratio() -> None:
    """'b' carries 1.3 times as much, with luck of its own on top of what both share."""
    rng, hits, search = np.random.default_rng(2), 0, Search(seeds=5)
    for _ in range(TRIALS):
        luck, own = rng.normal(0.0, 0.1, 5), rng.normal(0.0, 0.04, 5)

        def qoe(at: Point, luck: np.ndarray = luck, own: np.ndarray = own) -> float:
            crossing = 1.0 + luck[at.seed] if at.contender == "a" else 1.3 * (1.0 + luck[at.seed]) + own[at.seed]
            return 0.9 - 0.5 * (at.load - crossing)

        curves = search_capacity(["a", "b"], each(qoe), search)
        low, high = np.quantile(curves["b"].resampled(0.9, 0, 500) / curves["a"].resampled(0.9, 0, 500), [0.025, 0.975])
        hits += low <= 1.3 <= high
    assert hits / TRIALS >= 0.93 - 3.1 * np.sqrt(0.93 * 0.07 / TRIALS)


def test_same_capacity_is_no_difference() -> None:
    search = Search(seeds=4)
    curves = search_capacity(["a", "b"], each(lucky(np.random.default_rng(1), 4)), search)
    found = capacities_of(curves, search, 2.0, ["a"])
    assert found.ratios[0].verdict == "no difference" and "no difference" in found.sentences[0]
    assert CapacityRatio("b", "a", 0.8, 0.7, 0.9).verdict == "less"


def test_one_workload_has_no_interval() -> None:
    search = Search(seeds=1)
    found = capacities_of(search_capacity(["a", "b"], each(falling(1.0)), search), search, 2.0, ["a"])
    assert np.isnan([found.capacities[0].low, found.ratios[0].high]).all()
    assert found.ratios[0].verdict == "unknown" and "interval unknown" in found.sentences[0]


def test_an_interval_that_leaves_the_searched_loads_says_so() -> None:
    search = Search(seeds=3, low=0.98, high=1.02)
    curve = search_capacity(["a"], each(lambda at: 0.9 - (at.load - 1.0) + 0.05 * (at.seed - 1)), search)["a"]
    found = capacities_of({"a": curve}, search, 2.0, [])
    assert not found.capacities[0].bounded and "give a wider low and high" in found.grid("t").notes[-1]


def test_capacities_outside_the_loads_are_refused() -> None:
    with pytest.raises(BracketError, match=r"^a: mean QoE is 0.850 < 0.9 already at load 0.4; give a lower `low`"):
        search_capacity(["a"], each(lambda at: 0.85), Search())
    with pytest.raises(BracketError, match=r"^b: mean QoE >= 0.9 at every load up to 2 .* give a higher `high`"):
        search_capacity(["a", "b"], each(lambda at: 0.95 if at.contender == "b" else falling(1.0)(at)), Search())
    with pytest.raises(AndesError, match=r"no mean QoE at Point\(contender='a', load=0.4, seed=1\)"):
        search_capacity(["a"], each(lambda at: np.nan if at.seed == 1 else 0.9), Search(seeds=2))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": 1.0}, "between 0 and 1"),
        ({"target": float("nan")}, "between 0 and 1"),
        ({"low": 0.0}, "0 < low < high"),
        ({"high": 0.4}, "0 < low < high"),
        ({"tolerance": 0.0}, "tolerance = 0.0"),
        ({"seeds": 0}, "seeds = 0 must be at least 1"),
        ({"scan": 1}, "scan = 1 must be at least 2"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Search(**changes)


@pytest.mark.parametrize("change", [(), ("workload=gamma",), ("workload.duration_s=null", "workload.requests=40")])
def test_every_load_has_the_same_requests(change: tuple[str, ...]) -> None:
    given_config = config("workload.on_too_long=drop", *change)
    traffic = CommonTraffic.up_to(1.6, given_config.engine, given_config.workload, 2)
    few, many = traffic.at(0.8), traffic.at(1.6)
    assert few[0].fingerprint != few[1].fingerprint
    for low, high in zip(few, many, strict=True):
        assert len(low) <= len(high)
        for column in ("prompt_tokens", "output_tokens", "latency_s"):
            np.testing.assert_array_equal(getattr(low, column), getattr(high, column)[: len(low)])
        if not given_config.workload.requests:
            assert len(low) < len(high) and high.duration_s < given_config.workload.duration_s


def test_segments_keep_their_times_at_every_load() -> None:
    given_config = config("workload=flash_crowd", "workload.duration_s=80")
    traffic = CommonTraffic.up_to(2.0, given_config.engine, given_config.workload, 1)
    (few,), (many,) = traffic.at(0.5), traffic.at(2.0)
    assert len(many) > 3 * len(few)
    for workload in (few, many):  # the crowd comes after 35 s and stays for 10
        crowd = len(workload.between(35.0, 45.0)) / 10.0
        assert crowd > 1.5 * len(workload.between(0.0, 35.0)) / 35.0


def test_a_trace_is_stretched(tmp_path: Path) -> None:
    trace = tmp_path / "mine.csv"
    rows = [f"2024-01-01 00:00:{0.5 * row:09.6f},{100 + row},{20 + row}" for row in range(40)]
    trace.write_text("\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows]) + "\n")
    given_config = config(f"trace={trace}", "workload=trace", "workload.duration_s=null")
    traffic = CommonTraffic.up_to(2.0, given_config.engine, given_config.workload, 1)
    assert traffic.at(2.0)[0].rate / traffic.at(0.5)[0].rate == pytest.approx(4.0)


def test_the_simulator_is_searched_and_written_down(tmp_path: Path) -> None:
    done = run_capacity(config(f"run_dir={tmp_path / 'run'}"))
    written = json.loads((done.run_dir / "results.json").read_text())
    assert [entry["contender"] for entry in written["capacities"]] == ["fcfs", "fcfs_reserve", "andes", "tuned_andes"]
    assert len(written["ratios"]) == len(written["gpu_savings"]) == 5
    assert written["search"]["target"] == 0.9 and written["saturation_rate"] > 0.0
    for entry in done.found.capacities:
        curve = Curve(entry.loads, entry.qoe)
        assert 0.4 < entry.load < 2.0 and curve.crossing(0.9) == entry.load
    by_pair = {(entry.contender, entry.reference): entry for entry in done.found.ratios}
    assert by_pair["andes", "fcfs"].ratio > 1.0
    assert {path.name for path in (done.run_dir / "figures").iterdir()} == {"capacity.svg", "capacity.png"}
    assert [row[0].value for row in done.grid.rows] == ["fcfs", "fcfs_reserve", "andes", "tuned_andes"]
    assert {column.group for column in done.grid.columns} == {"", "capacity", "against fcfs", "against fcfs_reserve"}


def test_a_search_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    simulate, made = capacity_points.run_simulated, []

    def counted(engine: EngineConfig, workload: Workload, contender: Contender) -> RunRecord:
        if len(made) == 7:
            made.append(None)
            raise KeyboardInterrupt
        made.append((workload.fingerprint, contender.name))
        return simulate(engine, workload, contender)

    monkeypatch.setattr(capacity_points, "run_simulated", counted)
    settings, file = config(f"run_dir={tmp_path / 'run'}"), tmp_path / "run" / POINTS
    with pytest.raises(KeyboardInterrupt):
        run_capacity(settings)
    with file.open("a") as lines:
        lines.write('["half a li')
    done = run_capacity(settings)
    again = run_capacity(config(f"run_dir={tmp_path / 'whole'}"))
    whole = len(file.read_text().splitlines())
    assert len(made) == 2 * whole + 1, "each point of both searches once, and the interrupt"
    for stopped, straight in zip(done.found.capacities, again.found.capacities, strict=True):
        np.testing.assert_array_equal(stopped.qoe, straight.qoe)
    with pytest.raises(ConfigError, match="holds a run already"):
        run_capacity(settings)
    file.write_text('["a", 0.5]\n["b"]\n')
    with pytest.raises(ConfigError, match=r"points.jsonl, line 2: no point of a capacity search .*; remove the line"):
        KeptPoints(file)


def test_processes_find_what_one_process_finds() -> None:
    given_config, search = config(), Search(seeds=2, scan=2, tolerance=0.4)
    schedulers = [Contender("fcfs", "fcfs")]
    alone, together = (
        capacity(given_config.engine, given_config.workload, schedulers, search, workers=workers) for workers in (1, 2)
    )
    np.testing.assert_array_equal(alone.capacities[0].qoe, together.capacities[0].qoe)


def test_who_takes_part_is_checked() -> None:
    given_config, fcfs = config(), Contender("fcfs", "fcfs")
    for contenders, references, error, told in (
        ([fcfs], ["fcsf"], UnknownNameError, "Did you mean 'fcfs'"),
        ([fcfs, replace(fcfs, scheduler="andes")], [], ConfigError, "different names"),
        ([], [], ConfigError, "different names"),
    ):
        with pytest.raises(error, match=told):
            capacity(given_config.engine, given_config.workload, contenders, Search(), references)


def test_figure_marks_each_crossing() -> None:
    search = Search(seeds=3)
    curves = search_capacity(["fcfs", "andes"], each(lucky(np.random.default_rng(0), 3)), search)
    found = capacities_of(curves, search, 1.0, [])
    axes = capacity_figure(found.capacities, 0.9).axes[0]
    marked = [line.get_xdata()[0] for line in axes.lines if len(line.get_xdata()) == 1]
    assert marked == [entry.load for entry in found.capacities]
    with pytest.raises(ValueError, match="at least one"):
        capacity_figure([], 0.9)
