"""LoRA adapters under planned preemption, with room for one of two at a time: the same tokens as with vLLM's own scheduler.

Every request has an adapter: on the CPU, vLLM 0.32 computes requests without one wrongly beside others, planned or not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from andes_engine.vllm import adapter
from andes_engine.vllm.live_engine import LiveEngine
from andes_engine.vllm.local_model import build_local_model
from andes_engine.vllm.planning_counters import PlanningCounters
from tests.live.conftest import LIVE_CONFIG
from tests.live.stubs import NEEDS_VLLM

pytestmark = NEEDS_VLLM

RANK = 8
REQUESTS = 12


def write_adapter(folder: Path, seed: int) -> Path:
    """Random weights, large enough to change what the model says."""
    folder.mkdir()
    shape, weights = LIVE_CONFIG.model_shape, {}
    generator = torch.Generator().manual_seed(seed)
    for layer in range(shape.layers):
        for part in ("q_proj", "v_proj"):
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}.lora"
            weights[f"{name}_A.weight"] = 0.3 * torch.randn(RANK, shape.hidden, generator=generator)
            weights[f"{name}_B.weight"] = 0.3 * torch.randn(shape.hidden, RANK, generator=generator)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def generated(
    model: Path, adapters: list[Path], **options: Any
) -> tuple[list[tuple[int, ...]], PlanningCounters | None]:
    """Tokens of the same requests, adapters in turn, and what the planning scheduler counted, if it ran."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    limits = {"num_gpu_blocks_override": 24, "max_model_len": 256, "max_num_seqs": 16, "block_size": 32}
    lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": RANK}
    llm = LLM(str(model), skip_tokenizer_init=True, dtype="float32", enforce_eager=True, **limits, **lora, **options)
    known = [LoRARequest(path.name, number + 1, str(path)) for number, path in enumerate(adapters)]
    prompts: list[Any] = [{"prompt_token_ids": [10 + i // 2 + token for token in range(24)]} for i in range(REQUESTS)]
    params = SamplingParams(temperature=0.0, max_tokens=24, ignore_eos=True, detokenize=False)
    turns = [known[i % len(known)] for i in range(REQUESTS)]
    outputs = llm.generate(prompts, params, lora_request=turns, use_tqdm=False)
    counters = getattr(adapter.inprocess_scheduler(llm.llm_engine), "counters", None)
    llm.llm_engine.engine_core.shutdown()
    return [tuple(output.outputs[0].token_ids) for output in outputs], counters


def test_adapters_take_turns_and_tokens_stay_the_same(live_engine: LiveEngine, model_dir: Path, tmp_path: Path) -> None:
    model = build_local_model(model_dir, LIVE_CONFIG.model_shape)  # `live_engine` has given it weights
    adapters = [write_adapter(tmp_path / f"adapter{seed}", seed) for seed in (1, 2)]
    stock, _ = generated(model, adapters)
    often = {"scheduler": "andes", "knobs": {"preemption_cap": 4.0, "preemption_budget": 4.0}}
    planned, counters = generated(
        model, adapters, scheduler_cls="andes_engine.vllm.AndesScheduler", additional_config={"andes": often}
    )
    assert planned == stock
    assert counters is not None and counters.planned_preemptions > 5 and counters.failures == 0
    assert stock[0::2] != stock[1::2], "the same prompts under two adapters"
    assert {len(tokens) for tokens in planned} == {24}
