"""The GPU run: refused clearly where there is none, whole on a CPU, and an 8B model that vLLM takes for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.cli import compose
from agents.gpu_run import GpuRunConfig, device_facts, gpu_run
from agents.random_models import MODELS
from agents.schema import ConfigError, from_mapping
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.vllm.local_model import LLAMA3_8B, ModelShape, build_local_model
from scripts import update_readme
from tests.live.stubs import INSTALLED

SMALL = ("kv_blocks=40", "max_num_seqs=16", "max_model_len=640", "max_batched_tokens=128")


def config_of(*overrides: str) -> GpuRunConfig:
    return from_mapping(GpuRunConfig, compose("gpu_run", *overrides))


def test_no_gpu_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(AndesError, match=r"no CUDA device here \(PyTorch .*VLLM=gpu make gpu.*device=cpu model=tiny"):
        device_facts("cuda")
    assert device_facts("cpu")["device"] == "cpu"


@pytest.mark.parametrize(
    ("overrides", "error", "told"),
    [
        (["device=cpu"], ConfigError, "model=llama3_8b needs device=cuda"),
        (["model=llama3_70b"], UnknownNameError, "Did you mean 'llama3_8b'"),
        (["device=gpu"], UnknownNameError, "unknown device 'gpu'"),
    ],
)
def test_what_cannot_run_is_refused(overrides: list[str], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        config_of(*overrides)


def test_a_larger_card_gets_a_larger_cache() -> None:
    assert config_of("+engine.kv_blocks=20000").served.engine.kv_blocks == 20000
    assert MODELS["llama3_8b"].engine.kv_blocks == 2588
    with pytest.raises(UnknownNameError, match="Did you mean 'kv_blocks'"):
        config_of("+engine.kv_block=1").served  # noqa: B018


def weights(shape: ModelShape) -> int:
    """Parameters of a Llama of this shape, its embeddings not tied."""
    assert shape.kv_heads is not None and shape.intermediate is not None
    attention = 2 * shape.hidden**2 * (1 + shape.kv_heads / shape.heads)
    layer = attention + 3 * shape.hidden * shape.intermediate + 2 * shape.hidden
    return int(2 * shape.vocabulary_tokens * shape.hidden + shape.layers * layer + shape.hidden)


def test_the_8b_model_has_the_published_size() -> None:
    assert weights(LLAMA3_8B) == 8_030_261_248  # the sum over the tensors of Meta's checkpoint
    weights_gib = 2 * weights(LLAMA3_8B) / 2**30
    engine = MODELS["llama3_8b"].engine
    cache_gib = engine.kv_blocks * engine.block_size * 131_072 / 2**30
    assert weights_gib + cache_gib < 0.9 * 24


@INSTALLED
@pytest.mark.live
def test_vllm_takes_it_for_an_8b_llama(tmp_path: Path) -> None:
    from vllm.engine.arg_utils import EngineArgs

    folder = build_local_model(tmp_path, LLAMA3_8B)
    arguments = EngineArgs(
        str(folder), load_format="dummy", dtype="bfloat16", max_model_len=4096, async_scheduling=False
    )
    config = arguments.create_engine_config()
    model, parallel = config.model_config, config.parallel_config
    assert (model.get_num_kv_heads(parallel), model.get_head_size(), model.get_vocab_size()) == (8, 128, 128_256)
    per_token = 2 * model.get_num_kv_heads(parallel) * model.get_head_size() * model.get_num_layers(parallel) * 2
    assert per_token == 131_072
    assert not config.scheduler_config.async_scheduling


@INSTALLED
@pytest.mark.live
@pytest.mark.slow
def test_the_whole_procedure_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "gpu"
    bursts = ("live.duration_s=2.0", "live.bursts=2", "live.load=2.0")
    result = gpu_run(
        config_of("device=cpu", "model=tiny", *bursts, *(f"+engine.{change}" for change in SMALL), f"run_dir={run}")
    )
    found = json.loads(result.results.read_text())
    names = ["fcfs", "andes", "tuned_andes", "random"]
    assert [entry["scheduler"] for entry in found["live"]["live"]] == 2 * names
    assert all(entry["unfinished"] == 0 for entry in found["live"]["live"])
    assert len({entry["burst"] for entry in found["live"]["live"]}) == 2
    for entry in found["differences"]:
        assert entry["reference"] == "fcfs" and entry["workloads"] == 2
        assert entry["low"] <= entry["mean"] <= entry["high"] or not np.isfinite(entry["low"] or np.nan)
    assert found["device"]["device"] == "cpu" and found["calibration"]["decode"]["samples"] > 50
    assert np.isfinite(found["unseen"]["decode_mape"])
    assert all((run / name).stat().st_size > 1000 for name in found["figures"]) and len(found["figures"]) == 2
    assert "Every live request got exactly its number of tokens" in result.sentences[-1]
    assert "random against FCFS, burst by burst" in update_readme.results_text([run])
    said = update_readme.gpu_text(found)
    assert said == update_readme.gpu_text(update_readme.gpu_kept(found)) and "| random | live vLLM |" in said


def test_the_readme_says_what_the_committed_run_found() -> None:
    root = Path(update_readme.__file__).parents[1]
    found = json.loads((root / "docs" / "gpu_run.json").read_text(encoding="utf-8"))
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert update_readme.gpu_text(found) in readme and update_readme.gpu_headline(found) in readme.partition("## ")[0]
    assert (
        found["device"]["device"] == "cuda" and found["live"]["live"][0].keys() == found["live"]["simulated"][0].keys()
    )
