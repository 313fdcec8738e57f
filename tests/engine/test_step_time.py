from __future__ import annotations

import dataclasses
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.engine import EngineConfig
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.step_time import StepTime, load_preset, prefill_seconds, preset, presets, save_preset, step_seconds

TRUE = StepTime("true", (0.011, 37e-6, 0.08e-6), (0.0098, 44e-6, 50e-6, 0.079e-6, 18.6e-9))
ROOFLINE = dataclasses.replace(TRUE, floor=(0.014, 10e-6, 12e-6), prefill_context=30e-9, host_s=0.001)

loads = st.tuples(
    st.integers(0, 4096), st.integers(0, 512), st.integers(0, 500_000), st.integers(0, 4096**2), st.integers(0, 4096 * 32_768)
)  # fmt: skip


@given(loads, loads, st.sampled_from([TRUE, ROOFLINE, *map(preset, sorted(presets()))]))
def test_more_load_never_takes_less_time(load: tuple[int, ...], more: tuple[int, ...], model: StepTime) -> None:
    grown = [one + other for one, other in zip(load, more, strict=True)]
    if load[0] == 0:  # within a regime: the first prefill token may change the price of everything
        grown[0] = 0
    assert model(*grown) >= model(*load) > 0.0


def test_decoding_alone_is_a_plane_over_batch_and_context() -> None:
    """The simulator skips ahead over decode-only iterations and needs the first three coefficients to be all of them."""
    a, b, c = ROOFLINE.vector[:3]
    for batch, context in ((1, 10), (40, 40_000), (256, 400_000)):
        assert step_seconds(ROOFLINE.vector, 0, batch, context, 0, 0) == pytest.approx(a + b * batch + c * context)


def test_a_mixed_iteration_takes_what_its_terms_add_up_to() -> None:
    few, many = (32, 10, 5_000, 32**2, 64_000), (2_000, 10, 5_000, 2_000**2, 0)
    memory_s = 0.014 + 32 * 10e-6 + 10 * 12e-6
    compute_s = 0.0098 + 2_000 * 44e-6 + 10 * 50e-6
    assert ROOFLINE(*few) == pytest.approx(0.001 + memory_s + 5_000 * 0.079e-6 + 32**2 * 18.6e-9 + 64_000 * 30e-9)
    assert ROOFLINE(*many) == pytest.approx(0.001 + compute_s + 5_000 * 0.079e-6 + 2_000**2 * 18.6e-9)


def test_host_time_is_added_to_every_iteration() -> None:
    for model in (TRUE, dataclasses.replace(ROOFLINE, host_s=0.0)):
        slower = dataclasses.replace(model, host_s=0.5)
        for load in ((0, 3, 300, 0), (10, 3, 300, 100), (2_000, 3, 300, 10_000)):
            assert slower(*load) == pytest.approx(model(*load) + 0.5)


def test_attention_of_decodes_beside_prefill_has_its_own_price() -> None:
    dearer = TRUE.with_mixed_attention(2.1)
    assert dearer.mixed_attention == pytest.approx(2.1)
    assert dearer(0, 30, 20_000, 0) == TRUE(0, 30, 20_000, 0)
    extra_s = (2.1 * 0.08e-6 - 0.079e-6) * 20_000
    assert dearer(64, 30, 20_000, 64**2) == pytest.approx(TRUE(64, 30, 20_000, 64**2) + extra_s)


def test_every_query_key_pair_costs_the_same_unless_measured_otherwise() -> None:
    """A prompt in two chunks has as many pairs as in one: p^2 / 2."""
    whole_s = TRUE(1_000, 0, 0, 1_000**2) - TRUE(1_000, 0, 0, 0)
    halves_s = sum(TRUE(500, 0, 0, 500**2, 500 * past) - TRUE(500, 0, 0, 0) for past in (0, 500))
    assert halves_s == pytest.approx(whole_s)


@given(st.integers(0, 20_000), st.integers(1, 4_096), st.sampled_from([TRUE, ROOFLINE]))
def test_prefill_seconds_is_the_sum_over_its_chunks(tokens: int, chunk_tokens: int, model: StepTime) -> None:
    total_s, past = 0.0, 0
    while past < tokens:
        chunk = min(chunk_tokens, tokens - past)
        total_s += model(chunk, 0, 0, chunk * chunk, chunk * past)
        past += chunk
    assert prefill_seconds(model.vector, tokens, chunk_tokens) == pytest.approx(total_s, rel=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [{"decode": (0.01, -1e-6, 0.0)}, {"host_s": float("nan")}, {"mixed": (0.01, 1e-6, 1e-6, 1e-6)}, {"floor": (0.01,)}],
)
def test_impossible_coefficients_are_refused(wrong: dict) -> None:
    with pytest.raises(AndesError, match="step time 'true'"):
        dataclasses.replace(TRUE, **wrong)


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_are_plausible_grow_with_the_load_and_say_where_they_are_from(name: str) -> None:
    model, entry = preset(name), presets()[name]
    assert 0.001 < model(0, 1, 500, 0) < 0.1
    assert model(0, 50, 50_000, 0) > model(0, 1, 500, 0)
    assert model(2048, 0, 0, 2048**2) > model(256, 0, 0, 256**2)
    assert EngineConfig("e", name, 100).step_time == model  # type: ignore[arg-type]
    assert all(entry[key] for key in ("engine", "source", "licence", "mape_percent"))
    assert entry["kv_tokens"] is None or entry["kv_tokens"] > 3_000


def test_unknown_preset_gets_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'a100_llama3_8b'"):
        preset("a100_llama3_8")


def test_a_saved_preset_is_read_back_and_accepted_by_an_engine(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = save_preset(ROOFLINE, tmp_path / "mine" / "here.json", engine="my machine")
    again = EngineConfig("e", str(path), 100).step_time  # type: ignore[arg-type]
    assert again.name == "here"
    np.testing.assert_allclose(again.vector, ROOFLINE.vector, rtol=1e-12)


def test_a_file_that_is_no_preset_is_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AndesError, match="cannot be read"):
        load_preset(tmp_path / "absent.json")
    (tmp_path / "wrong.json").write_text('{"decode_ms_us_us": [1, 2]}')
    with pytest.raises(AndesError, match="not a preset"):
        preset(str(tmp_path / "wrong.json"))


@pytest.mark.parametrize("path", sorted(Path(str(files("conf") / "engine")).glob("*.yaml")), ids=lambda path: path.stem)
def test_engine_files_hold_the_memory_their_preset_has(path: Path) -> None:
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    for base in settings.pop("defaults", []):  # as Hydra composes them: _self_ comes last
        if base != "_self_":
            settings = yaml.safe_load(path.with_name(f"{base}.yaml").read_text(encoding="utf-8")) | settings
    known = presets()[settings["step_time"]]["kv_tokens"]
    blocks, block = settings["kv_blocks"], settings["block_size_tokens"]
    assert known - 2 * block < blocks * block <= known  # vLLM keeps one block; the rest is rounding
    assert EngineConfig(**settings).name == path.stem
