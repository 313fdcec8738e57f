"""RESULTS.md: statistics with known answers, the choice in hindsight, and the page made again from recorded rows."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from agents.bootstrap import crossed_replicates, percentile_interval
from agents.cli import compose
from agents.json_file import read_json, write_json
from agents.results import measure as measuring
from agents.results.arms import Arm, Member, arms_of, policies_of
from agents.results.capacity import capacity_goals, ratio
from agents.results.cards import judgement
from agents.results.config import Ablation, ResultsConfig
from agents.results.curves import curves_section, training_curves
from agents.results.effects import Effect, closed, difference, effect
from agents.results.goals import NOT_WORSE, gained, goal_rows, own_goal_rows
from agents.results.hindsight import choices, chosen, hindsight_grid
from agents.results.kept import ROWS, read_kept
from agents.results.live import live_goals, live_grids, live_results
from agents.results.measured import Found, Measured, Place, Places, segments_of
from agents.results.page import PAGE, RECORDS
from agents.results.run import results
from agents.run_suite import run_suite
from agents.schema import ConfigError, SettingError, from_mapping
from agents.suite_settings import GridSettings, SuiteSettings
from andes_engine.contender import Contender
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.report.grid import to_markdown
from andes_engine.sim.simulator import simulate
from tests.builders import make_engine, make_workload
from tests.engine.test_policy import make_bundle

SEEDS = 3
KEYS = ("qoe_mean", "qoe_p10", "late_share", "tokens_per_s")


def places(suite_loads: Sequence[float], workloads: int = 3) -> Places:
    return Places(tuple(Place("a", load, seed, f"{load}-{seed}") for load in suite_loads for seed in range(workloads)))


def measured(**arms: float | np.ndarray) -> Measured:
    """Arms on loads .8 and 1.2 of `held_out`, three workloads each: one level everywhere, or (seeds, workloads)."""
    where = places((0.8, 1.2))
    found = {}
    for name, level in arms.items():
        values = np.full((1, 6), level) if np.isscalar(level) else np.asarray(level)
        found["held_out", name] = Found(dict.fromkeys(KEYS, values))
    return Measured({"held_out": where}, found)


def test_a_difference_is_paired_by_workload_and_over_training_seeds() -> None:
    workload = np.linspace(0.1, 0.6, 6)
    policy = workload + np.array([[0.08], [0.10], [0.12]])
    found = difference(measured(policy=policy, andes=workload[None]), "held_out", "policy", "andes")
    assert found is not None and found.value == pytest.approx(0.10) and (found.seeds, found.workloads) == (3, 6)
    assert 0.0 < found.low < 0.08 and 0.12 < found.high < 0.2  # three seeds: as wide as a t interval, 0.05 either way
    assert found.high - found.low == pytest.approx(2 * 4.303 * 0.02 / np.sqrt(3), rel=0.25)
    alone = difference(measured(policy=policy[:1], andes=workload[None]), "held_out", "policy", "andes")
    assert alone is not None and alone.high - alone.low < 1e-9  # nothing left that varies


def test_only_the_overload_grid_counts_where_it_is_asked_for() -> None:
    level = np.array([[0.0, 0.0, 0.0, 0.3, 0.3, 0.3]])
    table = measured(policy=level, andes=0.0)
    whole, overload = (difference(table, "held_out", "policy", "andes", least_load=load) for load in (0.0, 1.0))
    assert whole is not None and overload is not None
    assert (whole.value, overload.value, overload.workloads) == (pytest.approx(0.15), pytest.approx(0.3), 3)
    assert difference(table, "held_out", "policy", "nobody") is None
    assert difference(table, "shifting", "policy", "andes") is None
    assert difference(table, "held_out", None, "andes") is None


def test_throughput_is_compared_in_shares() -> None:
    found = difference(measured(policy=90.0, andes=100.0), "held_out", "policy", "andes", "tokens_per_s")
    assert found is not None and found.value == pytest.approx(-0.1)


def test_a_reference_with_training_seeds_adds_their_noise() -> None:
    levels = np.array([[0.4], [0.5], [0.6]]) + np.zeros((3, 6))
    found = difference(measured(policy=0.7, other=levels), "held_out", "policy", "other")
    assert found is not None and found.value == pytest.approx(0.2) and found.high - found.low > 0.2


def test_one_workload_everywhere_gives_no_interval() -> None:
    found = effect([np.array([[0.5]]), np.array([[0.6]])])
    assert found is not None and found.value == pytest.approx(0.55) and not found.has_interval
    assert gained(found, 0.1) == "no interval" and gained(None, 0.1) == "not measured"


@pytest.mark.parametrize(("seed_sd", "workload_sd", "both_sd"), [(1.0, 1.0, 1.0), (1.0, 0.1, 0.1), (0.1, 1.0, 0.1)])
def test_intervals_over_seeds_and_workloads_cover_the_truth(seed_sd: float, workload_sd: float, both_sd: float) -> None:
    cases, hits = 200, 0
    for case in range(cases):
        rng = np.random.default_rng([case, 7])
        seeds = rng.normal(0.0, seed_sd, (5, 1))
        values = [seeds + rng.normal(0.0, workload_sd, (1, 3)) + rng.normal(0.0, both_sd, (5, 3)) for _ in range(9)]
        low, high = percentile_interval(crossed_replicates(values, np.random.default_rng(1), 500))
        hits += low <= 0.0 <= high
    assert hits >= binom.ppf(0.001, cases, 0.92)


def test_the_gap_that_is_closed_has_the_interval_of_a_ratio() -> None:
    rng = np.random.default_rng(3)
    start = [rng.uniform(0.3, 0.5, (1, 3)) for _ in range(4)]
    end = [values + 0.2 for values in start]
    mine = [values + 0.06 + rng.normal(0.0, 0.005, (5, 3)) for values in start]
    found = closed(mine, start, end)
    assert found is not None and found.value == pytest.approx(0.3, abs=0.02) and found.low < 0.3 < found.high
    nowhere = closed(mine, start, start)
    assert nowhere is not None and np.isnan(nowhere.value) and not nowhere.has_interval
    assert closed([], start, end) is None


@pytest.mark.parametrize(
    ("found", "least", "sign", "nothing", "verdict"),
    [
        ((0.03, 0.01, 0.05), 0.02, 1, 0.0, "met"),
        ((0.03, -0.01, 0.07), 0.02, 1, 0.0, "not met"),
        ((0.01, 0.005, 0.015), 0.02, 1, 0.0, "not met"),
        ((-0.03, -0.05, -0.01), 0.02, -1, 0.0, "met"),
        ((0.03, 0.01, 0.05), 0.02, -1, 0.0, "not met"),
        ((-0.01, -0.02, 0.001), NOT_WORSE, 1, 0.0, "met"),
        ((-0.01, -0.02, -0.001), NOT_WORSE, 1, 0.0, "not met"),
        ((0.01, 0.001, 0.02), NOT_WORSE, -1, 0.0, "not met"),
        ((1.10, 1.02, 1.20), 0.08, 1, 1.0, "met"),
        ((1.10, 0.98, 1.20), 0.08, 1, 1.0, "not met"),
    ],
)
def test_verdicts(found: tuple[float, float, float], least: float, sign: int, nothing: float, verdict: str) -> None:
    assert gained(Effect(*found, 5, 9), least, sign, nothing) == verdict


def test_goals_follow_the_numbers() -> None:
    noise = 0.001 * np.arange(6)
    table = measured(
        policy=np.stack([0.75 + noise, 0.76 - noise]),
        andes=0.6,
        tuned_andes=0.7,
        best_static=0.74,
        knows=0.8,
        srpt=0.72,
    )
    rows = {(row.key, row.what): row for row in goal_rows(table, "policy", 1.0, ["knows", "srpt"], [], 0)}
    verdict = {what.partition(", stationary overload: ")[::2]: row.verdict for (_, what), row in rows.items()}
    assert verdict["policy − andes", "mean QoE"] == "met" and verdict["policy − andes", "QoE p10"] == "not met"
    assert verdict["policy − tuned_andes", "share > 60 s late"] == "not met"  # here all metrics rise alike
    gap = next(row for row in rows.values() if row.key == "e")
    assert "to knows" in gap.what and gap.found is not None and gap.found.value == pytest.approx(0.55, abs=0.03)
    assert {row.verdict for row in rows.values() if row.key == "d"} == {"not measured"}
    assert all(row.verdict == "not measured" for row in goal_rows(table, None, 1.0, [], [], 0))


def test_hindsight_chosen_on_the_other_half_is_not_better_than_it_is() -> None:
    # Two settings and four workloads: each is best on a workload that is not like the others.
    values = np.array([[0.9, 0.1, 0.5, 0.5], [0.1, 0.9, 0.6, 0.5]])[:, :, None]
    # Even workloads (0, 2) prefer setting 0 (mean .7), odd ones (1, 3) setting 1 (.7).
    assert chosen(values, honest=True).tolist() == [[0.1, 0.1, 0.6, 0.5]]
    assert chosen(values, honest=False).tolist() == [[0.1, 0.9, 0.6, 0.5]]  # over all four setting 1 is best


def test_hindsight_for_each_part_takes_the_best_of_each() -> None:
    parts = np.array([[[0.5, 0.1]] * 2, [[0.2, 0.4]] * 2])
    assert chosen(parts, honest=True) == pytest.approx(np.array([[0.9, 0.9]]))
    table = Measured(
        {"shifting": places((1.0,), 2)},
        {
            ("shifting", name): Found({"qoe_mean": parts[place].sum(axis=1)[None]}, parts[place][None])
            for place, name in enumerate(("one", "two"))
        },
    )
    made = choices(table, "shifting", ["one", "two", "absent"])
    assert [(entry.name, entry.honest) for entry in made] == [
        ("each scenario", True),
        ("each scenario", False),
        ("each part of it", True),
        ("each part of it", False),
    ]
    assert [float(entry.values[0].mean()) for entry in made] == pytest.approx([0.6, 0.6, 0.9, 0.9])


def test_loads_below_the_grid_are_not_chosen_for() -> None:
    table = measured(one=np.array([[0.1] * 3 + [0.6] * 3]), two=np.array([[0.9] * 3 + [0.4] * 3]))
    everywhere, overload = (choices(table, "held_out", ["one", "two"], load)[-1] for load in (0.0, 1.0))
    assert [float(values.mean()) for values in everywhere.values] == pytest.approx([0.9, 0.6])
    assert [float(values.mean()) for values in overload.values] == pytest.approx([0.6])
    text = to_markdown(hindsight_grid(table, "held_out", [overload], "two", "one", least_load=1.0))
    assert "suite held_out, loads >= 1" in text and "| -0.200" in text


def test_surges_are_a_goal_of_our_own_where_they_were_measured() -> None:
    table = measured(policy=0.8, best_static=0.7)
    assert own_goal_rows(table, "policy", 0) == []
    surges = Measured(
        {"surges": table.suites["held_out"]}, {("surges", arm): one for (_, arm), one in table.found.items()}
    )
    assert [(row.key, round(row.found.value, 3)) for row in own_goal_rows(surges, "policy", 0) if row.found] == [
        ("h", 0.1)
    ] * 2


def test_segments_add_up_to_the_mean() -> None:
    run = simulate(make_engine(), make_workload(1, 50, 5.0), "fcfs")
    spans = segments_of(run, 8)
    assert spans.shape == (8,) and spans.sum() == pytest.approx(run.qoe.mean(), abs=4e-3)
    late = run.workload.arrival_s > np.quantile(run.workload.arrival_s[[0, -1]], 7 / 8)
    assert spans[-1] == pytest.approx(run.qoe[late].sum() / 50, abs=5e-4)


def test_capacity_ratios_average_training_seeds() -> None:
    def arm(*crossings: float) -> dict[str, object]:
        loads = [0.5, 2.5]
        # A straight line from .9 + slope to below it crosses .9 where it should, the same for both workloads.
        qoe = [[0.9 + 0.1 * (crossing - load) for load in loads] for crossing in crossings]
        return {"seeds": {str(seed): {"loads": loads, "qoe": [line, line]} for seed, line in enumerate(qoe)}}

    by_arm = {"policy": arm(1.2, 1.4), "tuned_andes": arm(1.0), "andes": arm(0.8)}
    found = ratio(by_arm, "policy", "tuned_andes", 0.9)
    assert found is not None and found.value == pytest.approx(1.3) and found.low < 1.2 and found.high > 1.4
    goals = capacity_goals({"chat": by_arm}, "policy", 0.9, 0)
    assert [row.found.value for row in goals if row.found] == pytest.approx([1.3, 1.625])
    assert ratio(by_arm, "policy", "nobody", 0.9) is None
    assert capacity_goals({"chat": by_arm}, None, 0.9, 0)[0].verdict == "not measured"


def test_live_bursts_are_paired() -> None:
    runs = [
        [who, burst, level + 0.01 * place, 0.5, 100.0]
        for place, burst in enumerate("abcde")
        for who, level in (("andes", 0.8), ("tuned_andes", 0.9), ("quick", 0.9))
    ]
    part = {"commit": "c", "load": 2.0, "runs": runs}
    results = {"parts": [{**part, "duration_s": length_s} for length_s in (6.0, 20.0)]}
    above, not_worse, longer, _ = live_goals(results, ["other", "quick"], 0)
    assert (above.verdict, not_worse.verdict) == ("met", "met") and "5 bursts of 6 s: policy − andes" in above.what
    assert above.found is not None and above.found.value == pytest.approx(0.1) and "of 20 s" in longer.what
    assert [row.verdict for row in live_goals(results, ["nobody"], 0)] == ["not measured"] * 4
    other = [[{"quick": "slow"}.get(who, who), *found] for who, *found in runs]
    both = {"parts": [*results["parts"], {**part, "duration_s": 6.0, "runs": other}]}
    seen = [[row.verdict for row in live_goals(both, [who], 0)] for who in ("quick", "slow")]
    assert seen == [["met"] * 4, ["met"] * 2 + ["not measured"] * 2]  # each where it took part
    grid, _ = live_grids(results, 0)
    assert [row[0].text for row in grid.rows] == ["andes", "tuned_andes", "quick"]
    assert live_goals({}, ["quick"], 0)[0].verdict == "not measured" and live_grids({}, 0) == ()


def test_a_card_says_where_it_loses() -> None:
    found = {"held_out": {"code": Effect(0.02, 0.01, 0.03, 5, 9), "chat": Effect(-0.02, -0.03, -0.01, 5, 9)}}
    text = judgement({**found, "shifting": {"day": Effect(0.0, -0.1, 0.1, 5, 9)}}, "best_static", 5)
    better, worse, rest = (part.split("\n\n")[1] for part in text.split("\n\n**")[1:])
    assert better == "- held_out: code: +0.020 [+0.010, +0.030]" and worse.startswith("- held_out: chat: -0.020")
    assert rest == "- shifting, in 1: +0.000 to +0.000"


def test_curves_of_seeds_become_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed, steps in ((1, (100, 200)), (2, (100, 300))):
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        (folder / "config.yaml").write_text(f"name: quick\nseed: {seed}\n")
        curve = [{"steps": step, "qoe": 0.5 + step / 1000} for step in steps]
        (folder / "results.json").write_text(json.dumps({"curve": curve, "references": {"andes": 0.55}}))
    config = replace(small(tmp_path), curves=(f"{tmp_path}/run*",), recorded=None)
    curves = training_curves(config)
    assert list(curves) == ["quick seed 1", "quick seed 2"] and curves["quick seed 2"]["qoe"] == [0.6, 0.8]
    section = curves_section(curves)
    assert section is not None and "2 of quick" in section.figures[0].caption
    assert section.figures[0].figure.axes[0].lines[0].get_xdata().tolist() == [100.0, 200.0, 300.0]
    recorded = write_json(tmp_path / "recorded" / "curves.json", curves).parent
    assert training_curves(replace(config, curves=(f"{tmp_path}/nothing*",), recorded=str(recorded))) == curves
    assert "fits no training run here" in capsys.readouterr().out
    (tmp_path / "run2" / "config.yaml").write_text("name: quick\nseed: 1\n")
    with pytest.raises(ConfigError, match="two runs are called 'quick seed 1'"):
        training_curves(config)
    assert curves_section({}) is None


@pytest.fixture(autouse=True)
def empty_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the zoo is not what is tested here."""
    monkeypatch.setattr("agents.results.arms.recipes", dict)


