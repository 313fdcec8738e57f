"""The command line that serves a model under a scheduler or a policy."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from agents.config import ServeConfig
from agents.export import policy_folder
from andes_engine.contender import Contender
from andes_engine.errors import AndesError
from andes_engine.planner_config import PlannerConfig
from andes_engine.policy.bundle import load_bundle
from andes_engine.policy.location import bundle_folder
from andes_engine.service.config import ServiceConfig
from andes_engine.step_time import preset
from andes_engine.vllm.emulation import EXECUTOR, Emulation
from andes_engine.vllm.keep_kv import KeepKv
from andes_engine.vllm.local_model import ModelShape, build_local_model, models_folder

SCHEDULER_CLASS = "andes_engine.vllm.AndesScheduler"
KEEP_KV_FLAG = "--kv-transfer-config"
STEP_TIME = "a100_llama3_8b"
MADE_UP, MADE_UP_MODEL_TOKENS = "made-up", 8192


def serve_command(config: ServeConfig) -> list[str]:
    """`vllm serve` through this project's launcher, checked before a server takes minutes to say no.

    Raises:
        AndesError: If scheduler, knobs, length source, step-time preset, bundle or a further key cannot work.
    """
    emulation = None if config.emulate is None else Emulation.from_section({"emulate": config.emulate})
    if config.model is None and emulation is None:
        raise AndesError(
            "no value for model; give model=..., or emulate=PRESET for a device and a model that are made up"
        )
    contender = _served(config)
    contender.check_deployable()
    step_time = config.step_time or (STEP_TIME if emulation is None else emulation.engine)
    preset(step_time)
    policy = str(policy_folder(config.policy).resolve()) if config.policy else None
    andes = planner_section(contender, step_time, policy)
    for key, value in config.andes.items():
        if key in andes or key in ("lengths", "policy", "emulate"):
            raise AndesError(f"andes.{key} = {value!r}: set {key} itself instead, or the scheduler that has it")
        andes[key] = value
    if config.keep_kv_gib is not None and any(argument.partition("=")[0] == KEEP_KV_FLAG for argument in config.extra):
        raise AndesError(
            f"keep_kv_gib = {config.keep_kv_gib} sets {KEEP_KV_FLAG}, and extra sets it as well; leave one of them out"
        )
    keep_kv = keep_kv_flags(config.keep_kv_gib, contender)
    PlannerConfig.from_mapping(andes)
    ServiceConfig.from_section(andes)
    return [
        *launcher_command(config.model, config.host, config.port),
        *("--scheduler-cls", SCHEDULER_CLASS),
        *device_arguments(andes, emulation),
        *keep_kv,
        *config.extra,
    ]


def planner_section(contender: Contender, step_time: str, policy: str | None) -> dict[str, object]:
    """The section `andes` that serves a contender: on a device of this speed, with the policy that is watched, if any."""
    section: dict[str, object] = {
        "scheduler": contender.scheduler,
        "knobs": dict(contender.given_knobs),
        "step_time": step_time,
    }
    if contender.lengths != "none":
        section["lengths"] = contender.lengths
    return section if policy is None else {**section, "policy": policy}


def _served(config: ServeConfig) -> Contender:
    """The policy that is there at the start, with what it was trained with; without one the scheduler."""
    if config.policy and (folder := bundle_folder(policy_folder(config.policy))) is not None:
        bundle = load_bundle(folder)
        return Contender(bundle.name, bundle=bundle)
    return config.scheduler.contender


def keep_kv_flags(host_gib: float | None, contender: Contender) -> list[str]:
    """What makes the server keep the KV caches of preempted requests in host memory; without any, a note if it should."""
    if host_gib is not None:
        return [KEEP_KV_FLAG, json.dumps(KeepKv(host_gib=host_gib).transfer_config())]
    if contender.keep_kv > 0.0:
        print(
            f"note: '{contender.name}' is meant to keep the KV caches of preempted requests in host memory, "
            f"{contender.keep_kv:g} times as much as the device has; here they are recomputed. Give keep_kv_gib=...",
            file=sys.stderr,
        )
    return []


def launcher_command(model: str | None, host: str, port: int) -> list[str]:
    """`vllm serve` of a model, or of a made-up one, at an address."""
    served = [model] if model is not None else [str(made_up_model()), "--served-model-name", MADE_UP]
    return [
        *(sys.executable, "-m", "andes_engine.vllm.launcher", "serve", *served),
        *("--host", host, "--port", str(port)),
    ]


def made_up_model() -> Path:
    """A configuration and a tokenizer without weights, enough for an emulated device; written once."""
    shape = ModelShape(hidden=64, layers=1, heads=1, max_position_tokens=MADE_UP_MODEL_TOKENS)
    return build_local_model(models_folder(), shape)


def device_arguments(andes: Mapping[str, object], emulation: Emulation | None) -> list[str]:
    """The section `andes`, and what makes the device an emulated one with the limits that vLLM has on a GPU."""
    if emulation is None:
        return ["--additional-config", json.dumps({"andes": andes})]
    return [
        *("--additional-config", json.dumps({"andes": {**andes, "emulate": asdict(emulation)}})),
        *("--distributed-executor-backend", EXECUTOR, "--block-size", "16", "--enforce-eager"),
        *("--max-num-seqs", "1024", "--max-num-batched-tokens", "2048"),
    ]
