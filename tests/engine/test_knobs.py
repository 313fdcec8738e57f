from __future__ import annotations

import numpy as np
import pytest

from andes_engine import knobs as kn
from andes_engine import request_index
from andes_engine.errors import KnobError, UnknownNameError
from andes_engine.knobs import KNOB_COUNT, KNOB_NAMES, KNOBS, Knobs


def test_defaults_are_within_bounds_and_the_papers() -> None:
    knobs = Knobs()
    for entry in KNOBS:
        assert entry.low <= entry.default <= entry.high
        assert knobs[entry.name] == entry.default
    assert (knobs["horizon_s"], knobs["kv_watermark"], knobs["running_bonus"]) == (10.0, 0.9, 1.1)


def test_index_constants_name_the_right_knob() -> None:
    for name in KNOB_NAMES[: kn.INDEX]:
        assert KNOB_NAMES[getattr(kn, name.upper())] == name
    for place, name in enumerate(kn.INDEX_NAMES):
        assert KNOB_NAMES[kn.INDEX + place] == name
        assert getattr(request_index, name.removeprefix(kn.INDEX_PREFIX).upper()) == place


@pytest.mark.parametrize("entry", KNOBS, ids=lambda entry: entry.name)
def test_bounds(entry: kn.Knob) -> None:
    for value in (entry.low, entry.high):
        assert Knobs({entry.name: value})[entry.name] == value
    for value in (entry.low - 1e-6, entry.high + 1e-6, float("nan"), float("inf"), "many", None):
        with pytest.raises(KnobError, match=entry.name):
            Knobs({entry.name: value})


def test_logarithmic_knobs_are_positive() -> None:
    assert all(entry.low > 0 for entry in KNOBS if entry.log)


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'horizon_s'"):
        Knobs({"horizon": 20.0})
    with pytest.raises(UnknownNameError):
        Knobs()["horizon"]


def test_vector_round_trip_and_equality() -> None:
    knobs = Knobs({"horizon_s": 55.0})
    assert Knobs.from_vector(knobs.vector) == knobs
    assert hash(Knobs.from_vector(knobs.vector)) == hash(knobs)
    assert knobs != Knobs()
    assert dict(knobs) == dict(zip(KNOB_NAMES, knobs.vector, strict=True))
    with pytest.raises(KnobError, match=str(KNOB_COUNT)):
        Knobs.from_vector(np.ones(KNOB_COUNT - 1))
    with pytest.raises(ValueError, match="read-only"):
        knobs.vector[0] = 2.0