def small(tmp_path: Path, *overrides: str) -> ResultsConfig:
    """Two tiny suites, nothing recorded, no capacity search, one process."""
    told = compose("results", f"run_dir={tmp_path / 'run'}", "recorded=null", "curves=[]", "policies=[]", *overrides)
    told["ablations"] = {name: one for name, one in told["ablations"].items() if "runs" not in one}
    config = from_mapping(ResultsConfig, told)
    workloads = {"burst": {"lengths": "tiny", "duration_s": 15.0}}
    grid = GridSettings(["cpu_tiny"], workloads, loads=(0.9, 1.3), seeds=2)
    suites = {name: SuiteSettings(name, {"all": grid}) for name in ("held_out", "shifting")}
    arms = {name: config.compare.contenders[name] for name in ("andes", "tuned_andes")}
    compare = replace(config.compare, contenders=arms)
    return replace(config, suites=suites, compare=compare, hindsight={}, capacity_workloads={}, workers=1)


@pytest.mark.parametrize(("configured", "policies"), [((), ("many",)), (("few", "many"), ("few", "many"))])
def test_the_goals_are_about_the_recipe_with_the_most_seeds(
    configured: tuple[str, ...], policies: tuple[str, ...], tmp_path: Path
) -> None:
    seeds = {"few": 1, "many": 3, "not_of_the_zoo": 5}
    arms = [
        Arm(name, tuple(Member(seed, Contender(name)) for seed in range(count)), recipe=name != "not_of_the_zoo")
        for name, count in seeds.items()
    ]
    assert policies_of(replace(small(tmp_path), policies=configured), arms) == policies
    assert policies_of(replace(small(tmp_path), policies=()), arms[2:]) == ()


