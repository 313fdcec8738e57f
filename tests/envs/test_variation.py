"""Domain randomisation: what is drawn, that load keeps its meaning, and that nothing moves while it is off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.random import SeedSequence

from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, CapacityError
from andes_engine.knobs import Knobs
from andes_engine.observation import FEATURES
from andes_engine.sim.simulator import Simulator, simulate
from andes_engine.workload.generate import generate, generate_on, saturation_rate
from andes_engine.workload.spec import workload_spec
from envs import EngineVariation, EnvConfig, SimVectorEnv
from envs.episodes import Episode, EpisodeSampler, most_requests, roomiest
from tests.builders import make_engine, make_workload

CHAT = workload_spec({"name": "chat", "lengths": "tiny", "duration_s": 10.0})
CROWD = workload_spec(
    {
        "name": "crowd",
        "lengths": "tiny",
        "duration_s": 10.0,
        "segments": [{"share": 3, "load_factor": 0.5}, {"share": 1, "load_factor": 3.0}, {"share": 1, "readers": 0.1}],
    }
)
ARTICLES = workload_spec({"name": "articles", "lengths": "arxiv", "duration_s": 60.0})
VARIED = EngineVariation((0.8, 2.0), kv_factors=(0.75, 1.0, 1.5), batched_tokens_factors=(0.5, 1.0))


def make_config(variation: EngineVariation = VARIED, **changes: object) -> EnvConfig:
    given = {"engines": (make_engine(150), make_engine(300, max_num_seqs=64)), "workloads": (CHAT, CROWD)}
    return EnvConfig(**{**given, "variation": variation, **changes})  # type: ignore[arg-type]


def episodes(config: EnvConfig, count: int, seed: int = 5) -> list[Episode]:
    sampler = EpisodeSampler(config, SeedSequence(seed))
    return [sampler.next() for _ in range(count)]


def test_while_it_is_off_episodes_are_drawn_as_before_there_was_any() -> None:
    config = make_config(EngineVariation())
    draws, requests = SeedSequence(5).spawn(2)
    rng = np.random.default_rng(draws)
    for episode in episodes(config, 6):
        engine = config.engines[rng.integers(2)]
        spec = config.workloads[rng.integers(2)]
        load, own = float(rng.uniform(*config.load)), requests.spawn(1)[0]
        assert (episode.engine, episode.load) == (engine, load)
        assert episode.workload == generate_on(engine, spec, own, load)
        if spec is CHAT:
            assert episode.workload == generate(spec, own, load * saturation_rate(engine, spec))


def test_every_size_is_drawn_within_the_bounds_and_nothing_else_moves() -> None:
    varied, plain = episodes(make_config(), 80), episodes(make_config(EngineVariation()), 80)
    assert [(e.workload, e.engine) for e in varied] == [(e.workload, e.engine) for e in episodes(make_config(), 80)]
    for one, other in zip(varied, plain, strict=True):
        assert one.load == other.load and one.workload.name == other.workload.name
        assert one.engine.max_num_seqs == other.engine.max_num_seqs
    small = [episode.engine for episode in varied if episode.engine.max_num_seqs == 256]
    assert {engine.kv_blocks for engine in small} == {112, 150, 225}
    assert {engine.max_batched_tokens for engine in small} == {1024, 2048}
    slowdowns = np.array([episode.engine.slowdown for episode in varied])
    assert (slowdowns >= 0.8).all() and (slowdowns <= 2.0).all() and len(set(slowdowns)) == 80
    assert slowdowns.mean() == pytest.approx(1.4, abs=0.15)
    assert {episode.workload.name for episode in varied} == {"chat", "crowd"}


def test_a_policy_sees_how_much_slower_the_engine_is_than_its_model() -> None:
    """Two engines at the same work, one twice as slow: the feature is apart by the doubling, whatever the model's own error."""
    place = [feature.name for feature in FEATURES].index("slowness")
    seen = []
    for slowdown in (1.0, 2.0):
        engine = replace(make_engine(400), slowdown=slowdown)
        simulator = Simulator([engine], 40)
        simulator.reset(0, make_workload(3, 40, rate=1000.0), "andes", Knobs())
        simulator.advance(0.05 * slowdown)
        simulator.observations()
        simulator.advance(0.25 * slowdown)
        seen.append(float(simulator.observations()[0][place]))
    assert abs(seen[0]) < 0.3
    assert seen[1] - seen[0] == pytest.approx(0.5, abs=0.1)


