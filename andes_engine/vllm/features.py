"""Which vLLM configurations the planning scheduler supports, warns about, or refuses with the reason.

Attribute names from `vllm/config/` 0.32.0; every one is read with a default, because the range 0.26 to 0.33 moved some of them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from andes_engine.vllm.keep_kv import ROLE, keeps_kv


class Feature(NamedTuple):
    """One configuration to look for and what to tell the user about it; `present` may answer with the name of what it found."""

    reason: str
    present: Callable[[Any], bool | str]

    def told(self, config: Any) -> str:
        """The reason, with the name of what was found; empty if there is nothing."""
        found = self.present(config)
        return f"{self.reason}: {found}" if isinstance(found, str) and found else self.reason if found else ""


class FeatureReport(NamedTuple):
    """Outcome of the check: reasons to refuse, reasons to warn."""

    refused: list[str]
    warned: list[str]


_SPLIT_BLOCKS = ("pipeline", "decode_context", "prefill_context")


def _read(config: Any, path: str, default: Any = None) -> Any:
    for name in path.split("."):
        config = getattr(config, name, default)
        if config is None:
            return default
    return config


def _foreign_connector(config: Any) -> str:
    transfer = _read(config, "kv_transfer_config")
    return "" if transfer is None or keeps_kv(transfer) else str(_read(transfer, "kv_connector", "unnamed"))


def _keeps_kv_and(config: Any, present: bool) -> bool:
    return present and keeps_kv(_read(config, "kv_transfer_config"))


REFUSED = (
    Feature(
        "--scheduling-policy must be fcfs: with `priority` vLLM chooses its own victims and order",
        lambda c: _read(c, "scheduler_config.policy", "fcfs") != "fcfs",
    ),
    Feature(
        "pooling models are not streamed token by token, so quality of experience is not defined for them",
        lambda c: _read(c, "model_config.runner_type") == "pooling",
    ),
    Feature(
        "diffusion models rewrite tokens that were already shown",
        lambda c: _read(c, "model_config.is_diffusion", False),
    ),
    Feature(
        "encoder-decoder models hold a cross-attention cache the plan does not count",
        lambda c: _read(c, "model_config.is_encoder_decoder", False),
    ),
    Feature(
        "KV connectors (prefill/decode disaggregation, offloading) own blocks the plan does not count",
        _foreign_connector,
    ),
    Feature(
        f"keeping KV needs kv_role '{ROLE}': for a consumer vLLM holds back the blocks of preempted requests",
        lambda c: _keeps_kv_and(c, _read(c, "kv_transfer_config.kv_role", ROLE) != ROLE),
    ),
    Feature(
        "keeping KV with pipeline or context parallelism: workers hold different layers or tokens of a block",
        lambda c: _keeps_kv_and(
            c,
            max(_read(c, f"parallel_config.{kind}_parallel_size", 1) for kind in _SPLIT_BLOCKS) > 1,
        ),
    ),
    Feature(
        "encoder-cache connectors own memory the plan does not count",
        lambda c: _read(c, "ec_transfer_config") is not None,
    ),
    Feature(
        "--prefill-schedule-interval must be 1: deferred prefills contradict a plan made for this step",
        lambda c: _read(c, "scheduler_config.prefill_schedule_interval", 1) > 1,
    ),
)

WARNED = (
    Feature(
        "speculative decoding: tokens arrive in bursts, step times are mispredicted",
        lambda c: _read(c, "speculative_config") is not None,
    ),
    Feature(
        "pipeline parallel: a preempted request rests until its output has left the pipeline",
        lambda c: _read(c, "parallel_config.pipeline_parallel_size", 1) > 1,
    ),
    Feature(
        "multimodal model: the encoder cache is not part of the plan",
        lambda c: _read(c, "model_config.is_multimodal_model", False),
    ),
    Feature(
        "hybrid model: blocks of different layer kinds are counted as one, the token budget is left alone",
        lambda c: _read(c, "model_config.is_hybrid", False),
    ),
    Feature(
        "chunked prefill is off: the plan's token budget is ignored",
        lambda c: not _read(c, "scheduler_config.enable_chunked_prefill", True),
    ),
)


def inspect_features(vllm_config: Any) -> FeatureReport:
    """Compare a vLLM configuration with the two lists above."""
    return FeatureReport(
        refused=[told for feature in REFUSED if (told := feature.told(vllm_config))],
        warned=[told for feature in WARNED if (told := feature.told(vllm_config))],
    )


def check_features(vllm_config: Any) -> list[str]:
    """Refuse unsupported configurations before the engine starts.

    Returns:
        The warnings, for the caller to log.

    Raises:
        ValueError: With every reason at once, one per line.
    """
    report = inspect_features(vllm_config)
    if report.refused:
        reasons = "".join(f"\n  - {reason}" for reason in report.refused)
        raise ValueError(f"AndesScheduler cannot run with this vLLM configuration:{reasons}")
    return report.warned