def trained(tmp_path: Path) -> dict[str, Ablation]:
    runs = []
    for seed in range(1, SEEDS + 1):
        bundle = replace(make_bundle(0.2 * seed), provenance={"seed": seed})
        runs.append(str(bundle.save(tmp_path / f"trained{seed}" / "bundle").parent))
    return {"mine": Ablation("nothing", tuple(runs))}


def body(page: Path) -> str:
    return re.sub(r"Made at commit.*", "", page.read_text())


def test_the_page_is_made_again_from_recorded_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(
        small(tmp_path), ablations=trained(tmp_path), policies=("mine", "andes"), out=str(tmp_path / "out")
    )
    first = results(config).page
    text = body(first)
    assert first == tmp_path / "out" / PAGE and "(3 training seeds)" in text
    assert "| goal | what | to reach | mine |  | andes |  |" in text
    pattern = r"\| \(a\) \| policy − andes, stationary overload: mean QoE \| \+0.100 \| [+-]0\.\d{3} \[.*\| \+0.000 \["
    assert re.search(pattern, text)
    assert "| mine | 3 |" in text and "## Ablations" in text and "## What choosing in hindsight would bring" in text
    recorded = tmp_path / "out" / RECORDS
    kept = read_kept(recorded / ROWS)
    assert len(kept) == 2 * (2 + SEEDS)
    assert {row.key[:2] for row in kept if row.segments.size} == {("shifting", "andes"), ("shifting", "tuned_andes")}

    monkeypatch.setattr(measuring, "run_suite", lambda *_, **__: pytest.fail("nothing is to be run"))
    again = replace(config, run_dir=str(tmp_path / "again"), recorded=str(recorded), rerun="none")
    assert body(results(again).page) == text
    gone = replace(
        again, run_dir=str(tmp_path / "gone"), ablations={"mine": Ablation("nothing", (str(tmp_path / "x"),))}
    )
    assert body(results(gone).page) == text  # the bundles are not needed, their rows are there
    assert len(read_kept(recorded / ROWS)) == 2 * (2 + SEEDS)


