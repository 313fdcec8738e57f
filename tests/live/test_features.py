"""Unsupported configurations are refused with every reason at once; risky ones are named."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from andes_engine.vllm.adapter import VllmVersionError, check_version
from andes_engine.vllm.features import REFUSED, WARNED, check_features
from andes_engine.vllm.keep_kv import KeepKv
from andes_engine.vllm.local_model import ModelShape, build_local_model
from tests.live.stubs import INSTALLED


def config(**sections: Any) -> Any:
    return SimpleNamespace(**sections)


OURS = KeepKv(host_gib=1.0).transfer_config()
REFUSED_CONFIGS = [
    config(scheduler_config=SimpleNamespace(policy="priority")),
    config(model_config=SimpleNamespace(runner_type="pooling")),
    config(model_config=SimpleNamespace(is_diffusion=True)),
    config(model_config=SimpleNamespace(is_encoder_decoder=True)),
    config(kv_transfer_config=SimpleNamespace(kv_connector="NixlConnector")),
    config(kv_transfer_config=SimpleNamespace(**{**OURS, "kv_role": "kv_both"})),
    config(kv_transfer_config=SimpleNamespace(**OURS), parallel_config=SimpleNamespace(decode_context_parallel_size=2)),
    config(ec_transfer_config=object()),
    config(scheduler_config=SimpleNamespace(prefill_schedule_interval=4)),
]
WARNED_CONFIGS = [
    config(speculative_config=object()),
    config(parallel_config=SimpleNamespace(pipeline_parallel_size=2)),
    config(model_config=SimpleNamespace(is_multimodal_model=True)),
    config(model_config=SimpleNamespace(is_hybrid=True)),
    config(scheduler_config=SimpleNamespace(enable_chunked_prefill=False)),
]


def test_plain_configuration_is_supported() -> None:
    assert check_features(config()) == []


@pytest.mark.parametrize(("feature", "vllm_config"), zip(REFUSED, REFUSED_CONFIGS, strict=True))
def test_refused(feature: Any, vllm_config: Any) -> None:
    with pytest.raises(ValueError, match="cannot run") as caught:
        check_features(vllm_config)
    assert feature.reason in str(caught.value)


@pytest.mark.parametrize(("feature", "vllm_config"), zip(WARNED, WARNED_CONFIGS, strict=True))
def test_warned(feature: Any, vllm_config: Any) -> None:
    assert check_features(vllm_config) == [feature.reason]


def test_a_foreign_connector_is_named_and_ours_is_welcome() -> None:
    with pytest.raises(ValueError, match="the plan does not count: NixlConnector"):
        check_features(config(kv_transfer_config=SimpleNamespace(kv_connector="NixlConnector")))
    with pytest.raises(ValueError, match="does not count: KvKeeper"):  # somebody else's class of the same name
        check_features(config(kv_transfer_config=SimpleNamespace(**{**OURS, "kv_connector_module_path": "theirs"})))
    assert check_features(config(kv_transfer_config=SimpleNamespace(**OURS))) == []


def test_all_reasons_come_at_once() -> None:
    both = config(scheduler_config=SimpleNamespace(policy="priority", prefill_schedule_interval=2))
    with pytest.raises(ValueError, match=r"(?s)must be fcfs.*interval must be 1"):
        check_features(both)


@pytest.mark.parametrize("version", ["0.26.0", "0.32.0", "0.32.0+cpu", "0.33.1"])
def test_versions_in_range(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.25.1", "0.34.0", "1.0.0", "dev"])
def test_versions_out_of_range_are_named(version: str) -> None:
    with pytest.raises(VllmVersionError, match=rf"{version}.*0\.26 to 0\.33"):
        check_version(version)


@pytest.mark.live
@INSTALLED
@pytest.mark.parametrize(
    ("argument", "value", "reason"),
    [
        ("scheduling_policy", "priority", "--scheduling-policy must be fcfs"),
        ("prefill_schedule_interval", 4, "--prefill-schedule-interval must be 1"),
        (
            "kv_transfer_config",
            {"kv_connector": "ExampleConnector", "kv_role": "kv_both"},
            "KV connectors .* own blocks the plan does not count: ExampleConnector",
        ),
    ],
)
def test_vllms_own_configuration_is_understood(tmp_path: Path, argument: str, value: Any, reason: str) -> None:
    """What a user types ends in the attributes that are looked at, in the vLLM that is installed."""
    from vllm.config import KVTransferConfig
    from vllm.engine.arg_utils import EngineArgs

    model = build_local_model(tmp_path, ModelShape(hidden=64, layers=1, heads=1))
    given = {argument: KVTransferConfig(**value) if argument == "kv_transfer_config" else value}
    plain = {"model": str(model), "skip_tokenizer_init": True, "load_format": "dummy", "dtype": "float32"}
    assert check_features(EngineArgs(**plain).create_engine_config()) == []
    with pytest.raises(ValueError, match=f"AndesScheduler cannot run with this vLLM configuration:\n  - {reason}"):
        check_features(EngineArgs(**plain, **given).create_engine_config())
