"""Runs are kept as they finish: records to the bit, a comparison that was stopped goes on, and nothing else is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from agents.cli import compose
from agents.config import CompareConfig
from agents.evaluate import Outcome, differences
from agents.pool import RunFailedError
from agents.random_policy import random_bundle
from agents.record_file import RecordFileError, outcome_columns, read_record, record_hash, write_record
from agents.replay import ReplayConfig, find_row, replay
from agents.row_store import RowStore
from agents.rows import read_rows
from agents.run_suite import run_suite
from agents.schema import ConfigError, from_mapping
from agents.suite import Suite
from agents.suite_file import suite_of
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.errors import BundleError
from andes_engine.records import RunRecord
from andes_engine.sim.run import run_simulated
from andes_engine.workload import Workload

SMALL = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=6", "loads=[0.9,1.3]", "seeds=2")
CONTENDERS = [Contender("fcfs", "fcfs"), Contender("andes"), Contender("policy", bundle=random_bundle("policy", 3))]

OwnScore = Callable[[str], str]


def small_suite(*overrides: str) -> Suite:
    return suite_of(from_mapping(CompareConfig, compose("compare", *SMALL, *overrides)))


@pytest.fixture
def own_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnScore:
    """A scheduler of a user's that does something when it is first asked while the file `armed` is there."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "armed").touch()

    def make(does: str) -> str:
        name = f"own_{abs(hash((does, tmp_path)))}"
        body = (
            f"import os, signal\n\ndef score(requests, engine):\n    if os.path.exists({str(tmp_path / 'armed')!r}):\n"
        )
        (tmp_path / f"{name}.py").write_text(f"{body}        {does}\n    return -requests.arrival_s\n")
        return f"{name}.score"

    return make


def same(one: RunRecord, two: RunRecord) -> bool:
    ours, theirs = outcome_columns(one), outcome_columns(two)
    return (
        ours.keys() == theirs.keys()
        and all(ours[key].tobytes() == theirs[key].tobytes() for key in ours)
        and all(ours[key].dtype == theirs[key].dtype for key in ours)
        and one.workload == two.workload
        and (one.engine, one.scheduler, one.notes) == (two.engine, two.scheduler, two.notes)
    )


