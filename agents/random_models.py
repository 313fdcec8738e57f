"""Models with random weights, and the engines they are served by: what measurements of a real device run."""

from __future__ import annotations

from typing import NamedTuple

from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.local_model import LLAMA3_8B, build_local_model, load_format, models_folder

CUDA, CPU = "cuda", "cpu"


class Served(NamedTuple):
    """A model with random weights and the engine it is served by.

    Args:
        engine: Size of the engine.
        near: Step-time preset of about its speed.
        lengths: Length family that fits it.
        devices: Where it can run.
    """

    engine: LiveConfig
    near: str
    lengths: str
    devices: tuple[str, ...]

    def serve_arguments(self) -> list[str]:
        """The model's folder, written if it is not there yet, and what makes `vllm serve` this engine."""
        folder = build_local_model(models_folder(), self.engine.model_shape)
        arguments = [str(folder), "--load-format", load_format(folder)]
        for name, value in self.engine.engine_arguments().items():
            flag = name.replace("_", "-")
            arguments += [f"--{'' if value else 'no-'}{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        return arguments


MODELS = {
    "tiny": Served(LiveConfig(), "cpu_tiny_llama", "tiny", (CPU, CUDA)),
    # the engine of conf/engine/rtx4090_llama3_8b.yaml: weights and cache fit a card of 24 GB
    "llama3_8b": Served(
        LiveConfig(
            block_size=16,
            kv_blocks=2588,
            max_batched_tokens=2048,
            max_num_seqs=256,
            max_model_len=4096,
            prefix_caching=False,
            shape=LLAMA3_8B,
            eager=False,
        ),
        "rtx4090_llama3_8b",
        "sharegpt",
        (CUDA,),
    ),
}
