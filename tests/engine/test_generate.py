"""From a specification and a seed to a workload; and what load means."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import SeedSequence

from andes_engine.errors import AndesError, CapacityError, InvalidWorkloadError, UnknownNameError
from andes_engine.sim.simulator import simulate
from andes_engine.workload import Workload
from andes_engine.workload.arrivals import ARRIVALS, CyclicBurst, Gamma
from andes_engine.workload.generate import children, generate, generate_on, saturation_rate
from andes_engine.workload.lengths import LENGTHS
from andes_engine.workload.readers import ReaderMix, TtftExpectation
from andes_engine.workload.spec import workload_spec
from tests.builders import make_engine


def test_each_consumer_of_randomness_has_its_own_child() -> None:
    for seed in (7, SeedSequence(7, spawn_key=(2,))):
        fresh = SeedSequence(7) if isinstance(seed, int) else SeedSequence(7, spawn_key=(2,))
        states = [child.generate_state(2).tolist() for child in children(seed, 3)]
        assert states == [child.generate_state(2).tolist() for child in fresh.spawn(3)]


def test_generation_is_reproducible() -> None:
    spec = workload_spec({"lengths": "azure_conv", "rate": 2.0})
    assert generate(spec, 7) == generate(spec, 7)
    assert generate(spec, 7) != generate(spec, 8)
    seed = SeedSequence(7)
    assert generate(spec, seed) == generate(spec, seed) == generate(spec, 7)
    assert generate(spec, seed.spawn(1)[0]) != generate(spec, 7)


def test_changing_one_part_leaves_the_others() -> None:
    base = {"lengths": "azure_conv", "requests": 300, "rate": 2.0}
    workload = generate(workload_spec(base), 3)
    other = generate(workload_spec({**base, "lengths": "sharegpt"}), 3)
    assert np.array_equal(workload.arrival_s, other.arrival_s)
    assert np.array_equal(workload.latency_s, other.latency_s)
    assert not np.array_equal(workload.prompt_tokens, other.prompt_tokens)
    burst = generate(workload_spec({**base, "arrivals": "cyclic_burst", "readers": 0.3}), 3)
    assert np.array_equal(workload.prompt_tokens, burst.prompt_tokens)
    assert not np.array_equal(workload.arrival_s, burst.arrival_s)
    faster = generate(workload_spec(base), 3, rate=4.0)
    assert faster.arrival_s == pytest.approx(workload.arrival_s / 2.0)
    assert np.array_equal(faster.output_tokens, workload.output_tokens)


def test_specs_from_plain_data() -> None:
    assert workload_spec("sharegpt").lengths is LENGTHS["sharegpt"]
    spec = workload_spec(
        {
            "name": "mine",
            "lengths": {"prompt": {"mean": 500, "std": 100}, "output": {"mean": 50, "std": 50, "high": 90}},
            "arrivals": {"kind": "gamma", "shape": 0.5},
            "readers": {"latency_s": [0.2, 0.3], "share": [1, 3]},
            "ttft": 2.5,
            "requests": 10,
            "rate": 3.0,
            "load": None,
        }
    )
    assert (spec.name, spec.requests, spec.rate, spec.load, spec.duration_s) == ("mine", 10, 3.0, None, None)
    assert spec.arrivals == Gamma(0.5)
    assert spec.readers == ReaderMix((0.2, 0.3), (1.0, 3.0))
    assert spec.ttft == TtftExpectation(2.5)
    assert workload_spec(spec) is spec
    assert hash(spec) == hash(dataclasses.replace(spec))
    assert len(generate(spec, 0)) == 10
    assert {workload_spec({"lengths": "tiny", "arrivals": name}).arrivals.kind for name in ARRIVALS} == set(ARRIVALS)


@pytest.mark.parametrize(
    ("given_spec", "match"),
    [
        ("sharegtp", "Did you mean 'sharegpt'"),
        ({"lengths": "sharegpt", "arrivals": "possion"}, "Did you mean 'poisson'"),
        ({"lengths": "sharegpt", "readers": "readin"}, "Did you mean 'reading'"),
        ({"lengths": "sharegpt", "ttft": "promt"}, "Did you mean 'prompt'"),
        ({"lengths": "sharegpt", "duration": 5}, "Did you mean 'duration_s'"),
        ({"lengths": "sharegpt", "arrivals": {"kind": "gamma", "shap": 1}}, "Did you mean 'shape'"),
        ({"lengths": {"prompt": {"mean": 5}, "output": {"mean": 5, "std": 1}}}, "prompt needs std"),
        ({"arrivals": "poisson"}, "needs 'lengths'"),
        ({"lengths": "sharegpt", "load": 1.0, "rate": 2.0}, "not both"),
        ({"lengths": "sharegpt", "requests": 5, "duration_s": 2.0}, "not both"),
        ({"lengths": "sharegpt", "load": -1.0}, "load = -1.0"),
        ({"lengths": "sharegpt", "duration_s": float("nan")}, "duration_s = nan"),
    ],
)
def test_wrong_specs_are_explained(given_spec: str | dict, match: str) -> None:
    with pytest.raises(AndesError, match=match):
        workload_spec(given_spec)


def test_unknown_names_are_unknown_name_errors() -> None:
    with pytest.raises(UnknownNameError):
        workload_spec("nothing-like-it")


def test_a_load_needs_an_engine_and_an_empty_draw_is_explained() -> None:
    with pytest.raises(InvalidWorkloadError, match="generate_on"):
        generate(workload_spec("sharegpt"), 0)
    with pytest.raises(InvalidWorkloadError, match="no request in"):
        generate(workload_spec({"lengths": "sharegpt", "duration_s": 1e-6, "rate": 1.0}), 0)


def test_saturation_is_where_the_queue_starts_to_grow() -> None:
    """Below it FCFS keeps up, above it falls behind by the difference; more memory raises it."""
    engine = make_engine()
    spec = workload_spec({"lengths": "azure_conv", "load": 1.0, "requests": 3000})
    rate = saturation_rate(engine, spec)
    served = {load: simulate(engine, generate(spec, 1, load * rate), "fcfs") for load in (0.8, 1.3)}
    span = {load: record.duration_s / record.workload.duration_s for load, record in served.items()}
    assert span[0.8] < 1.1
    assert span[1.3] == pytest.approx(1.3, rel=0.1)
    assert saturation_rate(make_engine(8000), spec) > rate
    half = workload_spec({"lengths": "azure_conv", "load": 0.5})
    assert generate_on(engine, half, 1) == generate(half, 1, 0.5 * rate)
    assert generate_on(engine, half, 1, 0.7) == generate(half, 1, 0.7 * rate)
    own = workload_spec({"lengths": "azure_conv", "rate": 3.0})
    assert generate_on(engine, own, 1) == generate(own, 1)
    with pytest.raises(CapacityError, match="can hold none of 2000 requests"):
        saturation_rate(make_engine(10), workload_spec("arxiv"))


@given(
    st.integers(0, 2**63), st.sampled_from([Gamma(0.25), CyclicBurst(60.0)]), st.floats(0.1, 50.0), st.integers(1, 50)
)
def test_anything_generated_is_a_valid_workload(
    seed: int, process: Gamma | CyclicBurst, rate: float, count: int
) -> None:
    spec = workload_spec({"lengths": "sharegpt", "arrivals": process, "requests": count, "rate": rate})
    workload = generate(spec, seed)
    assert isinstance(workload, Workload)
    assert len(workload) == count
