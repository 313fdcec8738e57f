"""KV memory of the reference engine, on the device and in host memory; vLLM 0.32.0, `v1/core/kv_cache_manager.py`."""

from __future__ import annotations

from andes_engine.decision_buffers import host_pays
from andes_engine.engine import EngineConfig, EngineView
from andes_engine.request import Requests
from andes_engine.sim.reference_pool import Block, Content, ReferencePool
from andes_engine.workload import Workload


class ReferenceKv:
    """Who holds which blocks.

    Args:
        config: The engine.
        workload: Its requests.
        table: Rows that decisions read; `held_blocks`, `host_tokens` and `cached_tokens` are kept up to date.
    """

    def __init__(self, config: EngineConfig, workload: Workload, table: Requests) -> None:
        self.config, self._workload, self._table = config, workload, table
        self.pool = ReferencePool(config.kv_blocks)
        self.blocks: dict[int, list[Block]] = {}
        self.host_free, self.copied_blocks = config.host_kv_blocks, 0

    def view(self, now_s: float) -> EngineView:
        """What a decision sees of the engine."""
        return self.config.view(now_s, len(self.pool.free), self.host_free)

    def context(self, row: int) -> int:
        """Length of the sequence, tokens."""
        return int(self._table.prompt_tokens[row]) + int(self._table.emitted_tokens[row])

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self.config.block_size_tokens)

    def start(self, row: int, now_s: float, budget: int, watermark_blocks: int) -> int:
        """Give a waiting request its first blocks, if its whole sequence fits beside the watermark.

        Returns:
            Tokens it may compute in this iteration; 0 if it does not fit (`scheduler_reserve_full_isl`).
        """
        table = self._table
        hits = self.cached(row)
        whole = self.blocks_for(self.context(row)) - len(hits) + sum(block.users == 0 for block in hits)
        if whole + watermark_blocks > len(self.pool.free):
            return 0
        computed = len(hits) * self.config.block_size_tokens
        table.cached_tokens[row] = computed
        if host_pays(table, row, self.view(now_s), self.config.step_time.vector):
            computed = int(table.host_tokens[row])
            self.copied_blocks += self.blocks_for(computed) - len(hits)
        self.leave_host(row)
        table.cached_tokens[row] = 0
        self.pool.use_again(hits)
        self.blocks[row] = hits
        table.held_blocks[row], table.computed_tokens[row] = len(hits), computed
        tokens = min(self.context(row) - computed, budget)
        self.grow(row, tokens)
        return tokens

    def lacking(self, row: int, tokens: int) -> int:
        """Blocks a running request lacks for `tokens` more."""
        return max(self.blocks_for(int(self._table.computed_tokens[row]) + tokens) - len(self.blocks[row]), 0)

    def grow(self, row: int, tokens: int) -> None:
        """Take the blocks for `tokens` more; with prefix caching all full blocks can be found from now on (`cache_blocks`)."""
        held = self.blocks[row]
        held += self.pool.take(self.lacking(row, tokens))
        self._table.held_blocks[row] = len(held)
        if self.config.prefix_caching:
            full = (int(self._table.computed_tokens[row]) + tokens) // self.config.block_size_tokens
            for index in range(full):
                if held[index].content is None:
                    self.pool.make_findable(held[index], self._content(row, index))

    def release(self, row: int) -> None:
        """Give back all blocks of the device."""
        self.pool.give(self.blocks.pop(row, []))
        self._table.held_blocks[row] = 0

    def keep_on_host(self, row: int) -> None:
        """Copy the full blocks of a request about to be preempted to host memory, if there is room for all of them."""
        full = int(self._table.computed_tokens[row]) // self.config.block_size_tokens
        if 0 < full <= self.host_free:
            self._table.host_tokens[row] = full * self.config.block_size_tokens
            self.host_free -= full
            self.copied_blocks += full

    def leave_host(self, row: int) -> None:
        """Give back the room in host memory."""
        self.host_free += int(self._table.host_tokens[row]) // self.config.block_size_tokens
        self._table.host_tokens[row] = 0

    def cached(self, row: int) -> list[Block]:
        """First blocks of a waiting request that can be found, at least one token left to compute (`get_computed_blocks`)."""
        hits: list[Block] = []
        most = (self.context(row) - 1) // self.config.block_size_tokens if self.config.prefix_caching else 0
        for index in range(most):
            block = self.pool.find(self._content(row, index))
            if block is None:
                break
            hits.append(block)
        return hits

    def _content(self, row: int, index: int) -> Content:
        """What block `index` of a request holds; hashes count if what they stand for is whole blocks."""
        hashes, size = self._workload.block_hashes, self.config.block_size_tokens
        if hashes is not None and hashes.block_tokens % size == 0:
            ids = hashes.of(row)
            place, within = divmod(index * size, hashes.block_tokens)
            if (index + 1) * size <= self._table.prompt_tokens[row] and place < len(ids):
                return ("prompt", int(ids[place]), within)
        return ("own", row, index)
