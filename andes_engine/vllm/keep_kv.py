"""How the KV cache of preempted requests is kept in host memory: the settings of our KV connector, `kv_keeper.KvKeeper`.

vLLM carries them in `--kv-transfer-config`, which scheduler and workers both see. Nothing of vLLM is imported here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from andes_engine.errors import AndesError, CapacityError, check_known
from andes_engine.expectations import is_number

CONNECTOR = "KvKeeper"
MODULE = "andes_engine.vllm.kv_keeper"
ROLE = "kv_producer"
"""For a consumer vLLM would hold back the blocks of a running request until no step is under way (`defer_block_free`,
`v1/core/sched/scheduler.py`, 0.32.0), because loads of other connectors are not ordered against the steps; ours are."""

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class KeepKv:
    """Room for the KV caches of preempted requests, in one of two units; it is taken at the start, over all workers together.

    Args:
        host_gib: Host memory, GiB.
        host_blocks: KV blocks.

    Raises:
        AndesError: If not exactly one is given, or it is not positive.
    """

    host_gib: float | None = None
    host_blocks: int | None = None

    def __post_init__(self) -> None:
        if (self.host_gib is None) == (self.host_blocks is None):
            raise AndesError("keeping KV needs host_gib or host_blocks, one of the two")
        if self.host_gib is not None and not (is_number(self.host_gib, 0.0) and self.host_gib > 0):
            raise AndesError(f"host_gib = {self.host_gib!r} must be a number of GiB above 0")
        if self.host_blocks is not None and not (is_number(self.host_blocks, 1) and self.host_blocks % 1 == 0):
            raise AndesError(f"host_blocks = {self.host_blocks!r} must be a whole number of blocks, at least 1")

    @classmethod
    def from_extra(cls, extra: Mapping[str, Any]) -> KeepKv:
        """From `kv_connector_extra_config`; AndesError for an unknown key."""
        check_known("key of kv_connector_extra_config", extra, {entry.name for entry in fields(cls)})
        return cls(**extra)

    def blocks(self, bytes_per_block: int) -> int:
        """KV blocks that fit.

        Args:
            bytes_per_block: Size of one block in all layers and workers.

        Raises:
            CapacityError: If there is no room for a single one.
        """
        if self.host_gib is None:
            return int(self.host_blocks or 0)
        blocks = int(self.host_gib * _GIB) // bytes_per_block
        if blocks < 1:
            raise CapacityError(
                f"host_gib = {self.host_gib} holds no KV block of {bytes_per_block} bytes; give at least "
                f"{bytes_per_block / _GIB:.2g}"
            )
        return blocks

    def transfer_config(self) -> dict[str, Any]:
        """What `--kv-transfer-config` has to say."""
        room = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {
            "kv_connector": CONNECTOR,
            "kv_connector_module_path": MODULE,
            "kv_role": ROLE,
            "kv_connector_extra_config": {name: value for name, value in room.items() if value is not None},
        }


def keeps_kv(kv_transfer_config: Any) -> bool:
    """Whether a vLLM `KVTransferConfig` names our connector."""
    named = (getattr(kv_transfer_config, name, None) for name in ("kv_connector", "kv_connector_module_path"))
    return tuple(named) == (CONNECTOR, MODULE)
