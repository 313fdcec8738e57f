"""How long an iteration takes: the model, its fit to measured iterations, and published engines by name."""

from andes_engine.step_time.fitting import FitReport, RegimeReport, StepSample, UnseenError, fit, unseen_error
from andes_engine.step_time.model import STEP_TIME_SIZE, StepTime, prefill_seconds, scalars, step_seconds
from andes_engine.step_time.presets import load_preset, preset, presets, save_preset

__all__ = [
    "STEP_TIME_SIZE",
    "FitReport",
    "RegimeReport",
    "StepSample",
    "StepTime",
    "UnseenError",
    "fit",
    "load_preset",
    "prefill_seconds",
    "preset",
    "presets",
    "save_preset",
    "scalars",
    "step_seconds",
    "unseen_error",
]
