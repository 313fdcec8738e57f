"""Traffic that changes midway, and mixes of lengths: when each segment comes, at which rate, and that nothing else moved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from andes_engine.errors import AndesError
from andes_engine.workload import Workload
from andes_engine.workload.generate import generate, generate_on, saturation_rate
from andes_engine.workload.lengths import LENGTHS, MixedLengths
from andes_engine.workload.spec import workload_spec
from andes_engine.workload.traffic import segment_of
from tests.builders import make_engine

BASE: dict[str, Any] = {"lengths": "sharegpt", "duration_s": 1000.0, "rate": 4.0}
SHIFT: list[dict[str, Any]] = [
    {"name": "chat", "share": 1},
    {"share": 2, "load_factor": 0.5, "lengths": "azure_conv", "ttft": 3.0, "readers": 0.3},
    {"name": "crowd", "share": 1, "load_factor": 3.0, "arrivals": {"kind": "gamma", "shape": 0.5}},
]


def shifting(segments: list[dict[str, Any]] = SHIFT, **changed: Any) -> Workload:
    return generate(workload_spec({**BASE, "segments": segments, **changed}), 7)


def columns(workload: Workload, start_s: float, end_s: float) -> list[np.ndarray]:
    rows = (workload.arrival_s >= start_s) & (workload.arrival_s < end_s)
    names = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s")
    return [getattr(workload, name)[rows] for name in names]


@pytest.mark.parametrize(
    ("given", "fingerprint"),
    [
        ({"lengths": "sharegpt", "rate": 2.0, "duration_s": 60.0}, "e9471624e822b338"),
        (
            {
                "lengths": "azure_conv",
                "arrivals": "cyclic_burst",
                "rate": 1.5,
                "requests": 50,
                "users": 5,
                "patience": 30.0,
                "ttft": "prompt",
            },
            "79a766abadb380bc",
        ),
        ({"lengths": "tiny", "rate": 1.0, "duration_s": 100.0, "multi_round": 3}, "7e586cc06eed8149"),
    ],
)
def test_traffic_without_segments_is_what_it_was_before_there_were_any(given: dict[str, Any], fingerprint: str) -> None:
    assert generate(workload_spec(given), 7).fingerprint == fingerprint
    assert generate(workload_spec({**given, "segments": None}), 7).fingerprint == fingerprint


def test_segments_follow_each_other_and_have_their_own_traffic() -> None:
    spec = workload_spec({**BASE, "segments": SHIFT})
    workload = generate(spec, 7)
    assert [(part.name, part.start_s, part.share) for part in spec.stretches] == [
        ("chat", 0.0, 0.25),
        ("2", 250.0, 0.5),
        ("crowd", 750.0, 0.25),
    ]
    where = segment_of(spec, workload.arrival_s)
    assert (np.diff(where) >= 0).all() and (np.diff(workload.arrival_s) >= 0).all()
    assert np.bincount(where) == pytest.approx([1000, 1000, 3000], rel=0.1)
    assert workload.duration_s < 1000.0
    for number, (ttft_s, pace) in enumerate([(1.0, None), (3.0, 0.3), (1.0, None)]):
        assert (workload.ttft_s[where == number] == ttft_s).all()
        assert (set(workload.latency_s[where == number]) == {0.3}) == (pace is not None)
    prompt = [workload.prompt_tokens[where == number].mean() for number in range(3)]
    assert prompt[1] > 3.0 * max(prompt[0], prompt[2])
    gaps = [np.diff(workload.arrival_s[where == number]) for number in range(3)]
    spread = [gap.std() / gap.mean() for gap in gaps]
    assert spread[:2] == pytest.approx([1.0, 1.0], abs=0.1) and spread[2] == pytest.approx(np.sqrt(2.0), abs=0.15)


def test_segment_of_knows_both_sides_of_a_boundary() -> None:
    spec = workload_spec({**BASE, "segments": SHIFT})
    assert segment_of(spec, [0.0, 249.9, 250.0, 749.9, 750.0, 999.0]).tolist() == [0, 0, 1, 1, 2, 2]
    assert segment_of(workload_spec(BASE), [0.0, 999.0]).tolist() == [0, 0]


def test_drawing_is_deterministic_and_a_changed_segment_leaves_the_others() -> None:
    assert shifting() == shifting()
    spec = workload_spec({**BASE, "segments": SHIFT})
    assert generate(spec, 8) != shifting()
    before, after = shifting(), shifting([SHIFT[0], {**SHIFT[1], "load_factor": 2.0, "lengths": "tiny"}, SHIFT[2]])
    for start_s, end_s, same in ((0.0, 250.0, True), (250.0, 750.0, False), (750.0, 1000.0, True)):
        pairs = zip(columns(before, start_s, end_s), columns(after, start_s, end_s), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs) == same


def test_each_segment_is_at_the_load_of_its_own_lengths() -> None:
    engine = make_engine(4000)
    spec = workload_spec({**BASE, "rate": None, "segments": SHIFT})
    own = [saturation_rate(engine, workload_spec(name)) for name in ("sharegpt", "azure_conv", "sharegpt")]
    assert own[0] > 1.5 * own[1]
    assert saturation_rate(engine, spec) == pytest.approx(0.25 * own[0] + 0.5 * 0.5 * own[1] + 0.25 * 3.0 * own[2])
    workload = generate_on(engine, spec, 7, 0.5)
    expected = 0.5 * np.array([250.0 * own[0], 500.0 * 0.5 * own[1], 250.0 * 3.0 * own[2]])
    assert np.bincount(segment_of(spec, workload.arrival_s)) == pytest.approx(expected, rel=0.15)
    assert generate_on(engine, spec, 7) == generate_on(engine, spec, 7, 1.0)  # load 1 unless told otherwise


def test_users_and_patience_are_those_of_the_whole_workload() -> None:
    workload = shifting(users=6, patience={"mean_s": 20.0, "share": 0.5})
    plain = shifting()
    assert np.array_equal(workload.arrival_s, plain.arrival_s)
    assert set(workload.user) == set(range(6)) and 0.4 < np.isfinite(workload.abort_s).mean() < 0.6


def test_a_quiet_segment_may_be_empty_but_not_the_whole_workload() -> None:
    quiet = {"share": 1, "load_factor": 1e-9}
    assert len(shifting([quiet, {"share": 1}])) > 1000
    with pytest.raises(AndesError, match=r"no request in 1000\.0 s at 4e-09, 4e-09 requests/s"):
        shifting([quiet, quiet])


def test_a_mix_has_every_kind_in_its_share() -> None:
    spec = workload_spec({"lengths": {"mix": {"tiny": 3, "arxiv": 1}}, "requests": 4000, "rate": 1.0})
    assert spec.lengths == MixedLengths((LENGTHS["tiny"], LENGTHS["arxiv"]), (3.0, 1.0))
    workload = generate(spec, 3)
    assert np.mean(workload.prompt_tokens > 384) == pytest.approx(0.25, abs=0.02)
    own = generate(workload_spec({"lengths": "tiny", "requests": 4000, "rate": 1.0}), 3)
    short = workload.prompt_tokens <= 384
    assert workload.output_tokens[short].mean() == pytest.approx(own.output_tokens.mean(), rel=0.05)
    assert hash(spec) == hash(
        workload_spec({"lengths": {"mix": {"tiny": 3, "arxiv": 1}}, "requests": 4000, "rate": 1.0})
    )
    engine, pure = make_engine(4000), [workload_spec("tiny"), workload_spec("arxiv")]
    fast, slow = (saturation_rate(engine, spec) for spec in pure)
    assert slow < saturation_rate(engine, spec) < fast


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"segments": {"share": 1}}, r"segments = \{'share': 1\} must be a list of mappings"),
        ({"segments": [3]}, r"segments\[0\] = 3 must be a mapping of share, load_factor, name"),
        ({"segments": [{"share": 1}, {"load_factor": 2.0}]}, r"segments\[1\] needs share"),
        ({"segments": [{"share": 0}]}, "a segment has share = 0.0, must be a finite number > 0"),
        (
            {"segments": [{"name": "x", "share": 1, "load_factor": -1}]},
            "segment 'x' has load_factor = -1.0, must be a finite number > 0",
        ),
        ({"segments": [{"share": "half"}]}, r"segments\[0\]: share = 'half' must be a number"),
        (
            {"segments": [{"share": 1, "load_facto": 2.0}]},
            r"field of segments\[0\] 'load_facto'. Did you mean 'load_factor'",
        ),
        ({"segments": [{"share": 1, "users": 3}]}, r"unknown field of segments\[0\] 'users'"),
        ({"segments": [{"share": 1, "lengths": "arxive"}]}, "Did you mean 'arxiv'"),
        ({"segments": [{"share": 1}], "duration_s": None, "requests": 5}, "give duration_s instead of requests"),
        ({"segments": [{"share": 1}], "multi_round": 3}, "would reach into later segments"),
        ({"lengths": {"mix": {"sharegtp": 1}}}, "Did you mean 'sharegpt'"),
        ({"lengths": {"mix": {"sharegpt": 0.0}}}, "shares of a mix"),
        ({"lengths": {"mix": {"sharegpt": "much"}}}, "lengths: mix.sharegpt = 'much' must be a number"),
        ({"lengths": {"mix": ["sharegpt"]}}, "must be a mapping of length families to shares"),
        ({"lengths": {"mix": {}}}, "0 kinds, 0 shares"),
        ({"lengths": {"mix": {"tiny": 1}, "max_total": 5}}, "unknown field of lengths 'max_total'"),
    ],
)
def test_what_cannot_work_is_explained(given: dict[str, Any], told: str) -> None:
    with pytest.raises(AndesError, match=told):
        workload_spec({**BASE, **given})
