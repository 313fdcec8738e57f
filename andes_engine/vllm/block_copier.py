"""Copies whole KV blocks between a worker's KV cache and host memory."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from andes_engine.errors import CapacityError
from andes_engine.vllm import adapter

Pairs = Iterable[tuple[int, int]]
Places = NDArray[np.int64]

_MEASURED_BLOCKS = 16
_MEASUREMENTS = 9


class _Stretches(NamedTuple):
    """What of a block is one stretch of memory, in all layers: where it is in block 0, bytes from block to block, its bytes."""

    engine: Places
    engine_step: Places
    host: Places
    host_step: Places
    size: Places


class BlockCopier:
    """The host memory of one worker. Copies are ordered with the steps: on a GPU they run in the stream the model runs in.

    A preempted request has dozens of blocks in each of dozens of layers, so on a GPU all of them are one call to the driver.

    Args:
        kv_caches: KV cache of each layer by name, as vLLM registers them; layers that share one are copied once.
        engine_blocks: Blocks of the KV cache.
        host_blocks: Blocks of host memory, taken (and on a GPU machine pinned) at once.

    Raises:
        CapacityError: If a KV cache is not laid out by blocks.
    """

    def __init__(self, kv_caches: Mapping[str, torch.Tensor], engine_blocks: int, host_blocks: int) -> None:
        unique = {cache.data_ptr(): (name, cache) for name, cache in kv_caches.items()}
        self._layers = [_by_block(name, cache, engine_blocks) for name, cache in unique.values()]
        self._host = [_host_like(layer, host_blocks) for layer in self._layers]
        self._stretches = _stretches(self._layers, self._host)
        self._copy = _copy_on_cpu if self._layers[0].device.type == "cpu" else adapter.copy_stretches

    @property
    def bytes_per_block(self) -> int:
        """Size of a block in all layers of this worker."""
        return sum(host[0].nbytes for host in self._host)

    def out(self, pairs: Pairs) -> None:
        """Copy to host memory: pairs of engine block and host block."""
        engine, host, size = self._places(pairs)
        self._copy(engine, host, size)

    def back(self, pairs: Pairs) -> None:
        """Copy from host memory: pairs of engine block and host block."""
        engine, host, size = self._places(pairs)
        self._copy(host, engine, size)

    def _places(self, pairs: Pairs) -> tuple[Places, Places, Places]:
        """Addresses in the KV cache and in host memory, and the bytes there. Shape each (pairs * stretches,)."""
        blocks = np.array([*pairs], dtype=np.int64).reshape(-1, 2, 1)
        of = self._stretches
        engine = of.engine + blocks[:, 0] * of.engine_step
        host = of.host + blocks[:, 1] * of.host_step
        return engine.ravel(), host.ravel(), np.tile(of.size, len(blocks))

    def measure_s(self) -> float:
        """Time to copy one block one way, s: the median of some copies out and back, which leave the KV cache as it was.

        Only for a worker that runs nothing yet, because it overwrites host memory.
        """
        blocks = min(_MEASURED_BLOCKS, len(self._layers[0]), len(self._host[0]))
        pairs = [(block, block) for block in range(blocks)]
        times_s = []
        for _ in range(_MEASUREMENTS):
            self._wait()
            started_s = time.perf_counter()
            self.out(pairs)
            self.back(pairs)
            self._wait()
            times_s.append((time.perf_counter() - started_s) / (2 * blocks))
        return statistics.median(times_s)

    def _wait(self) -> None:
        if self._layers[0].device.type != "cpu":
            torch.accelerator.synchronize()


def _by_block(name: str, cache: Any, blocks: int) -> torch.Tensor:
    """The KV cache with blocks as its first axis: so since vLLM 0.32, second behind keys and values in some backends before."""
    for axis in (0, 1):
        if isinstance(cache, torch.Tensor) and cache.ndim > axis + 1 and cache.shape[axis] == blocks:
            return cache.movedim(axis, 0)
    shape = tuple(cache.shape) if isinstance(cache, torch.Tensor) else type(cache).__name__
    raise CapacityError(
        f"the KV cache of {name} ({shape}) is not laid out in its {blocks} blocks, so it cannot be kept in host memory; "
        "serve without keeping KV"
    )


def _host_like(layer: torch.Tensor, blocks: int) -> torch.Tensor:
    """Host memory whose blocks lie in memory as the layer's do, so that a copy is one stretch of bytes."""
    order = sorted(range(1, layer.ndim), key=layer.stride, reverse=True)
    shape = (blocks, *(layer.shape[axis] for axis in order))
    host = torch.empty(shape, dtype=layer.dtype, device="cpu", pin_memory=layer.device.type == "cuda")
    host.view(torch.uint8).fill_(0)  # touches every page now, not while somebody waits
    return host.permute(0, *(1 + order.index(axis) for axis in range(1, layer.ndim)))


def _stretches(layers: Sequence[torch.Tensor], hosts: Sequence[torch.Tensor]) -> _Stretches:
    rows = []
    for layer, host in zip(layers, hosts, strict=True):
        item, run = layer.element_size(), 1
        axes = [axis for axis in range(1, layer.ndim) if layer.shape[axis] > 1]
        axes.sort(key=layer.stride, reverse=True)
        while axes and layer.stride(axes[-1]) == run:
            run *= layer.shape[axes.pop()]
        offsets = np.zeros(1, dtype=np.int64)
        for axis in axes:
            offsets = np.add.outer(offsets, np.arange(layer.shape[axis]) * layer.stride(axis)).ravel()
        for place, offset in enumerate(offsets.tolist()):
            engine, to = layer.data_ptr() + offset * item, host.data_ptr() + place * run * item
            rows.append((engine, layer.stride(0) * item, to, host.stride(0) * item, run * item))
    return _Stretches(*np.array(rows, dtype=np.int64).T)


def _copy_on_cpu(source: Places, target: Places, size: Places) -> None:
    for copied in zip(target.tolist(), source.tolist(), size.tolist(), strict=True):
        ctypes.memmove(*copied)
