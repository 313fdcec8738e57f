"""What every test can use: a small engine, an overload, recorded traffic where it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from andes_engine.engine import EngineConfig
from andes_engine.workload import Workload
from tests.builders import make_engine, make_workload

settings.register_profile("tests", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("tests")

TRACES = Path(__file__).parents[2] / "shared" / "traces"


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
def chromium() -> str:
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
    )
    if not found and os.environ.get("CI"):
        pytest.fail("CI must run the page tests: .ci/run installs Debian's chromium")
    if not found:
        pytest.skip("no chromium or chrome on PATH; apt-get install chromium to run this test")
    return found