def test_what_has_changed_is_run_again_and_replaces_what_was_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(small(tmp_path), out=str(tmp_path / "out"))
    results(config)
    recorded = tmp_path / "out" / RECORDS
    before = {row.key: row for row in read_kept(recorded / ROWS)}
    ran: list[list[str]] = []

    def watched(suite, contenders, *more, **named):
        ran.append([entry.name for entry in contenders])
        return run_suite(suite, contenders, *more, **named)

    monkeypatch.setattr(measuring, "run_suite", watched)
    tuned = replace(config.compare.contenders["tuned_andes"], knobs={"horizon_s": 5.0})
    contenders = {**config.compare.contenders, "tuned_andes": tuned}
    changed = replace(config, recorded=str(recorded), compare=replace(config.compare, contenders=contenders))
    with pytest.raises(AndesError, match="no recorded rows of 'tuned_andes' as it is now; take rerun=missing"):
        results(replace(changed, rerun="none"))
    results(changed)
    assert ran == [["tuned_andes"], ["tuned_andes"]]  # once in each suite
    after = {row.key: row for row in read_kept(recorded / ROWS)}
    same = {key: after[key].contender_hash == row.contender_hash for key, row in before.items()}
    assert same == {key: key[1] == "andes" for key in before}

    grids = {"all": replace(config.suites["held_out"].grids["all"], seeds=1)}
    other = {"held_out": SuiteSettings("held_out", grids), "shifting": config.suites["shifting"]}
    results(replace(changed, suites=other, run_dir=str(tmp_path / "other")))
    assert "recorded rows of other workloads" in capsys.readouterr().out
    assert ran[2:] == [["andes", "tuned_andes"]]  # of the suite that is as it was, nothing


