"""What every test can use: a small engine, an overload, recorded traffic where it is."""

from __future__ import annotations

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


@pytest.fixture
def real_trace() -> Path:
    path = TRACES / "azure_conv_2023.csv"
    if not path.is_file():
        pytest.skip("the recorded Azure conversation trace is not here (../shared/traces)")
    return path
