"""One booted engine and one server for all live tests: booting costs more than most of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from andes_engine.vllm.episode import EpisodeRecord, LiveConfig
from andes_engine.vllm.live_engine import LiveEngine
from andes_engine.vllm.local_model import build_local_model, write_weights
from tests.live.running_server import RunningServer, running_server
from tests.live.stubs import overload

LIVE_CONFIG = LiveConfig(kv_blocks=24, max_model_len=640)
LIVE_REQUESTS = overload(24, rate=200.0, mean_tokens=40)


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With weights that make a wrong KV cache change the tokens, unlike vLLM's dummy ones."""
    folder = tmp_path_factory.mktemp("models")
    write_weights(build_local_model(folder, LIVE_CONFIG.model_shape))
    return folder


@pytest.fixture(scope="session")
def live_engine(model_dir: Path) -> Iterator[LiveEngine]:
    engine = LiveEngine(LIVE_CONFIG, "andes", model_dir)
    yield engine
    engine.shutdown()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A real server; every test that needs one shares it."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def stock_record(model_dir: Path) -> EpisodeRecord:
    """What vLLM's own scheduler class produces."""
    engine = LiveEngine(LIVE_CONFIG, "stock", model_dir)
    record = engine.replay(LIVE_REQUESTS)
    engine.shutdown()
    return record
