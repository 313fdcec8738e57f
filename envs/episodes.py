"""Which episode comes next: an engine, a kind of traffic, a load and the requests, all from one seed."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.random import SeedSequence

from andes_engine.engine import EngineConfig
from andes_engine.workload import Workload
from andes_engine.workload.generate import generate_on, saturation_rate
from envs.config import EnvConfig


class Episode(NamedTuple):
    """What one episode replays."""

    engine: EngineConfig
    workload: Workload
    load: float


class EpisodeSampler:
    """Draws episodes; the same seed gives the same sequence. Requests too long for the drawn engine are left out."""

    def __init__(self, config: EnvConfig, seed: SeedSequence) -> None:
        self._config = config
        self._traffic = [config.traffic_for(engine) for engine in config.engines]
        draws, self._requests, variation = seed.spawn(3)
        self._rng = np.random.default_rng(draws)
        self._variation_rng = np.random.default_rng(variation)

    def next(self) -> Episode:
        """The next episode."""
        config = self._config
        chosen = self._rng.integers(len(config.engines))
        traffic = self._traffic[chosen]
        spec = traffic[self._rng.integers(len(traffic))]
        engine = config.variation.draw(self._variation_rng, config.engines[chosen])
        load = float(self._rng.uniform(*config.load))
        workload = generate_on(engine, spec, self._requests.spawn(1)[0], load)
        return Episode(engine, workload.fitting(engine)[0], load)


def most_requests(config: EnvConfig) -> int:
    """A number of requests that no episode of `config` exceeds but by accident; such an episode is refused with an error."""
    most = 0.0
    for engine in config.engines:
        for spec, size in product(config.traffic_for(engine), config.variation.all_of(engine)):
            expected = spec.requests or saturation_rate(size, spec) * config.load[1] * (spec.duration_s or 0.0)
            # an episode may be shorter than a cycle, and all of it at the peak
            peak = 1.0 if spec.requests else max(stretch.spec.arrivals.peak for stretch in spec.stretches)
            most = max(most, float(expected) * peak)
    return int(1.5 * most) + 200


def most_users(config: EnvConfig) -> int:
    """Users of the traffic that has the most."""
    return max(spec.users.count if spec.users else 1 for spec in config.workloads)


def roomiest(config: EnvConfig) -> EngineConfig:
    """An engine whose arrays hold every engine of an episode: the most sequences and, of those that cache, blocks."""
    engines = [size for engine in config.engines for size in config.variation.all_of(engine)]
    widest = max(engines, key=lambda engine: engine.max_num_seqs)
    caching = [engine for engine in engines if engine.prefix_caching]
    if not caching:
        return widest
    return replace(
        widest,
        prefix_caching=True,
        kv_blocks=max(engine.kv_blocks for engine in caching),
        block_size_tokens=min(engine.block_size_tokens for engine in caching),
        max_model_len_tokens=max(engine.max_model_len_tokens for engine in caching),
    )
