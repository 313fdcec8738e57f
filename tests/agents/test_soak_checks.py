"""Each check of a soak fails when what it looks for is wrong."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("psutil", reason="comes with vLLM")

from agents.cli import compose
from agents.schema import ConfigError, from_mapping
from agents.soak import SoakConfig
from agents.soak_checks import (
    FALLBACKS,
    SWAPS,
    Counts,
    Verdict,
    check_exchanges,
    check_memory,
    check_requests,
    check_vandals,
)
from agents.soak_memory import Memory, memory_of
from agents.soak_policies import APPLIED, POLICIES, REFUSED, Exchange
from agents.soak_vandals import Vandalism
from andes_engine.client.completions import ABORTED, TOO_FEW_TOKENS
from andes_engine.client.open_loop import Sent
from andes_engine.errors import AndesError
from andes_engine.observation import FEATURES, OBSERVATION_SIZE
from andes_engine.policy.bundle import load_bundle
from andes_engine.policy.guard import GuardedPolicy
from scripts import update_readme

ROOT = Path(__file__).parents[2]
FINISHED = Counter({("vllm:request_success_total", "length"): 2})


def failed(verdicts: list[Verdict]) -> int:
    return sum(not verdict.ok for verdict in verdicts)


def sent(*failures: str) -> dict[int, Sent]:
    return {row: Sent(0.0, failure=failure) for row, failure in enumerate(failures)}


def test_a_lost_token_fails() -> None:
    assert failed(check_requests(sent("", "", ABORTED), FINISHED)) == 0
    assert failed(check_requests(sent("", "", ABORTED, TOO_FEW_TOKENS), FINISHED)) == 1
    assert failed(check_requests(sent("", "", "", ABORTED), FINISHED)) == 1  # the server knows of two
    assert failed(check_requests(sent("", ""), FINISHED)) == 1  # nobody left, so nothing was tried


def test_an_answer_to_nonsense_fails() -> None:
    done = Vandalism(answered=Counter(a=3), hung_up=Counter(b=1))
    assert failed(check_vandals(done)) == 0
    done.wrong["a: 500 instead of 400"] += 1
    assert failed(check_vandals(done)) == 1


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({}, 0),
        ({(SWAPS, REFUSED): 0}, 1),
        ({(SWAPS, APPLIED): 3}, 1),
        ({(FALLBACKS, "policy_over_budget"): 0}, 1),
        ({(FALLBACKS, "planner_failure"): 1}, 1),
    ],
)
def test_a_policy_in_the_wrong_place_fails(change: Counts, wrong: int) -> None:
    done = [Exchange("first", APPLIED, 0.1), Exchange("nan", REFUSED, 0.1), Exchange("deep", APPLIED, 0.1)]
    right = {(SWAPS, APPLIED): 2, (SWAPS, REFUSED): 1, (FALLBACKS, "policy_over_budget"): 5}
    assert failed(check_exchanges(done, Counter({**right, **change}))) == wrong


def test_an_exchange_that_never_came_fails() -> None:
    assert failed(check_exchanges([Exchange("first", APPLIED, None)], Counter())) == 1


def grown(mib_per_s: float, gone_after: int = 1000) -> Memory:
    """Ten minutes of a process that takes 200 MiB to warm up, one wild sample, and then grows."""
    time_s = np.arange(0.0, 600.0, 5.0)
    mib = 500.0 + np.minimum(time_s, 200.0) + mib_per_s * np.maximum(time_s - 200.0, 0.0)
    mib[80] += 300.0
    mib[gone_after:] = np.nan
    return memory_of(time_s, mib, warm_up_s=240.0)


@pytest.mark.parametrize(("memory", "ok"), [(grown(0.0), True), (grown(0.1), False), (grown(0.0, 100), False)])
def test_memory_that_grows_for_good_fails(memory: Memory, ok: bool) -> None:
    (verdict,) = check_memory({"engine core": memory}, allowed_mib=24.0)
    assert verdict.ok is ok


def test_growth_is_what_it_is() -> None:
    assert grown(0.1).growth_mib == pytest.approx(0.1 * 355.0)
    assert grown(0.1).per_hour_mib == pytest.approx(360.0)
    with pytest.raises(AndesError, match="2 samples of memory after 10 s of warm-up"):
        memory_of(np.arange(4) * 5.0, np.ones(4), warm_up_s=10.0)


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy.expected == REFUSED])
def test_what_must_be_refused_cannot_be_loaded(name: str, tmp_path: Path) -> None:
    POLICIES[name].make(tmp_path / name)
    with pytest.raises(AndesError):
        load_bundle(tmp_path / name)


@pytest.mark.parametrize(("name", "cause"), [("deep", "over budget"), ("overflowing", "not finite")])
def test_bundles_that_fail_when_they_act(name: str, cause: str, tmp_path: Path) -> None:
    POLICIES[name].make(tmp_path / name)
    guard = GuardedPolicy.load(tmp_path / name)
    observation = np.zeros(OBSERVATION_SIZE, np.float32)
    observation[[feature.name for feature in FEATURES].index("qoe")] = 0.9
    with np.errstate(all="ignore"):  # a server warns, pytest raises
        guard.decide(0.0, observation)
    assert guard.fallbacks == {cause: 1}


@pytest.mark.parametrize("override", ["minutes=0", "growth_mib=.inf", "warm_up_share=1"])
def test_bad_numbers_are_refused(override: str) -> None:
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        from_mapping(SoakConfig, compose("soak", override))


def test_the_readme_says_what_the_committed_soak_found() -> None:
    found = json.loads((ROOT / "docs" / "soak.json").read_text(encoding="utf-8"))
    for one in found:
        assert one["soak"]["passed"] is all(verdict["ok"] for verdict in one["soak"]["verdicts"])
    assert update_readme.soaks_text(found) in (ROOT / "README.md").read_text(encoding="utf-8")


def test_soaks_go_between_their_own_markers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "run").mkdir()
    before = f"{update_readme.BEGIN}kept{update_readme.END} {update_readme.SOAK_BEGIN}earlier{update_readme.SOAK_END}"
    (tmp_path / "README.md").write_text(before)
    one = json.loads((ROOT / "docs" / "soak.json").read_text(encoding="utf-8"))[0]
    one["soak"]["verdicts"][0].update(ok=False, found="5 lost")
    (tmp_path / "run" / "results.json").write_text(json.dumps(one))
    monkeypatch.setattr(update_readme, "ROOT", tmp_path)
    update_readme.main([str(tmp_path / "run")])
    text = (tmp_path / "README.md").read_text()
    assert f"{update_readme.BEGIN}kept{update_readme.END}" in text and "checks hold" in text and "earlier" not in text
    assert "Failed: every reader who stayed got exactly the tokens asked for (5 lost)." in text
    assert json.loads((tmp_path / "docs" / "soak.json").read_text()) == [one]
