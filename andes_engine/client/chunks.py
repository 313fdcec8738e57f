"""What the chunks of an OpenAI stream carry, as the client's objects or as plain dicts, of chats or completions."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Mapping
from typing import Any

_DELTA_TEXTS = ("content", "reasoning_content", "reasoning")
_WHOLE_ONLY = ("token_ids", "logprobs", "finish_reason", "stop_reason")
"""What cannot be divided with the text: all of it stays with the last piece."""


class ChunkTokens:
    """Counts the tokens of each chunk of one stream, from the most exact thing that the chunk tells.

    That is `token_ids` (vLLM: ``return_token_ids``), else the log probabilities, else the running usage
    (``continuous_usage_stats``), else one token for a chunk with text or tool calls. What is no chunk counts as one token.
    """

    def __init__(self) -> None:
        self._counted = 0

    def __call__(self, chunk: Any) -> int:
        """Tokens of the next chunk."""
        tokens = self._tokens(chunk)
        self._counted += tokens
        return tokens

    def _tokens(self, chunk: Any) -> int:
        choices = _get(chunk, "choices")
        if choices is None:
            return 1
        told = [_told_tokens(choice) for choice in choices]
        if choices and None not in told:
            return sum(filter(None, told))
        usage = _get(_get(chunk, "usage"), "completion_tokens") if choices else None
        if usage is not None:
            return max(usage - self._counted, 0)
        return sum(bool(_text_of(choice) or _get(_get(choice, "delta"), "tool_calls")) for choice in choices)


def chunk_text(chunk: Any) -> str:
    """Text that a chunk adds, of all its choices."""
    return "".join(_text_of(choice) for choice in _get(chunk, "choices") or [])


def split_chunk(chunk: Any, tokens: int) -> list[Any]:
    """A chunk of several tokens as chunks of one token each; a chunk with more than one choice or text stays whole.

    Their texts joined are the text of the chunk, cut between words where there is one word for each token. The last piece has
    everything else.
    """
    choices = _get(chunk, "choices") or []
    texts = _texts(choices[0]) if len(choices) == 1 else {}
    if tokens < 2 or len(texts) != 1 or _get(_get(choices[0], "delta"), "tool_calls"):
        return [chunk]
    name, text = next(iter(texts.items()))
    pieces = [copy.deepcopy(chunk) for _ in range(tokens)]
    for piece, part in zip(pieces, _parts(text, tokens), strict=True):
        choice = _get(piece, "choices")[0]
        _set(choice if name == "text" else _get(choice, "delta"), name, part)
    for piece in pieces[:-1]:
        _clear(piece, ("usage",))
        _clear(_get(piece, "choices")[0], _WHOLE_ONLY)
    return pieces


def _told_tokens(choice: Any) -> int | None:
    ids = _get(choice, "token_ids")
    if ids is not None:
        return len(ids)
    logprobs = _get(choice, "logprobs")
    listed = _get(logprobs, "tokens")
    listed = _get(logprobs, "content") if listed is None else listed
    return None if listed is None else len(listed)


def _texts(choice: Any) -> dict[str, str]:
    delta = _get(choice, "delta")
    given = {"text": _get(choice, "text"), **{name: _get(delta, name) for name in _DELTA_TEXTS}}
    return {name: text for name, text in given.items() if text}


def _text_of(choice: Any) -> str:
    return "".join(_texts(choice).values())


def _parts(text: str, count: int) -> list[str]:
    words = re.findall(r"\s*\S+\s*$|\s*\S+", text)
    if len(words) == count:
        return words
    cuts = [len(text) * place // count for place in range(count + 1)]
    return [text[begin:end] for begin, end in itertools.pairwise(cuts)]


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _set(value: Any, name: str, content: Any) -> None:
    if isinstance(value, dict):
        value[name] = content
    else:
        setattr(value, name, content)


def _clear(value: Any, names: tuple[str, ...]) -> None:
    for name in names:
        if _get(value, name) is not None:
            _set(value, name, None)
