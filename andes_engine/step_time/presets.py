"""Step-time models by name, or from a file that `scripts.calibrate` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.step_time.model import StepTime

_MILLI, _MICRO, _NANO = 1e-3, 1e-6, 1e-9


def preset(name: str) -> StepTime:
    """A step-time model by its name in `presets()`, or by the path of a JSON file of one.

    Raises:
        UnknownNameError: If no preset has this name; the message names the nearest.
        AndesError: If the file is missing or no preset.
    """
    if name.endswith(".json"):
        return load_preset(name)
    entry = presets().get(name)
    if entry is None:
        raise UnknownNameError("step-time preset", name, presets())
    return _model(name, entry)


@cache
def presets() -> dict[str, dict[str, Any]]:
    """All published presets with engine, source, licence and error (MAPE % of the two regimes)."""
    return json.loads(files("andes_engine.step_time").joinpath("presets.json").read_text(encoding="utf-8"))


def load_preset(path: str | Path) -> StepTime:
    """The model in a file of `save_preset`; its name is the file's."""
    path = Path(path)
    try:
        return _model(path.stem, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AndesError(
            f"step-time preset {path}: cannot be read ({error.strerror}); write one with scripts.calibrate"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise AndesError(
            f"step-time preset {path}: not a preset ({error!r}); write one with scripts.calibrate"
        ) from None


def save_preset(model: StepTime, path: str | Path, **facts: Any) -> Path:
    """Write a model in the units of `presets.json`, with whatever `facts` (engine, source, errors) belong to it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts | _entry(model), indent=1) + "\n", encoding="utf-8")
    return path


def _entry(model: StepTime) -> dict[str, Any]:
    """Milliseconds per iteration, microseconds per token or sequence, nanoseconds per token squared."""
    (a, b, c), (a2, g, b2, c2, e), (f0, f1, f2) = model.decode, model.mixed, model.floor
    return {
        "decode_ms_us_us": [a / _MILLI, b / _MICRO, c / _MICRO],
        "mixed_ms_us_us_us_ns": [a2 / _MILLI, g / _MICRO, b2 / _MICRO, c2 / _MICRO, e / _NANO],
        "floor_ms_us_us": [f0 / _MILLI, f1 / _MICRO, f2 / _MICRO],
        "prefill_context_ns": model.prefill_context_s / _NANO,
        "host_ms": model.host_s / _MILLI,
    }


def _model(name: str, entry: Mapping[str, Any]) -> StepTime:
    """A preset without `prefill_context_ns` was fitted without it: 2 e then. One without `floor_ms_us_us` is linear."""
    a, b, c = entry["decode_ms_us_us"]
    a2, g, b2, c2, e = entry["mixed_ms_us_us_us_ns"]
    f0, f1, f2 = entry.get("floor_ms_us_us", (0.0, 0.0, 0.0))
    x = entry.get("prefill_context_ns")
    return StepTime(
        name,
        (a * _MILLI, b * _MICRO, c * _MICRO),
        (a2 * _MILLI, g * _MICRO, b2 * _MICRO, c2 * _MICRO, e * _NANO),
        entry["host_ms"] * _MILLI,
        (f0 * _MILLI, f1 * _MICRO, f2 * _MICRO),
        None if x is None else x * _NANO,
    )
