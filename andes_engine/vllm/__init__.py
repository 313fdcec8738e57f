"""The live engines: everything that knows vLLM.

Reading order: `adapter` (every private vLLM name), `features`, `gated_queue`, `scheduler`; then the drivers
`episode`, `local_model`, `live_engine`, `fake_worker`, `virtual_clock`; then `launcher`.

Importing this package imports neither vLLM nor torch: names resolve on first use, so `vllm serve --scheduler-cls
andes_engine.vllm.AndesScheduler` works and so does documentation on a machine without vLLM.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from andes_engine.vllm.episode import EpisodeRequest, LiveConfig, StepSample
    from andes_engine.vllm.live_engine import LiveEngine
    from andes_engine.vllm.scheduler import AndesScheduler
    from andes_engine.vllm.virtual_clock import VirtualEngine

_HOMES = {
    "AndesScheduler": "scheduler",
    "LiveConfig": "episode",
    "EpisodeRequest": "episode",
    "LiveEngine": "live_engine",
    "StepSample": "episode",
    "VirtualEngine": "virtual_clock",
}

__all__ = ["AndesScheduler", "EpisodeRequest", "LiveConfig", "LiveEngine", "StepSample", "VirtualEngine"]


def __getattr__(name: str) -> Any:
    """Resolve a public name from the module that owns it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it offers {', '.join(__all__)}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
