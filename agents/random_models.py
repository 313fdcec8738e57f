"""Models with random weights, and the engines they are served by: what measurements of a real device run."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.local_model import LLAMA3_8B, build_local_model, load_format

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

    def model_folder(self) -> str:
        """The model, written if it is not there yet."""
        return str(build_local_model(Path(tempfile.gettempdir()) / "andes-rl-models", self.engine.model_shape))

    def flags(self) -> list[str]:
        """What makes `vllm serve` this engine."""
        engine = self.engine
        return [
            *("--load-format", load_format(Path(self.model_folder())), "--dtype", engine.model_shape.dtype),
            *("--block-size", str(engine.block_size), "--num-gpu-blocks-override", str(engine.kv_blocks)),
            *("--max-num-batched-tokens", str(engine.max_batched_tokens), "--max-num-seqs", str(engine.max_num_seqs)),
            *("--max-model-len", str(engine.max_model_len), "--seed", str(engine.seed)),
            "--enable-prefix-caching" if engine.prefix_caching else "--no-enable-prefix-caching",
            *(["--enforce-eager"] if engine.eager else []),
        ]


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
