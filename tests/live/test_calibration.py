"""The grid of a calibration, and one on the live CPU engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.calibrate import CalibrateConfig, calibrate
from agents.schema import ConfigError
from andes_engine.engine import EngineConfig
from andes_engine.step_time import preset
from andes_engine.vllm.calibration import calibration_cells, cell_requests, waves
from andes_engine.vllm.episode import LiveConfig, check_requests
from tests.live.stubs import INSTALLED

ROUGH = preset("cpu_tiny_llama")
SMALL = LiveConfig(kv_blocks=40, max_num_seqs=16, max_model_len=640, max_batched_tokens=128)


@pytest.mark.parametrize("config", [LiveConfig(), SMALL])
def test_every_cell_fits_and_has_prompts_that_join(config: LiveConfig) -> None:
    cells = calibration_cells(config)
    assert {cell.batch for cell in cells} >= {1, 2, 4, 8}
    assert len({cell.context for cell in cells}) > 1
    for cell in cells:
        requests = check_requests(cell_requests(cell, config, ROUGH, "t"), config)
        probes = [one for one in requests if one.arrival_s > 0.0]
        assert len(requests) - len(probes) == cell.batch < config.max_num_seqs
        assert probes and all(one.output_tokens == 1 for one in probes)
        held = sum(one.prompt_tokens + one.output_tokens for one in requests if one.arrival_s == 0.0)
        assert held + max(one.prompt_tokens for one in probes) <= config.usable_kv_tokens


def test_some_probes_are_longer_than_an_iteration() -> None:
    """Otherwise what tokens before a chunk cost could not be measured."""
    config = LiveConfig()
    lengths = [one.prompt_tokens for one in cell_requests(calibration_cells(config)[0], config, ROUGH, "t")]
    assert max(lengths) > config.max_batched_tokens


def test_the_check_is_traffic_of_its_own() -> None:
    requests = list(waves())
    assert len(requests) >= 160
    assert requests == check_requests(requests, LiveConfig())


def test_no_repeats_are_refused() -> None:
    with pytest.raises(ConfigError, match="repeats = 0"):
        CalibrateConfig(0, "nowhere", LiveConfig(), repeats=0)


@INSTALLED
@pytest.mark.live
@pytest.mark.slow
def test_calibration_of_the_live_engine(tmp_path: Path) -> None:
    result = calibrate(CalibrateConfig(0, str(tmp_path / "run"), replace(SMALL, host_kv_blocks=4), repeats=1))
    fitted = result.fitted
    assert fitted.decode.samples > 100 and fitted.mixed.samples > 30
    # How good the fit is depends on what else the machine does, so nothing is asked of it but to tell.
    scores = [
        (regime.r_squared, regime.mape, regime.cv_r_squared, regime.cv_mape) for regime in (fitted.decode, fitted.mixed)
    ]
    assert np.isfinite(scores).all()
    assert fitted.model(0, 8, 500, 0) > 0.0
    assert fitted.tried[fitted.form] == min(fitted.tried.values()) == fitted.mixed.cv_mape
    assert fitted.model.prefill_context is not None  # chunks with tokens before them were seen
    again = EngineConfig("here", str(result.preset), 100).step_time  # type: ignore[arg-type]
    np.testing.assert_allclose(again.vector, fitted.model.vector, rtol=1e-9)
    saved = json.loads((tmp_path / "run" / "results.json").read_text())
    assert saved["host_copy_s_per_block"] == result.copy_s_per_block > 0.0
    assert "A KV block to host memory or back:" in (tmp_path / "run" / "table.md").read_text()
    assert 0.0 < saved["host_s"] == result.host_s < fitted.model(0, 8, 500, 0)
    assert "vLLM's own time" in (tmp_path / "run" / "table.md").read_text()
    assert saved["unseen"]["mixed_mape"] == pytest.approx(result.unseen.mixed_mape)
    assert "cross-validated: R²" in (tmp_path / "run" / "table.md").read_text()
