from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andes_engine.client import AsyncPacer, Reader
from andes_engine.client.chunks import ChunkTokens, split_chunk
from tests.client.test_pacer import arriving
from tests.client.virtual_time import run_virtually


def completion(text: str, **choice: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, **choice}]}


def chat(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


@pytest.mark.parametrize(
    ("chunk", "tokens"),
    [
        (completion("w4 w5", token_ids=[4, 5]), 2),
        (completion("", token_ids=[7]), 1),
        (completion("ab", logprobs={"tokens": ["a", "b"]}), 2),
        ({"choices": [{"delta": {"content": "ab"}, "logprobs": {"content": [{}, {}, {}]}}]}, 3),
        ({**completion("abc"), "usage": {"completion_tokens": 3}}, 3),
        (completion("abc"), 1),
        (completion("", finish_reason="length"), 0),
        (chat(role="assistant", content=""), 0),
        (chat(reasoning_content="hm"), 1),
        (chat(tool_calls=[{"function": {"arguments": "{"}}]), 1),
        ({"choices": [], "usage": {"completion_tokens": 9}}, 0),
        ({"choices": [*completion("a")["choices"], *completion("b")["choices"]]}, 2),
        ("any other item", 1),
    ],
)
def test_tokens_of_a_chunk(chunk: Any, tokens: int) -> None:
    assert ChunkTokens()(chunk) == tokens


def test_running_usage_counts_what_is_new() -> None:
    count = ChunkTokens()
    assert [count({**completion("x"), "usage": {"completion_tokens": total}}) for total in (1, 4, 4, 9)] == [1, 3, 0, 5]


def test_objects_of_the_client_read_like_dicts() -> None:
    types = pytest.importorskip("openai.types", reason="comes with vLLM: pip install 'andes-rl[cpu]'")
    common = {"id": "1", "created": 0, "model": "m"}
    said = types.Completion.model_validate(
        {**common, "object": "text_completion", **completion(" two words", token_ids=[8, 9], finish_reason="stop")}
    )
    assert ChunkTokens()(said) == 2
    first, last = split_chunk(said, 2)
    assert (first.choices[0].text, last.choices[0].text) == (" two", " words")
    assert first.choices[0].finish_reason is None and last.choices[0].finish_reason == "stop"
    talked = types.chat.ChatCompletionChunk.model_validate(
        {
            **common,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}],
        }
    )
    assert ChunkTokens()(talked) == 1
    assert [piece.choices[0].delta.content for piece in split_chunk(talked, 2)] == ["he", "llo"]


@given(text=st.text(min_size=1), tokens=st.integers(1, 6), is_chat=st.booleans())
def test_pieces_joined_are_the_chunk(text: str, tokens: int, is_chat: bool) -> None:
    chunk = chat(content=text) if is_chat else completion(text, finish_reason="length", token_ids=[1] * tokens)
    before = copy.deepcopy(chunk)
    pieces = split_chunk(chunk, tokens)
    choices = [piece["choices"][0] for piece in pieces]
    assert "".join(choice["delta"]["content"] if is_chat else choice["text"] for choice in choices) == text
    assert len(pieces) == tokens and chunk == before
    if not is_chat:
        assert [choice["finish_reason"] for choice in choices] == [None] * (tokens - 1) + ["length"]
        assert choices[-1]["token_ids"] == [1] * tokens


@pytest.mark.parametrize(
    "chunk",
    [
        chat(content="a", tool_calls=[{"index": 0}]),
        chat(content="a", reasoning="b"),
        {"choices": [*completion("a")["choices"], *completion("b")["choices"]]},
        completion("", token_ids=[1, 2]),
        "any other item",
    ],
)
def test_what_cannot_be_divided_stays_whole(chunk: Any) -> None:
    assert split_chunk(chunk, 2) == [chunk]


def test_chunks_of_several_tokens_are_shown_word_by_word() -> None:
    chunks = [
        chat(role="assistant"),
        completion(" one two three", token_ids=[1, 2, 3]),
        completion("", finish_reason="length"),
    ]

    async def task() -> list[tuple[float, Any]]:
        import asyncio

        now = asyncio.get_running_loop().time
        pacer = AsyncPacer(arriving([0.0, 0.5, 0.5], chunks), Reader(ttft_s=1.0, tds=5.0))
        return [(now(), chunk["choices"][0].get("text")) async for chunk in pacer]

    assert run_virtually(task()) == [
        (0.0, None),
        (pytest.approx(1.0), " one"),
        (pytest.approx(1.2), " two"),
        (pytest.approx(1.4), " three"),
        (pytest.approx(1.4), ""),
    ]