def test_a_slowdown_multiplies_the_engine_s_own() -> None:
    slow = replace(make_engine(150), slowdown=3.0)
    drawn = EngineVariation((2.0, 2.0)).draw(np.random.default_rng(0), slow)
    assert drawn == replace(slow, slowdown=6.0)
    assert EngineVariation().draw(np.random.default_rng(0), slow) == slow


def test_load_1_is_what_the_drawn_engine_saturates_at() -> None:
    """A slowed engine does the same later: its saturation need not be simulated for every slowdown."""
    engine, requests = make_engine(150), make_workload(1, 200, 1e3)
    slow = replace(engine, slowdown=1.7)
    saturated = [simulate(one, replace(requests, arrival_s=np.zeros(200)), "fcfs") for one in (engine, slow)]
    assert saturated[1].finish_s == pytest.approx(1.7 * saturated[0].finish_s, rel=1e-9)
    assert saturation_rate(slow, CHAT) == saturation_rate(engine, CHAT) / 1.7
    for episode in episodes(make_config(workloads=(CHAT,), load=(1.0, 1.0)), 10):
        expected = 10.0 * saturation_rate(episode.engine, CHAT)
        assert len(episode.workload) == pytest.approx(expected, abs=5.0 * expected**0.5)


@pytest.mark.parametrize("caching", [False, True])
def test_the_batched_environment_has_room_for_every_engine_and_workload(caching: bool) -> None:
    engines = tuple(replace(make_engine(blocks, max_num_seqs=64), prefix_caching=caching) for blocks in (150, 320))
    config = make_config(engines=engines, load=(1.5, 1.5), time_limit_s=2.0, decision_interval_s=2.0)
    most = most_requests(config)
    assert max(len(episode.workload) for episode in episodes(config, 60)) < most
    assert most > most_requests(replace(config, variation=EngineVariation()))
    if caching:
        assert roomiest(config).kv_blocks == 480
    env = SimVectorEnv(config, 4)
    env.reset(seed=0)
    seen: set[tuple[int, int]] = set()
    for _ in range(20):  # each step ends every episode
        seen |= {(engine.kv_blocks, engine.max_batched_tokens) for engine in env._simulator.configs}
        assert env.step(np.zeros(env.action_space.shape, np.float32))[3].any()
    assert len(seen) == 12


def test_an_engine_gets_the_traffic_that_goes_with_it_in_its_smallest_size() -> None:
    small, large = make_engine(150), make_engine(3000)  # half of the articles have at most 16,000 tokens
    both = workload_spec({"lengths": "tiny", "segments": [{"share": 1}, {"share": 1, "lengths": "arxiv"}]})
    config = make_config(engines=(small, large), workloads=(CHAT, ARTICLES, both))
    assert config.traffic_for(small) == (CHAT,)
    assert config.traffic_for(large) == (CHAT, ARTICLES, both)
    shrunk = replace(config, variation=EngineVariation(kv_factors=(0.2, 1.0)))
    assert shrunk.traffic_for(large) == (CHAT,)
    names = {(episode.engine.kv_blocks > 1000, episode.workload.name) for episode in episodes(config, 40)}
    assert names == {(False, "chat"), (True, "chat"), (True, "articles"), (True, "tiny")}
    with pytest.raises(AndesError, match=r"at least 50% of the requests of none of the kinds of traffic \(articles\)"):
        make_config(engines=(small,), workloads=(ARTICLES,))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"slowdown": (1.2, 0.8)}, r"variation.slowdown = \(1.2, 0.8\) must be \(low, high\)"),
        ({"slowdown": (0.0, 1.0)}, "0 < low <= high"),
        ({"slowdown": (1.0, float("nan"))}, "0 < low <= high"),
        ({"kv_factors": ()}, r"variation.kv_factors = \(\) must be one or more"),
        ({"batched_tokens_factors": (1.0, -1.0)}, "variation.batched_tokens_factors"),
    ],
)
def test_bounds_that_cannot_be_are_refused(given: dict[str, tuple[float, ...]], told: str) -> None:
    with pytest.raises(AndesError, match=told):
        EngineVariation(**given)  # type: ignore[arg-type]


def test_a_size_that_cannot_be_is_refused_before_any_episode() -> None:
    engine: EngineConfig = make_engine(150, max_num_seqs=1024)
    with pytest.raises(CapacityError, match="max_batched_tokens = 512 is below max_num_seqs = 1024"):
        make_config(EngineVariation(batched_tokens_factors=(1.0, 0.25)), engines=(engine,))