def test_half_an_ablation_is_refused(tmp_path: Path) -> None:
    ablations = trained(tmp_path)
    some = (*ablations["mine"].runs[:2], str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"'mine': no bundle in .*nowhere; train them"):
        arms_of(replace(small(tmp_path), ablations={"mine": Ablation("nothing", some)}))
    twin = (ablations["mine"].runs[0],) * 2
    with pytest.raises(ConfigError, match="give each seed once"):
        arms_of(replace(small(tmp_path), ablations={"mine": Ablation("nothing", twin)}))


@pytest.mark.parametrize(
    ("overrides", "error", "told"),
    [
        (("size=huge",), UnknownNameError, "Known: full, smoke"),
        (("rerun=some",), UnknownNameError, "Known: all, missing, none"),
        (("size=smoke", "out=."), ConfigError, "leave out= away"),
        (("segments=0",), ConfigError, "at least 1"),
        (("capacity.target=2",), SettingError, "between 0 and 1"),
    ],
)
def test_what_cannot_work_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], error: type[AndesError], told: str
) -> None:
    with pytest.raises(error, match=told):
        small(tmp_path, *overrides)


def test_who_takes_part_has_one_name_and_the_policy_is_one_of_them(tmp_path: Path) -> None:
    config = small(tmp_path)
    with pytest.raises(ConfigError, match="'nobody' does not take part"):
        results(replace(config, policies=("nobody",)))
    with pytest.raises(ConfigError, match="called 'andes'"):
        arms_of(replace(config, hindsight={"x": config.compare.contenders["andes"]}))
    with pytest.raises(ConfigError, match="no results of scripts"):
        live_results(replace(config, live=(str(tmp_path),)))
    (tmp_path / "bad.json").write_text("[")
    with pytest.raises(ConfigError, match="not valid JSON"):
        read_json(tmp_path / "bad.json")