def all_same(ours: list[Outcome], theirs: list[Outcome]) -> bool:
    keys = [[(run.stratum, run.setting, run.load, run.seed, run.row) for run in runs] for runs in (ours, theirs)]
    return keys[0] == keys[1] and all(same(one.record, two.record) for one, two in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("tokens", [False, True])
def test_a_record_comes_back_from_its_file(
    tmp_path: Path, engine: EngineConfig, overload: Workload, tokens: bool
) -> None:
    conversations = suite_of(from_mapping(CompareConfig, compose("compare", "workload=multi_round", "seeds=1")))
    for number, workload in enumerate((overload, conversations.settings[0].scenarios()[0].workload)):
        record = run_simulated(engine, workload.fitting(engine)[0], CONTENDERS[1], token_log=tokens, until_s=40.0)
        assert not record.finished.all()
        found = read_record(write_record(record, tmp_path / f"{number}.parquet"))
        assert same(found, record) and record_hash(found) == record_hash(record)
        assert len(found.token_s) == (len(record.workload) if tokens else 0)
        assert all(np.array_equal(ours, theirs) for ours, theirs in zip(found.token_s, record.token_s, strict=True))
    table = pd.read_parquet(tmp_path / "0.parquet")
    assert table["qoe"].mean() == pytest.approx(table["qoe"].to_numpy().mean()) and len(table) == len(overload)
    assert ("token_s" in table) == tokens


def test_what_is_no_record_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordFileError, match="no such record"):
        read_record(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not")
    with pytest.raises(RecordFileError, match=r"bad\.parquet: not a record of a run"):
        read_record(tmp_path / "bad.parquet")
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(RecordFileError, match="not a record of a run"):
        read_record(tmp_path / "other.parquet")


def test_rows_and_results_do_not_depend_on_workers_or_restarts(tmp_path: Path) -> None:
    suite = small_suite()
    alone = run_suite(suite, CONTENDERS, tmp_path / "one", workers=1)
    assert len(alone) == 2 * 2 * 3 and len({run.row for run in alone}) == len(alone)
    assert all_same(run_suite(suite, CONTENDERS, tmp_path / "two", workers=2), alone)
    lines = (tmp_path / "one" / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "one" / "rows.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:100])  # killed while it wrote
    assert len(read_rows(tmp_path / "one")) == 5
    assert all_same(run_suite(suite, CONTENDERS, tmp_path / "one", workers=1), alone)
    rows = read_rows(tmp_path / "one")
    assert {row.row for row in rows} == {run.row for run in alone} and len(rows) == len(lines)
    assert not list((tmp_path / "one").rglob("*.part"))


def test_finished_runs_are_not_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = small_suite()
    first = run_suite(suite, CONTENDERS, tmp_path, workers=1)
    written = (tmp_path / "rows.jsonl").read_bytes()
    capsys.readouterr()
    assert all_same(run_suite(suite, CONTENDERS, tmp_path, workers=1), first)
    assert (tmp_path / "rows.jsonl").read_bytes() == written
    assert f"12 of 12 runs are in {tmp_path} already" in capsys.readouterr().out


def test_a_damaged_record_is_told_and_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = small_suite()
    first = run_suite(suite, CONTENDERS, tmp_path, workers=1)
    records = tmp_path / "records"
    (records / f"{first[0].row}.parquet").unlink()
    (records / f"{first[1].row}.parquet").write_bytes((records / f"{first[2].row}.parquet").read_bytes())
    assert all_same(run_suite(suite, CONTENDERS, tmp_path, workers=1), first)
    said = capsys.readouterr().out
    assert f"row {first[0].row} is run again" in said and f"row {first[1].row} is run again" in said
    assert len(read_rows(tmp_path)) == 12 and same(read_record(records / f"{first[1].row}.parquet"), first[1].record)


@pytest.mark.parametrize(
    ("overrides", "contenders", "told"),
    [
        (["workload.duration_s=7"], CONTENDERS, r"settings.workload.duration_s was 6.0, is 7.0"),
        (["engine.kv_blocks=100"], CONTENDERS, r"settings.engine.kv_blocks was 119, is 100"),
        (["loads=[0.9]"], CONTENDERS, r"settings.loads was \[0.9, 1.3\], is \[0.9\]"),
        ([], CONTENDERS[:2], r"settings.contenders.policy was another, is not there"),
        (
            [],
            [*CONTENDERS[:2], Contender("policy", bundle=random_bundle("policy", 4))],
            r"settings.contenders.policy.bundle.folder was 'bundles/",
        ),
    ],
)
def test_other_settings_are_refused_by_name(
    tmp_path: Path, overrides: list[str], contenders: list[Contender], told: str
) -> None:
    run_suite(small_suite(), CONTENDERS, tmp_path, workers=1)
    with pytest.raises(ConfigError, match=f"holds runs of other settings: {told}"):
        run_suite(small_suite(*overrides), contenders, tmp_path, workers=1)


def test_a_changed_trace_is_refused(tmp_path: Path) -> None:
    trace = tmp_path / "mine.csv"
    rows = [f"2024-01-01 00:00:{0.5 * row:09.6f},{100 + row},{20 + row}" for row in range(40)]
    head = "TIMESTAMP,ContextTokens,GeneratedTokens"
    trace.write_text("\n".join([head, *rows]) + "\n")
    given = ("workload=trace", "workload.duration_s=null", f"trace={trace}")
    (first, *_) = run_suite(small_suite(*given), CONTENDERS[:1], tmp_path / "run", workers=1)
    assert first.load is None
    trace.write_text("\n".join([head, *rows[:-1]]) + "\n")
    with pytest.raises(ConfigError, match="was the trace changed"):
        run_suite(small_suite(*given), CONTENDERS[:1], tmp_path / "run", workers=1)
    with pytest.raises(ConfigError, match=r"the settings of the row make workload .* still the same file"):
        replay(ReplayConfig(f"{tmp_path / 'run'}#{first.row}"))


def test_another_kind_of_run_or_another_process_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "config.yaml").write_text("seed: 0\n")
    with pytest.raises(ConfigError, match="holds another kind of run"):
        run_suite(small_suite(), CONTENDERS, tmp_path / "train", workers=1)
    with RowStore(tmp_path / "mine", small_suite(), CONTENDERS), pytest.raises(ConfigError, match="another process"):
        run_suite(small_suite(), CONTENDERS, tmp_path / "mine", workers=1)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_fails_is_named_and_the_rest_is_kept(tmp_path: Path, own_score: OwnScore, workers: int) -> None:
    mine = Contender("mine", own_score("raise RuntimeError('too hot')"))
    suite, run_dir = small_suite("seeds=1"), tmp_path / "run"
    with pytest.raises(RunFailedError, match=r"'mine' in 'load \S+' \(seed 0\) failed: .*too hot.* of 4 runs are kept"):
        run_suite(suite, [CONTENDERS[0], mine], run_dir, workers)
    kept = len(read_rows(run_dir))
    (tmp_path / "armed").unlink()
    outcomes = run_suite(suite, [CONTENDERS[0], mine], run_dir, workers)
    assert len(read_rows(run_dir)) == 4 and kept < 4
    assert all_same(outcomes, run_suite(suite, [CONTENDERS[0], mine], tmp_path / "fresh", workers=1))


def test_a_killed_worker_costs_only_what_was_under_way(tmp_path: Path, own_score: OwnScore) -> None:
    mine = Contender("mine", own_score("os.kill(os.getpid(), signal.SIGKILL)"))
    suite, run_dir = small_suite(), tmp_path / "run"
    with pytest.raises(
        RunFailedError, match=r"a worker process died .* ran one of: .*'mine' in .* runs are kept; start again"
    ):
        run_suite(suite, [CONTENDERS[0], mine], run_dir, workers=2)
    (tmp_path / "armed").unlink()
    outcomes = run_suite(suite, [CONTENDERS[0], mine], run_dir, workers=2)
    assert all_same(outcomes, run_suite(suite, [CONTENDERS[0], mine], tmp_path / "fresh", workers=1))


def test_a_bug_is_written_down_where_it_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> RunRecord:
        raise ZeroDivisionError("no rate")

    monkeypatch.setattr("agents.pool.run_simulated", broken)
    with pytest.raises(RunFailedError, match=r"ZeroDivisionError: no rate\. 0 of 12 .*failure\.txt; start again"):
        run_suite(small_suite(), CONTENDERS, tmp_path, workers=1)
    assert "in broken" in (tmp_path / "failure.txt").read_text()


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Path, list[Outcome]]:
    """A finished comparison of every kind of contender."""
    noisy = Contender("noisy", "srpt", {"batch_cap": 8.0}, lengths="noisy", length_sigma=0.3)
    suite = small_suite("seeds=1", "loads=[1.3]")
    return tmp_path / "run", run_suite(suite, [*CONTENDERS, noisy], tmp_path / "run", workers=1, tokens=True)


