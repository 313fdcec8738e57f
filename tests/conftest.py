"""What every test can use: a small engine, an overload, recorded traffic where it is."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings

from agents.cli import EXIT_BAD_INPUT
from andes_engine.engine import EngineConfig
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tests")

Refusal = Callable[..., str]

TRACES = Path(__file__).parents[2] / "shared" / "traces"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long tests first, so that no worker still has one when the others are done."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def engine() -> EngineConfig:
    return make_engine()


@pytest.fixture
def overload() -> Workload:
    """Far more than `engine` can serve, for half a minute."""
    return make_workload(seed=3, requests=600, rate=20.0, mean_prompt=700)


def _recorded(name: str) -> Path:
    path = TRACES / name
    if not path.is_file():
        pytest.skip(f"the recorded trace {name} is not here (../shared/traces)")
    return path


@pytest.fixture
def real_trace() -> Path:
    return _recorded("azure_conv_2023.csv")


@pytest.fixture
def mooncake_trace() -> Path:
    return _recorded("mooncake_synthetic.jsonl")


@pytest.fixture
def sharegpt_lengths() -> Path:
    return _recorded("sharegpt_lengths.csv")


@pytest.fixture
def refusal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """The one line that a script refuses a command line with; in this process, as another would mostly import."""

    def run(script: str, *overrides: object) -> str:
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        monkeypatch.setattr(sys, "argv", [script, *map(str, overrides)])
        try:
            with pytest.raises(SystemExit) as ended:
                runpy.run_module(f"scripts.{script}", run_name="__main__")
        finally:
            GlobalHydra.instance().clear()
        said = capsys.readouterr().err
        assert ended.value.code == EXIT_BAD_INPUT and re.fullmatch(r"error: [^\n]+\n", said), said
        return said

    return run


@pytest.fixture
def chromium() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found and os.environ.get("CI"):
        pytest.fail("CI must run the page tests: .ci/run installs Debian's chromium")
    if not found:
        pytest.skip("no chromium or chrome on PATH; apt-get install chromium to run this test")
    return found
