"""Blocks of tokens, worked out in floating point, are those of whole numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from andes_engine.decision_buffers import blocks_for


@given(st.integers(0, 2**40), st.integers(1, 4096))
def test_blocks_are_a_division_rounded_up(tokens: int, block_size_tokens: int) -> None:
    assert blocks_for(tokens, block_size_tokens) == -(-tokens // block_size_tokens)


@given(st.integers(0, 2**31 // 4096), st.integers(1, 4096), st.integers(-1, 1))
def test_at_the_edge_of_a_block(blocks: int, block_size_tokens: int, more: int) -> None:
    tokens = max(blocks * block_size_tokens + more, 0)
    assert blocks_for(tokens, block_size_tokens) == -(-tokens // block_size_tokens)
