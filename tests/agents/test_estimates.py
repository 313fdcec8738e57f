from __future__ import annotations

import numpy as np
import pytest

from agents.estimates import MARKS, estimates, profiles, summary_grid
from agents.evaluate import Outcome
from agents.statistics import UnpairedRunsError
from andes_engine.errors import UnknownNameError
from andes_engine.report.profiles import performance_profiles
from tests.agents.test_statistics import N, run, workload


def outcomes(seeds: int = 4, loads: int = 3, spread: float = 0.03, salt: int = 0) -> list[Outcome]:
    """QoE of a request is uniform on [0, 1] under 'old'; under 'new' its root, for which P(QoE > t) = 1 - t^2."""
    made = []
    for load in range(loads):
        for seed in range(seeds):
            rng = np.random.default_rng([salt, load, seed])
            asked, luck = workload(100 * load + seed), rng.normal(0, spread)
            qoe = np.clip(rng.uniform(0, 1, N) + luck, 0, 1)
            made += [
                Outcome(f"load {load}", run(asked, name, qoe**power)) for name, power in (("old", 1), ("new", 0.5))
            ]
    return made


def test_mean_and_interquartile_mean_by_hand() -> None:
    levels = {"a": [0.1, 0.5], "b": [0.6, 1.0]}
    runs = [
        Outcome(stratum, run(workload(int(100 * qoe)), "s", np.full(N, qoe)))
        for stratum, two in levels.items()
        for qoe in two
    ]
    (entry,) = estimates(runs, ["qoe_mean"])
    assert entry.mean == entry.iqm == pytest.approx(0.55)
    assert entry.low < 0.55 < entry.high
    assert (entry.workloads, entry.unfinished) == (4, 0)
    (alone,) = estimates(runs[:1], ["qoe_p10"])
    assert np.isnan([alone.low, alone.high, alone.iqm_low]).all() and alone.iqm == pytest.approx(0.1)


def test_same_seed_same_intervals_in_any_order() -> None:
    runs = outcomes()
    given = {(entry.contender, entry.low) for entry in estimates(runs, ["qoe_mean"], seed=3)}
    assert given == {(entry.contender, entry.low) for entry in estimates(runs[::-1], ["qoe_mean"], seed=3)}
    assert given != {(entry.contender, entry.low) for entry in estimates(runs, ["qoe_mean"], seed=4)}


def test_table_shows_intervals_and_what_is_missing() -> None:
    runs = outcomes()
    grid = summary_grid(runs, "t", ["qoe_mean", "qoe_area_mean"])
    assert [row[0].value for row in grid.rows] == ["old", "new"]
    assert all(cell.spread for row in grid.rows for cell in row[1:3])
    assert all(cell.text == "–" for row in grid.rows for cell in row[3:])
    assert len(grid.notes) == 1
    assert len(summary_grid(runs[:2], "t").rows[0]) == 7
    finish_s = runs[0].record.finish_s.copy()
    finish_s[:2] = np.nan
    cut = Outcome("load 0", run(workload(0), "old", runs[0].record.qoe, finish_s=finish_s))
    assert "old: 2 requests unfinished" in summary_grid([cut, *runs[1:]], "t").notes[1]


def test_profiles_find_the_known_shares() -> None:
    old, new = profiles(outcomes(seeds=6), replicates=200)
    np.testing.assert_allclose(old.share, 1.0 - MARKS, atol=0.06)
    np.testing.assert_allclose(new.share, 1.0 - MARKS**2, atol=0.06)
    for profile in (old, new):
        assert (profile.low <= profile.share).all() and (profile.share <= profile.high).all()
        assert (np.diff(profile.share) <= 0.0).all() and profile.share[-1] == 0.0
    by_run = profiles(outcomes(seeds=6), of="runs", replicates=200)[0]
    assert (by_run.share[MARKS < 0.3] == 1.0).all() and (by_run.share[MARKS > 0.7] == 0.0).all()


def test_band_covers_the_known_share_mark_by_mark() -> None:
    """At 1 - t for t = .3, where clipping at 0 and 1 changes nothing; 100 draws, once in a thousand times below 87 %."""
    place, hits = 15, 0
    for salt in range(100):
        profile = profiles(outcomes(seeds=4, salt=salt + 1)[::2], replicates=60)[0]
        hits += profile.low[place] <= 1.0 - MARKS[place] <= profile.high[place]
    assert hits >= 87


def test_nothing_and_unknown_metrics_are_refused() -> None:
    with pytest.raises(UnpairedRunsError, match="at least one run"):
        estimates([], ["qoe_mean"])
    with pytest.raises(UnpairedRunsError, match="at least one run"):
        profiles([])
    with pytest.raises(UnknownNameError, match="Did you mean 'qoe_mean'"):
        estimates(outcomes(1, 1), ["qoe_maen"])


def test_figure_draws_what_it_is_given() -> None:
    found = profiles(outcomes(seeds=2, loads=1), replicates=50)
    axes = performance_profiles(found).axes[0]
    for line, profile in zip(axes.lines, found, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), profile.share)
    assert axes.get_ylabel() == "share of requests with QoE > τ"
    mixed = [*found, *profiles(outcomes(seeds=2, loads=1), of="runs", replicates=50)]
    for wrong, told in ((mixed, r"\['requests', 'runs'\]"), ([], "none")):
        with pytest.raises(ValueError, match=told):
            performance_profiles(wrong)
