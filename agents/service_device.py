"""What serves in a comparison of servers: an emulated device, or a model with random weights on this machine's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from agents.random_models import MODELS, Served
from agents.serve import MADE_UP, SCHEDULER_CLASS, device_arguments, launcher_command, planner_section
from andes_engine.contender import Contender
from andes_engine.engine import EngineConfig
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import simulated_twin
from andes_engine.vllm.emulation import Emulation
from andes_engine.vllm.live_engine import SMALL_ENGINE

STOCK = "fcfs"
"""The scheduler that vLLM has itself: served without ours."""
BLOCK_TOKENS, LONGEST_TOKENS = 16, 8192


class Device(NamedTuple):
    """What serves: an emulated device, or a model on this machine's own; `speed` is its step-time preset, or the file of one."""

    speed: str
    engine: EngineConfig
    emulation: Emulation | None = None
    served: Served | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the server."""
        return {} if self.served is None else SMALL_ENGINE

    @property
    def machine(self) -> str:
        """What this machine's own device is called, by vLLM's platform; empty for an emulated one."""
        if self.served is None:
            return ""
        from vllm.platforms import current_platform

        return str(current_platform.get_device_name())

    def server_command(self, contender: Contender, policy: str | None, port: int) -> list[str]:
        """VLLM's own scheduler, or ours as the contender has it; `policy` is the folder of the contender's bundle."""
        folder: str | None = None
        flags = ["--max-model-len", str(self.engine.max_model_len_tokens)]
        if self.served is not None:
            folder, *rest = self.served.serve_arguments()
            flags = [*rest, "--served-model-name", MADE_UP]
        ours = [] if contender.scheduler == STOCK else ["--scheduler-cls", SCHEDULER_CLASS]
        andes = planner_section(contender, self.speed, policy)
        return [*launcher_command(folder, "127.0.0.1", port), *flags, *ours, *device_arguments(andes, self.emulation)]


def own_device(name: str, step_time: str | None) -> Device:
    """A model of `MODELS` on this machine; its speed is a preset or a file, by default that of the model's usual device.

    Raises:
        AndesError: If there is no such step time.
    """
    served = MODELS[name]
    speed = step_time or served.near
    return Device(speed, simulated_twin(served.engine, preset(speed)), served=served)


def emulated_device(emulate: Any) -> Device:
    """A device that is emulated; `emulate` as in `conf/serve.yaml`.

    Raises:
        AndesError: If its speed or its size is none.
    """
    emulation = Emulation.from_section({"emulate": emulate})
    tokens = emulation.capacity_tokens
    engine = EngineConfig(
        emulation.engine,
        emulation.step_time,
        tokens // BLOCK_TOKENS,
        BLOCK_TOKENS,
        max_num_seqs=1024,
        max_model_len_tokens=min(tokens, LONGEST_TOKENS),
    )
    return Device(emulation.engine, engine, emulation)
