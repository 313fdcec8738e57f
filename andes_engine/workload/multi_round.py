"""Conversations: a follow-up's prompt is everything said so far and the new message, so prompts share their beginnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from andes_engine.errors import InvalidWorkloadError
from andes_engine.workload.lengths import Lengths

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class Prompts(NamedTuple):
    """Prompts of conversations, one after the other; `opens` marks those that carry no context. Arrays (n,)."""

    prompt_tokens: IntArray
    opens: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class MultiRound:
    """How people converse. The defaults are round numbers, not fitted to data.

    A follow-up comes when an answer that is never late has been read, and a pause for thought is over. A workload is
    fixed before it is served, so follow-ups do not wait for an answer that is late.

    Args:
        mean_rounds: Mean turns of a conversation, geometric, >= 1.
        think_s: Mean pause between reading an answer and asking on, s, exponential, >= 0.
        max_context_tokens: A turn whose prompt and answer would be longer than this starts afresh, without the context.

    Raises:
        InvalidWorkloadError: If a value is out of range.
    """

    mean_rounds: float = 4.0
    think_s: float = 30.0
    max_context_tokens: int = 8192

    def __post_init__(self) -> None:
        if not (np.isfinite(self.mean_rounds) and self.mean_rounds >= 1.0):
            raise InvalidWorkloadError(f"multi_round: mean_rounds = {self.mean_rounds} must be a finite number >= 1")
        if not (np.isfinite(self.think_s) and self.think_s >= 0.0):
            raise InvalidWorkloadError(f"multi_round: think_s = {self.think_s} must be a finite number of seconds >= 0")
        if not self.max_context_tokens >= 1:
            raise InvalidWorkloadError(f"multi_round: max_context_tokens = {self.max_context_tokens} must be >= 1")

    def rounds(self, rng: np.random.Generator, conversations: int) -> IntArray:
        """Turns of each conversation, >= 1. Shape (conversations,)."""
        return rng.geometric(1.0 / self.mean_rounds, size=conversations)

    def rounds_of(self, rng: np.random.Generator, turns: int) -> IntArray:
        """Turns of as many conversations as have `turns` in all; the last one is cut. Sums to `turns`."""
        rounds = self.rounds(rng, turns)
        so_far = np.cumsum(rounds)
        last = int(np.searchsorted(so_far, turns))
        rounds[last] -= so_far[last] - turns
        return rounds[: last + 1]

    def prompts(self, rounds: IntArray, message_tokens: IntArray, output_tokens: IntArray) -> Prompts:
        """The prompt of every turn: its message after all messages and answers of its conversation before it.

        Args:
            rounds: Turns of each conversation. Shape (conversations,).
            message_tokens: What the user adds, turn by turn, conversation by conversation. Shape (rounds.sum(),).
            output_tokens: The answers. Shape (rounds.sum(),).
        """
        first = np.cumsum(rounds) - rounds
        context = np.zeros(len(rounds), dtype=np.int64)
        prompt, opens = np.empty_like(message_tokens), np.zeros(len(message_tokens), dtype=np.bool_)
        for turn in range(int(rounds.max())):
            going = np.flatnonzero(rounds > turn)
            row = first[going] + turn
            whole = context[going] + message_tokens[row] + output_tokens[row]
            opens[row] = (turn == 0) | (whole > self.max_context_tokens)
            prompt[row] = np.where(opens[row], 0, context[going]) + message_tokens[row]
            context[going] = prompt[row] + output_tokens[row]
        return Prompts(prompt, opens)


@dataclass(frozen=True, slots=True)
class ConversationLengths:
    """Lengths of the requests that conversations are made of, from those of messages and answers.

    Args:
        lengths: Lengths of a message and its answer.
        multi_round: How people converse.
    """

    lengths: Lengths
    multi_round: MultiRound

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, IntArray]:
        """Prompt and output tokens of `count` turns. Shapes (count,)."""
        rounds = self.multi_round.rounds_of(rng, count)
        message, output = self.lengths.sample(rng, count)
        return self.multi_round.prompts(rounds, message, output).prompt_tokens, output


def since_opening_s(rounds: IntArray, pause_s: FloatArray) -> FloatArray:
    """Time from the start of its conversation to each turn, s, if `pause_s` passes from it to the next. Shape (n,)."""
    passed = np.cumsum(pause_s) - pause_s
    return passed - np.repeat(passed[np.cumsum(rounds) - rounds], rounds)
