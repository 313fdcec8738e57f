"""A made-up device whose kernels follow simple laws, so that what the profile adds up to is known."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from itertools import product
from pathlib import Path

import pytest

from andes_engine.errors import AndesError
from andes_engine.kernel_profile import Iteration, KernelProfile, ProfileGrid, fit_profile

LAYERS = 4
DENSE = (
    "qkv_proj",
    "rotary_emb",
    "o_proj",
    "layernorm",
    "gate_up_proj",
    "act_fn",
    "down_proj",
    "embedding",
    "final_layernorm",
)
SIZES = tuple(2**power for power in range(12))
MIXED_ATTENTION = 2.0


def dense_us(tokens: int) -> float:
    """Reading the weights takes as long as the arithmetic of 256 tokens."""
    return max(50.0, tokens * 50.0 / 256)


def decode_us(seqs: int, context: int) -> float:
    return 5.0 + 0.01 * seqs * context


def chunk_us(tokens: int, before: int) -> float:
    return 1e-3 * tokens * (before + tokens / 2)


def write(path: Path, header: str, rows: Iterable[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def attention_rows() -> list[tuple[int, int, int, int, float]]:
    seqs, contexts, chunks = SIZES[:8], (16, 64, 256, 1024, 4096), (16, 64, 256, 1024, 2048)
    rows = [(0, 0, n, k, decode_us(n, k)) for n, k in product(seqs, contexts)]
    for chunk, before in product(chunks, (0, 512, 4096)):
        alone_us = chunk_us(chunk, before)
        rows.append((chunk, before, 0, 0, alone_us))
        rows += [
            (chunk, before, n, k, alone_us + MIXED_ATTENTION * decode_us(n, k)) for n, k in product(seqs, contexts)
        ]
    return rows


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path / "dense.csv",
        "layer,tokens,time_us",
        [(name, size, dense_us(size)) for name in DENSE for size in SIZES],
    )
    heads = [(name, n, 100.0 + n) for name in ("lm_head", "sampler") for n in SIZES[:9]]
    write(tmp_path / "per_sequence.csv", "layer,sequences,time_us", heads)
    write(tmp_path / "attention.csv", "prefill_chunk,kv_prefill,n_decode,kv_decode,time_us", attention_rows())
    return tmp_path


def test_an_iteration_is_the_sum_of_its_kernels(folder: Path) -> None:
    profile = KernelProfile(folder, LAYERS)
    calls = 8 * LAYERS + 2  # the norm runs twice in a layer; embedding and last norm once in all
    decode = Iteration((), 16, 16 * 256)
    assert profile.seconds(decode) == pytest.approx(1e-6 * (calls * 50 + 2 * 116 + LAYERS * decode_us(16, 256)))
    mixed = Iteration(((1024, 512), (1024, 0)), 16, 16 * 1024)
    attention = chunk_us(1024, 512) + chunk_us(1024, 0) + MIXED_ATTENTION * decode_us(16, 1024)
    with pytest.raises(AndesError, match=r"measured 1 to 2048 tokens in an iteration, not 2064"):
        profile.seconds(mixed)
    mixed = Iteration(((1008, 512), (1024, 0)), 16, 16 * 1024)
    attention += profile._chunk.at(1008, 512) - chunk_us(1024, 512)
    assert profile.seconds(mixed) == pytest.approx(
        1e-6 * (calls * dense_us(2048) + 2 * 118 + LAYERS * attention), rel=1e-3
    )


def test_the_fit_finds_the_corner_and_the_attention_multiplier(folder: Path) -> None:
    grid = ProfileGrid(kv_tokens=40_000)
    report = fit_profile(KernelProfile(folder, LAYERS), grid, "made up")
    assert report.form == "roofline"
    assert report.tried["roofline"] < 0.5 * report.tried["linear"]
    assert report.decode.cv_mape < 1e-6
    assert report.model.decode[2] == pytest.approx(LAYERS * 0.01e-6)
    assert report.model.mixed_attention == pytest.approx(MIXED_ATTENTION, rel=0.1)
    assert report.model.prefill_context_s == pytest.approx(LAYERS * 1e-9, rel=0.2)


def test_the_grid_holds_what_the_engine_has_room_for() -> None:
    grid = ProfileGrid(kv_tokens=5_000, max_batched_tokens=512, max_num_seqs=32)
    iterations = grid.iterations()
    assert {one.prefill_tokens > 0 for one in iterations} == {True, False}
    for one in iterations:
        assert one.prefill_tokens + one.decode_seqs <= 512
        assert one.decode_seqs <= 32
        assert one.context_tokens + sum(map(sum, one.chunks)) <= 5_000


def test_what_was_not_measured_is_refused(folder: Path) -> None:
    profile = KernelProfile(folder, LAYERS)
    with pytest.raises(AndesError, match="measured 16 to 4096 tokens of context each, not 5000"):
        profile.seconds(Iteration((), 2, 10_000))
    with pytest.raises(AndesError, match="measured 16 to 2048 prefill tokens in a chunk, not 8"):
        profile.seconds(Iteration(((8, 0),), 0, 0))


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("dense.csv", "layer,tokens,time_us\nconv,1,2.0\n", "unknown kernel 'conv'"),
        ("dense.csv", "layer,tokens\n", "needs rows with the columns layer, tokens, time_us"),
        ("per_sequence.csv", "layer,sequences,time_us\nlm_head,1,2.0\n", "no times of sampler"),
        ("attention.csv", None, "cannot be read"),
    ],
)
def test_a_broken_profile_is_refused(folder: Path, file: str, text: str | None, message: str) -> None:
    (folder / file).unlink()
    if text is not None:
        (folder / file).write_text(text)
    with pytest.raises(AndesError, match=message):
        KernelProfile(folder, LAYERS)


def test_a_hole_in_the_grid_is_refused(folder: Path) -> None:
    lines = (folder / "attention.csv").read_text().splitlines()
    (folder / "attention.csv").write_text("\n".join(lines[:5] + lines[6:]))
    with pytest.raises(AndesError, match="measured 39 of the 40 combinations"):
        KernelProfile(folder, LAYERS)
