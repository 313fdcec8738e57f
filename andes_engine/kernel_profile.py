"""Iteration times of an engine put together from measured kernel times, and a step-time model fitted to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from andes_engine.kernel_tables import (
    attention_times,
    beside_prefill_table,
    chunk_table,
    decode_table,
    dense_table,
    per_sequence_table,
)
from andes_engine.step_time import FitReport, StepSample, fit

_BATCHES = (1, 2, 4, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
_CONTEXTS = (64, 128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096)
_PREFILLS = (32, 64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048)
_PIECES = (1, 2, 4)
_PASTS = (0, 512, 2048)


@dataclass(frozen=True, slots=True)
class Iteration:
    """What is in an iteration.

    Args:
        chunks: (tokens, tokens computed before) of each prefill chunk.
        decode_seqs: Sequences that decode one token.
        context_tokens: KV tokens those sequences attend to, summed.
    """

    chunks: tuple[tuple[int, int], ...]
    decode_seqs: int
    context_tokens: int

    @property
    def prefill_tokens(self) -> int:
        """Tokens of all chunks."""
        return sum(tokens for tokens, _ in self.chunks)

    def sample(self, duration_s: float) -> StepSample:
        """The iteration as the fit takes it."""
        return StepSample(
            self.prefill_tokens,
            self.decode_seqs,
            self.context_tokens,
            sum(tokens * tokens for tokens, _ in self.chunks),
            duration_s,
            prefill_context=sum(tokens * past for tokens, past in self.chunks),
        )


class KernelProfile:
    """Measured kernel times of one model on one device; see `kernel_tables` for the format.

    Args:
        folder: Folder with `dense.csv`, `per_sequence.csv` and `attention.csv`.
        layers: Blocks of the model.

    Raises:
        AndesError: If a file is missing, malformed or incomplete, or a kernel is not known.
    """

    def __init__(self, folder: str | Path, layers: int) -> None:
        folder = Path(folder)
        attention = attention_times(folder / "attention.csv")
        self.layers = layers
        self._dense = dense_table(folder / "dense.csv", layers)
        self._per_sequence = per_sequence_table(folder / "per_sequence.csv")
        self._chunk = chunk_table(attention)
        self._decode = decode_table(attention)
        self._beside_prefill = beside_prefill_table(attention)

    def seconds(self, iteration: Iteration) -> float:
        """GPU time of an iteration, s, linear between measured points; without host time.

        Chunks attend one after the other; decoding beside prefill costs what it added to one measured chunk of as many tokens.

        Raises:
            AndesError: If the iteration lies outside of what was measured.
        """
        prefill, decodes = iteration.prefill_tokens, iteration.decode_seqs
        attention = sum(self._chunk.at(tokens, past) for tokens, past in iteration.chunks)
        if decodes:
            mean = iteration.context_tokens / decodes
            beside = self._beside_prefill.at(prefill, decodes, mean) if prefill else self._decode.at(decodes, mean)
            attention += beside
        sampled = self._per_sequence.at(len(iteration.chunks) + decodes)
        return 1e-6 * (self._dense.at(prefill + decodes) + sampled + self.layers * attention)


@dataclass(frozen=True, slots=True)
class ProfileGrid:
    """Iterations that an engine can meet; a fit is only good for what is like them.

    Args:
        kv_tokens: KV cache of the engine: no batch has more context.
        max_batched_tokens: Token budget of an iteration.
        max_num_seqs: Sequences at most.
    """

    kv_tokens: int
    max_batched_tokens: int = 2048
    max_num_seqs: int = 128

    def iterations(self) -> list[Iteration]:
        """Every combination of batch, mean context and prefill that the engine has room for."""
        batches = [
            (n, n * mean)
            for n, mean in product(_BATCHES, _CONTEXTS)
            if n <= self.max_num_seqs and n * mean <= self.kv_tokens
        ]
        return [Iteration((), *batch) for batch in batches] + list(self._mixed([(0, 0), *batches]))

    def _mixed(self, batches: list[tuple[int, int]]) -> Iterator[Iteration]:
        """One to four equal chunks, the first perhaps with tokens before it, in what the batch leaves of the budget."""
        for prefill, pieces, past, (n, context) in product(_PREFILLS, _PIECES, _PASTS, batches):
            chunk = min(prefill, self.max_batched_tokens - n) // pieces
            if chunk >= _PREFILLS[0] // 2 and context + past + pieces * chunk <= self.kv_tokens:
                yield Iteration(((chunk, past), *((chunk, 0),) * (pieces - 1)), n, context)


def fit_profile(profile: KernelProfile, grid: ProfileGrid, name: str) -> FitReport:
    """The step-time model of the device a profile was taken on; host time is not in it."""
    return fit([iteration.sample(profile.seconds(iteration)) for iteration in grid.iterations()], name)
