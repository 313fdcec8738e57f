"""The command line that serves a model under a scheduler or a policy."""

from __future__ import annotations

import json
import sys

from agents.config import ServeConfig
from agents.export import policy_folder
from andes_engine.errors import AndesError
from andes_engine.planner_config import PlannerConfig
from andes_engine.policy.bundle import load_bundle
from andes_engine.policy.location import bundle_folder
from andes_engine.service.config import ServiceConfig
from andes_engine.step_time import preset
from andes_engine.vllm.keep_kv import KeepKv

SCHEDULER_CLASS = "andes_engine.vllm.AndesScheduler"


def serve_command(config: ServeConfig) -> list[str]:
    """`vllm serve` through this project's launcher, checked before a server takes minutes to say no.

    Raises:
        AndesError: If scheduler, knobs, length source, step-time preset, bundle or a further key cannot work.
    """
    contender = config.scheduler.contender
    contender.check_deployable()
    preset(config.step_time)
    andes: dict[str, object] = {
        "scheduler": contender.scheduler,
        "knobs": dict(contender.knobs),
        "step_time": config.step_time,
    }
    if contender.lengths != "none":
        andes["lengths"] = contender.lengths
    if config.policy:
        place = policy_folder(config.policy)
        andes["policy"] = str(place.resolve())
        if (folder := bundle_folder(place)) is not None:
            andes["knobs"] = dict(load_bundle(folder).action.reference)
    for key, value in config.andes.items():
        if key in andes or key in ("lengths", "policy"):
            raise AndesError(f"andes.{key} = {value!r}: set {key} itself instead, or the scheduler that has it")
        andes[key] = value
    keep_kv = _keep_kv_flags(config)
    PlannerConfig.from_mapping(andes)
    ServiceConfig.from_section(andes)
    return [
        *(sys.executable, "-m", "andes_engine.vllm.launcher", "serve", config.model),
        *("--host", config.host, "--port", str(config.port)),
        *("--scheduler-cls", SCHEDULER_CLASS),
        *("--additional-config", json.dumps({"andes": andes})),
        *keep_kv,
        *config.extra,
    ]


def _keep_kv_flags(config: ServeConfig) -> list[str]:
    if config.keep_kv_gib is None:
        return []
    flag = "--kv-transfer-config"
    if any(argument.partition("=")[0] == flag for argument in config.extra):
        raise AndesError(
            f"keep_kv_gib = {config.keep_kv_gib} sets {flag}, and extra sets it as well; leave one of them out"
        )
    return [flag, json.dumps(KeepKv(host_gib=config.keep_kv_gib).transfer_config())]
