"""Our KV connector: preempted requests leave their KV cache in host memory and get it back when they resume.

One object in the scheduler says which blocks go where, one in each worker copies. Loads are part of the step that resumes a
request, so none ever waits in `WAITING_FOR_REMOTE_KVS`. Only `scheduler.PlanningMixin` hands blocks over, since vLLM frees them
before it tells a connector; under another scheduler nothing is kept. Checked against
`vllm/distributed/kv_transfer/kv_connector/v1/base.py` and both model runners of 0.32.0.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1,
    KVConnectorMetadata,
    KVConnectorRole,
    KVConnectorWorkerMetadata,
)
from vllm.v1.kv_cache_interface import FullAttentionSpec

from andes_engine.errors import AndesError
from andes_engine.vllm.block_copier import BlockCopier
from andes_engine.vllm.contract import HostRoom
from andes_engine.vllm.host_memory import Copies, HostMemory
from andes_engine.vllm.keep_kv import KeepKv

logger = logging.getLogger(__name__)


@dataclass
class StepCopies(KVConnectorMetadata):
    """From the scheduler to the workers: what to copy before the step."""

    copies: Copies


@dataclass
class CopyTime(KVConnectorWorkerMetadata):
    """From a worker to the scheduler, once: how long copying a block takes there, s."""

    seconds: float

    def aggregate(self, other: KVConnectorWorkerMetadata) -> KVConnectorWorkerMetadata:
        """The step waits for the slowest worker."""
        return CopyTime(max(self.seconds, other.seconds))


class KvKeeper(KVConnectorBase_V1):
    """Keeps the full KV blocks of preempted requests in host memory, as much as `KeepKv` allows.

    Raises:
        AndesError: If the settings or the model's kind of KV cache cannot work.
    """

    def __init__(self, vllm_config: Any, role: Any, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        settings = KeepKv.from_extra(vllm_config.kv_transfer_config.kv_connector_extra_config)
        group = _only_group(kv_cache_config)
        bytes_per_block = group.kv_cache_spec.page_size_bytes * len(group.layer_names)
        blocks = settings.blocks(bytes_per_block * vllm_config.parallel_config.world_size)
        self.memory = HostMemory(blocks, group.kv_cache_spec.block_size)
        """What is kept where; only the scheduler's is used."""
        self._copier: BlockCopier | None = None
        self._copy_s_per_block = 0.0
        self._untold: CopyTime | None = None
        if role == KVConnectorRole.SCHEDULER:
            logger.info("andes: %d KV blocks of host memory for preempted requests", blocks)

    @property
    def requires_kv_delivery(self) -> bool:
        """Nobody else waits for what is kept: tokens under way at a preemption are delivered."""
        return False

    @property
    def room(self) -> HostRoom:
        """What a planner is shown; copying costs 0 until the first step has come back from the workers."""
        return HostRoom(self.memory.free_blocks, self._copy_s_per_block)

    # In the workers.

    def register_kv_caches(self, kv_caches: dict[str, torch.Tensor]) -> None:
        """Take the host memory, and measure."""
        self._copier = BlockCopier(kv_caches, self._kv_cache_config.num_blocks, self.memory.blocks)
        self._copy_s_per_block = self._copier.measure_s()
        self._untold = CopyTime(self._copy_s_per_block)

    def handle_preemptions(self, kv_connector_metadata: StepCopies) -> None:
        """Copy out, before the step may overwrite anything."""
        if self._copier is not None:
            self._copier.out(kv_connector_metadata.copies.out)

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        """Copy back, before the step's forward pass."""
        if self._copier is not None:
            self._copier.back(self._get_connector_metadata().copies.back)

    def wait_for_layer_load(self, layer_name: str) -> None:
        """Nothing to wait for: see `start_load_kv`."""

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Nothing to save before a preemption."""

    def wait_for_save(self) -> None:
        """Nothing to wait for: see `handle_preemptions`."""

    def build_connector_worker_meta(self) -> CopyTime | None:
        """Tell the scheduler what copying costs, once."""
        untold, self._untold = self._untold, None
        return untold

    # In the scheduler.

    def keep(self, request_id: str, engine_blocks: Sequence[int]) -> bool:
        """Keep a request that is about to lose these blocks; whether there is room."""
        return self.memory.keep(request_id, engine_blocks)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> tuple[int, bool]:
        """Tokens beyond the prefix cache that are kept; loaded within the step."""
        return max(self.memory.tokens(request.request_id) - num_computed_tokens, 0), False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        """A request has its blocks: copy back what the prefix cache lacks, give up its room."""
        self.memory.take_back(request.request_id, blocks.get_block_ids()[0], num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> StepCopies:
        """The copies of this step."""
        return StepCopies(self.memory.take_copies())

    def update_connector_output(self, connector_output: Any) -> None:
        """Learn what copying costs."""
        if isinstance(told := connector_output.kv_connector_worker_meta, CopyTime):
            self._copy_s_per_block = told.seconds

    def request_finished(self, request: Any, block_ids: list[int]) -> tuple[bool, dict[str, Any] | None]:
        """A request has left, whether it ran or waited: its room is free, its blocks may go."""
        self.memory.forget(request.request_id)
        return False, None

    def reset_cache(self) -> bool:
        """Forget everything, for example because the weights have changed."""
        self.memory.clear()
        return True


def _only_group(kv_cache_config: Any) -> Any:
    """The one group of layers whose blocks hold nothing but what was computed for their tokens."""
    groups = kv_cache_config.kv_cache_groups
    if "kv_connector_metadata" not in inspect.signature(KVConnectorBase_V1.handle_preemptions).parameters:
        raise AndesError("this vLLM tells connectors of preemptions in another way; keeping KV needs vLLM 0.32")
    if len(groups) != 1 or not isinstance(groups[0].kv_cache_spec, FullAttentionSpec):
        kinds = ", ".join(type(group.kv_cache_spec).__name__ for group in groups) or "none"
        raise AndesError(f"only models with full attention in all layers can keep KV, this one has: {kinds}")
    finer = getattr(kv_cache_config, "hash_block_size", None)
    if finer not in (None, groups[0].kv_cache_spec.block_size):
        raise AndesError(
            f"keeping KV needs prefix hashes of whole blocks ({groups[0].kv_cache_spec.block_size} tokens), not of {finer}"
        )
    return groups[0]
