"""Users, readers who leave, and conversations: what they draw, and that they move nothing else."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import default_rng

from andes_engine.errors import AndesError, InvalidWorkloadError
from andes_engine.workload import Workload
from andes_engine.workload.generate import generate, saturation_rate
from andes_engine.workload.lengths import LENGTHS
from andes_engine.workload.multi_round import ConversationLengths, MultiRound
from andes_engine.workload.prefix import growing_prompts
from andes_engine.workload.readers import Patience
from andes_engine.workload.spec import workload_spec
from andes_engine.workload.trace import load_trace
from andes_engine.workload.users import Users
from tests.builders import make_engine

BASE = {"lengths": "sharegpt", "arrivals": "cyclic_burst", "requests": 500, "rate": 2.0}
TALK = {**BASE, "arrivals": "poisson", "multi_round": {"mean_rounds": 4.0, "think_s": 20.0, "max_context_tokens": 4096}}


def made(**changed: object) -> Workload:
    return generate(workload_spec({**BASE, **changed}), 7)


def test_workloads_of_a_seed_are_what_they_were() -> None:
    """Pinned from the code before there were users, patience and conversations."""
    assert made().fingerprint == "cde36c3c6e554f93"


def test_each_part_draws_from_its_own_child() -> None:
    plain, both = made(), made(users=9, patience=30.0)
    for name in ("arrival_s", "prompt_tokens", "output_tokens", "ttft_s", "latency_s"):
        assert np.array_equal(getattr(plain, name), getattr(both, name))
    assert np.array_equal(made(users=9).user, both.user)
    assert np.array_equal(made(patience=30.0).abort_s, both.abort_s)
    assert len({plain.fingerprint, both.fingerprint, made(users=9).fingerprint, made(patience=30.0).fingerprint}) == 4


@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_users_follow_zipf(skew: float) -> None:
    users = Users(5, skew)
    assert users.share[0] / users.share[3] == pytest.approx(4.0**skew)
    seen = np.bincount(users.sample(default_rng(0), 100_000), minlength=5) / 100_000
    assert seen == pytest.approx(users.share, abs=0.01)


def test_some_readers_leave_after_an_exponential_time() -> None:
    patience_s = Patience(60.0, 0.25).sample(default_rng(0), 100_000)
    leaving = np.isfinite(patience_s)
    assert leaving.mean() == pytest.approx(0.25, abs=0.01)
    assert patience_s[leaving].mean() == pytest.approx(60.0, rel=0.03)
    assert patience_s[leaving].std() == pytest.approx(60.0, rel=0.05)
    everybody = Patience(60.0).sample(default_rng(0), 100_000)
    assert np.array_equal(everybody[leaving], patience_s[leaving]), "a smaller share makes nobody leave earlier"
    assert np.isinf(Patience(60.0, 0.0).sample(default_rng(0), 100)).all()


def test_a_trace_gets_users_and_patience_from_the_seed(real_trace) -> None:
    plain, rich = load_trace(real_trace, seed=4), load_trace(real_trace, seed=4, users=9, patience={"mean_s": 5.0})
    assert np.array_equal(plain.latency_s, rich.latency_s)
    assert rich.user.max() == 8
    assert rich.patience_s.mean() == pytest.approx(5.0, rel=0.1)
    assert load_trace(real_trace, seed=4, users=9, patience=5.0) == rich != plain


def test_prompts_say_everything_before_them() -> None:
    talk = MultiRound(max_context_tokens=100)
    prompt, opens = talk.prompts(np.array([3, 1, 2]), np.array([5, 6, 7, 9, 90, 1]), np.array([10, 20, 30, 1, 20, 2]))
    assert prompt.tolist() == [5, 5 + 10 + 6, 5 + 10 + 6 + 20 + 7, 9, 90, 1]
    assert opens.tolist() == [True, False, False, True, True, True], "the last one would not fit with its context"


@given(st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=6))
def test_hashes_of_growing_prompts_tell_exactly_what_is_shared(grown: list[list[int]]) -> None:
    """Against the contents themselves: token t of conversation c is the pair (c, t), hashed block by block."""
    prompts = [np.cumsum(one).tolist() for one in grown]
    flat = np.array([tokens for one in prompts for tokens in one])
    opens = np.array([turn == 0 for one in prompts for turn in range(len(one))])
    hashes = growing_prompts(flat, opens, block_tokens=8)
    hashes.check_prompts(flat, "w")
    content: dict[int, tuple] = {}
    row = 0
    for conversation, one in enumerate(prompts):
        for turn, tokens in enumerate(one):
            for block, one_id in enumerate(hashes.of(row).tolist()):
                whole = (block + 1) * 8 <= tokens
                said = (conversation, block, None if whole else turn)
                assert content.setdefault(one_id, said) == said
            row += 1
    assert len(set(content.values())) == len(content), "equal contents have one id"


def test_conversations_keep_count_rate_and_pace() -> None:
    workload = generate(workload_spec({**TALK, "users": 50}), 3)
    assert len(workload) == 500
    assert workload.duration_s < 250.0
    halves = np.bincount((workload.arrival_s > 125.0).astype(int))
    assert halves.min() > 200, "the rate holds from start to end"
    for seed in range(3):
        long = generate(workload_spec({**TALK, "requests": None, "duration_s": 3000.0}), seed)
        assert long.rate == pytest.approx(2.0, rel=0.1)
    assert generate(workload_spec(TALK), 3) == generate(workload_spec(TALK), 3) != generate(workload_spec(TALK), 4)


def test_follow_ups_share_their_conversation_and_come_after_it_was_read() -> None:
    workload = generate(workload_spec({**TALK, "users": 50, "readers": {"latency_s": [0.1, 0.2], "share": [1, 1]}}), 3)
    hashes, seen, shared = workload.block_hashes, {}, 0
    for row in range(len(workload)):
        full = hashes.of(row)[: workload.prompt_tokens[row] // 512]
        known = [one for one in full.tolist() if one in seen]
        assert full.tolist()[: len(known)] == known, "what is known of a prompt is its beginning"
        if known:
            before = seen[known[-1]]
            shared += 1
            assert (workload.user[row], workload.latency_s[row]) == (workload.user[before], workload.latency_s[before])
            assert workload.prompt_tokens[row] > workload.prompt_tokens[before] + workload.output_tokens[before]
            read_s = workload.ttft_s[before] + workload.output_tokens[before] * workload.latency_s[before]
            assert workload.arrival_s[row] > workload.arrival_s[before] + read_s
        seen.update(dict.fromkeys(full.tolist(), row))
    assert shared > 80
    assert (workload.prompt_tokens + workload.output_tokens).max() <= 4096


def test_a_load_of_conversations_counts_their_whole_prompts() -> None:
    engine, talk = make_engine(), MultiRound(4.0, max_context_tokens=4096)
    spec = workload_spec({"lengths": "sharegpt", "multi_round": talk})
    assert spec.request_lengths == ConversationLengths(LENGTHS["sharegpt"], talk)
    prompt, output = spec.request_lengths.sample(default_rng(0), 1000)
    assert prompt.shape == output.shape == (1000,)
    assert prompt.mean() > 3 * LENGTHS["sharegpt"].prompt.mean
    single = dataclasses.replace(spec, multi_round=None)
    assert saturation_rate(engine, spec) < 0.8 * saturation_rate(engine, single)


def test_parts_from_plain_data() -> None:
    spec = workload_spec({**BASE, "users": {"count": 3, "skew": 0}, "patience": 12, "multi_round": 2.5})
    assert (spec.users, spec.patience, spec.multi_round) == (Users(3, 0), Patience(12), MultiRound(2.5))
    assert workload_spec({**BASE, "users": Users(3), "patience": None}).users == Users(3)
    assert hash(spec) == hash(dataclasses.replace(spec))


@pytest.mark.parametrize(
    ("given_part", "match"),
    [
        ({"users": 0}, "users: count = 0 must be a whole number >= 1"),
        ({"users": 2.5}, "users: count = 2.5"),
        ({"users": {"count": 3, "skew": -1}}, "users: skew = -1"),
        ({"users": {"skew": 1}}, "users needs count"),
        ({"users": {"count": 3, "skw": 1}}, "Did you mean 'skew'"),
        ({"users": True}, "users = True must be a number"),
        ({"patience": 0}, "patience: mean_s = 0"),
        ({"patience": float("nan")}, "patience: mean_s = nan"),
        ({"patience": {"mean_s": 5, "share": 1.5}}, "patience: share = 1.5"),
        ({"patience": "short"}, r"patience = 'short' must be a number \(mean_s\) or a mapping of mean_s, share"),
        ({"multi_round": 0.5}, "multi_round: mean_rounds = 0.5"),
        ({"multi_round": {"think_s": -1}}, "multi_round: think_s = -1"),
        ({"multi_round": {"max_context_tokens": 0}}, "multi_round: max_context_tokens = 0"),
        ({"multi_round": True}, "multi_round = True"),
    ],
)
def test_impossible_parts_are_refused(given_part: dict, match: str) -> None:
    with pytest.raises(AndesError, match=match):
        workload_spec({**BASE, **given_part})


def test_conversations_need_one() -> None:
    with pytest.raises(InvalidWorkloadError, match="no request in"):
        generate(workload_spec({**TALK, "requests": None, "duration_s": 1e-6}), 0)


@given(
    st.integers(0, 2**63),
    st.integers(1, 60),
    st.floats(0.1, 50.0),
    st.floats(1.0, 9.0),
    st.sampled_from([0.0, 1.0, 99.0]),
)
def test_any_conversations_are_a_valid_workload(
    seed: int, count: int, rate: float, mean_rounds: float, think_s: float
) -> None:
    talk = MultiRound(mean_rounds, think_s, 2048)
    spec = workload_spec({"lengths": "sharegpt", "multi_round": talk, "requests": count, "rate": rate, "patience": 9})
    workload = generate(spec, seed)
    assert len(workload) == count
    assert (workload.abort_s >= workload.arrival_s).all()
    assert (workload.block_hashes.counts == -(-workload.prompt_tokens // 512)).all()