def test_a_row_is_made_again_bit_for_bit(finished: tuple[Path, list[Outcome]], tmp_path: Path) -> None:
    run_dir, outcomes = finished
    for outcome in outcomes:
        result = replay(ReplayConfig(f"{run_dir / 'rows.jsonl'}#{outcome.row[:6]}", str(tmp_path / "again.parquet")))
        assert (result.differing, result.other_versions) == ((), ())
        assert "identical, bit for bit" in result.lines()[0]
        assert same(read_record(tmp_path / "again.parquet"), outcome.record)


def test_what_differs_is_told_by_column_and_amount(
    finished: tuple[Path, list[Outcome]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir, (outcome, *_) = finished
    qoe, finish = outcome.record.qoe.copy(), outcome.record.finish_s.copy()
    qoe[3], finish[:] = np.nextafter(qoe[3], 2.0), np.nan
    other = replace(outcome.record, qoe=qoe, finish_s=finish, notes={**outcome.record.notes, "new": 1.0})
    monkeypatch.setattr("agents.replay.run_simulated", lambda *_, **__: other)
    made = json.loads((run_dir / "rows.jsonl").read_text().splitlines()[0])["made_with"]
    packages = {**made["packages"], "numpy": "0.1"}
    monkeypatch.setattr("agents.replay.made_with", lambda: {**made, "packages": packages})
    said = replay(ReplayConfig(f"{run_dir}#{outcome.row}")).lines()
    assert "differs in 3 columns" in said[0]
    assert any(line.startswith("qoe: 1 of ") and "the first is 3" in line for line in said)
    assert any(line.startswith("finish_s: ") for line in said) and "new: only in the replay" in said
    assert said[-1].startswith("made with another version: packages.numpy was ") and said[-1].endswith("is '0.1'")


def test_rows_that_cannot_be_replayed_are_told(finished: tuple[Path, list[Outcome]]) -> None:
    run_dir, outcomes = finished
    policy = next(run for run in outcomes if run.record.scheduler == "policy")
    (bundle,) = (run_dir / "bundles").iterdir()
    bundle.rename(run_dir / "elsewhere")
    with pytest.raises(BundleError, match="no policy bundle there"):
        replay(ReplayConfig(f"{run_dir}#{policy.row}"))
    random_bundle("policy", 5).save(bundle)
    with pytest.raises(BundleError, match="is another policy"):
        replay(ReplayConfig(f"{run_dir}#{policy.row}"))
    records = run_dir / "records"
    (records / f"{outcomes[0].row}.parquet").write_bytes((records / f"{outcomes[1].row}.parquet").read_bytes())
    with pytest.raises(ConfigError, match="is not the record that the row was written with"):
        replay(ReplayConfig(f"{run_dir}#{outcomes[0].row}"))
    (records / f"{outcomes[0].row}.parquet").unlink()
    with pytest.raises(RecordFileError, match="no such record"):
        replay(ReplayConfig(f"{run_dir}#{outcomes[0].row}"))
    for given, told in [
        (str(run_dir), "must be a run directory, '#' and the id"),
        (f"{run_dir}#", "must be a run directory, '#' and the id"),
        (f"{run_dir}#xyz", "none of the 4 rows of .* begins with 'xyz'"),
        (f"{run_dir.parent}#{outcomes[0].row}", r"has no rows\.jsonl"),
    ]:
        with pytest.raises(ConfigError, match=told):
            find_row(given)


def test_an_edited_row_is_refused(finished: tuple[Path, list[Outcome]]) -> None:
    run_dir, _ = finished
    rows = run_dir / "rows.jsonl"
    whole = rows.read_text()
    rows.write_text(whole.replace('"kv_blocks": 119', '"kv_blocks": 118', 1))
    with pytest.raises(ConfigError, match=r"line 1: row .* was it edited"):
        read_rows(run_dir)
    rows.write_text("{]\n" + whole)
    with pytest.raises(ConfigError, match="line 1: no row of a comparison"):
        read_rows(run_dir)
    rows.write_text("[]\n")
    with pytest.raises(ConfigError, match="line 1: no row of a comparison"):
        read_rows(run_dir)


def test_differences_pool_the_strata_where_both_took_part(tmp_path: Path) -> None:
    (base,) = small_suite("seeds=2", "loads=[1.3]").settings
    suite = Suite("s", (replace(base, name="all"), replace(base, name="fcfs alone", contenders=(CONTENDERS[0],))))
    outcomes = run_suite(suite, CONTENDERS, tmp_path, workers=1)
    assert len(outcomes) == 2 * 3 + 2
    assert [entry.workloads for entry in differences(outcomes, ["fcfs"], ["qoe_mean"])] == [2, 2]
