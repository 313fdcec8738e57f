"""A workload: requests with arrival, lengths and what their readers expect, as frozen arrays with a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError, InvalidWorkloadError
from andes_engine.workload.prefix import PrefixHashes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_NEEDED = {
    "arrival_s": np.float64,
    "prompt_tokens": np.int64,
    "output_tokens": np.int64,
    "ttft_s": np.float64,
    "latency_s": np.float64,
}
_OPTIONAL = {"user": np.int64, "abort_s": np.float64}
_UNIT = {"prompt_tokens": " of tokens", "output_tokens": " of tokens"}


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Requests in order of arrival. All arrays have shape (n,).

    The last three say more than every workload knows; left out, one user asks, nobody leaves, and prompts share nothing.

    Args:
        name: For records.
        arrival_s: Arrival time, s from the start, non-decreasing.
        prompt_tokens: Prompt length, >= 1.
        output_tokens: Response length, >= 1; hidden from schedulers.
        ttft_s: Reader's expected time to first token, s, >= 0.
        latency_s: Reader's pace, s per token, > 0.
        user: Who asks, >= 0, for fairness between users; one number is everybody's.
        abort_s: When the reader leaves, s on the clock of `arrival_s`, >= it, infinite for never; one number is everybody's.
        block_hashes: Which prompts begin alike.

    Raises:
        InvalidWorkloadError: If it is empty, or a value is out of range; the message names the first such request.
    """

    name: str
    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    ttft_s: FloatArray
    latency_s: FloatArray
    user: IntArray = field(default_factory=lambda: np.zeros((), np.int64))
    abort_s: FloatArray = field(default_factory=lambda: np.full((), np.inf))
    block_hashes: PrefixHashes | None = None

    def __post_init__(self) -> None:
        for name, kind in (_NEEDED | _OPTIONAL).items():
            object.__setattr__(self, name, self._column(name, kind))
        self._check()

    def _column(self, name: str, kind: type) -> NDArray[Any]:
        values = np.array(getattr(self, name))
        if name in _OPTIONAL and values.ndim == 0:
            values = np.full(len(self.arrival_s), values)
        if values.dtype.kind == "f":
            if name != "abort_s":
                self._refuse(name, ~np.isfinite(values), "must be finite")
            if kind is np.int64:
                self._refuse(name, values != np.rint(values), f"must be a whole number{_UNIT.get(name, '')}")
        values = values.astype(kind)
        values.setflags(write=False)
        return values

    def _check(self) -> None:
        if len(self.arrival_s) == 0:
            raise InvalidWorkloadError(f"workload '{self.name}' has no requests")
        for name in _NEEDED | _OPTIONAL:
            if getattr(self, name).shape != self.arrival_s.shape:
                raise InvalidWorkloadError(
                    f"workload '{self.name}': {name} has shape {getattr(self, name).shape}, "
                    f"arrival_s {self.arrival_s.shape}"
                )
        self._refuse("arrival_s", self.arrival_s < 0, "must be >= 0")
        earlier = np.diff(self.arrival_s, prepend=self.arrival_s[0]) < 0
        self._refuse("arrival_s", earlier, "must not go back in time; sort by arrival")
        self._refuse("prompt_tokens", self.prompt_tokens < 1, "must be >= 1")
        self._refuse("output_tokens", self.output_tokens < 1, "must be >= 1")
        self._refuse("ttft_s", self.ttft_s < 0, "must be >= 0")
        self._refuse("latency_s", self.latency_s <= 0, "must be > 0")
        self._refuse("user", self.user < 0, "must be >= 0")
        stays = self.abort_s >= self.arrival_s
        self._refuse("abort_s", ~stays, "must be a time at or after the arrival; infinite for a reader who stays")
        if self.block_hashes is not None:
            self.block_hashes.check_prompts(self.prompt_tokens, self.name)

    def _refuse(self, name: str, bad: NDArray[np.bool_], rule: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = np.broadcast_to(np.asarray(getattr(self, name)), bad.shape)[row]
            raise InvalidWorkloadError(f"workload '{self.name}': request {row}: {name} = {value} {rule}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workload) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def fingerprint(self) -> str:
        """Hash of everything a scheduler can be judged on; equal fingerprints mean identical requests.

        Optional columns count only where they say something, so a workload without them has the hash it always had.
        """
        digest = hashlib.sha256()
        for name in _NEEDED:
            digest.update(getattr(self, name).tobytes())
        if self.user.any():
            digest.update(b"user" + self.user.tobytes())
        if np.isfinite(self.abort_s).any():
            digest.update(b"abort_s" + self.abort_s.tobytes())
        if self.block_hashes is not None and len(self.block_hashes.hash_ids):
            digest.update(b"block_hashes" + self.block_hashes.content)
        return digest.hexdigest()[:16]

    @property
    def patience_s(self) -> FloatArray:
        """How long each reader stays after asking, s; infinite for good. Shape (n,)."""
        return self.abort_s - self.arrival_s

    @property
    def duration_s(self) -> float:
        """Time of the last arrival, s."""
        return float(self.arrival_s[-1])

    @property
    def rate(self) -> float:
        """Mean arrival rate, requests/s."""
        return len(self) / max(self.duration_s, 1e-9)

    def head(self, count: int) -> Workload:
        """The first `count` requests."""
        if count < 1:
            raise InvalidWorkloadError(f"workload '{self.name}': asked for {count} requests; need at least 1")
        return self._select(slice(0, count))

    def between(self, start_s: float, end_s: float) -> Workload:
        """Requests that arrive in [start_s, end_s), with the clock restarted at `start_s`."""
        keep = (self.arrival_s >= start_s) & (self.arrival_s < end_s)
        kept = self._select(keep)
        return replace(kept, arrival_s=kept.arrival_s - start_s, abort_s=kept.abort_s - start_s)

    def at_rate(self, rate: float) -> Workload:
        """The same requests with time stretched so that the mean rate is `rate` requests/s; patience stays as it is."""
        if not rate > 0:
            raise InvalidWorkloadError(f"workload '{self.name}': rate = {rate} requests/s must be > 0")
        arrival_s = self.arrival_s * (self.rate / rate)
        return replace(self, arrival_s=arrival_s, abort_s=arrival_s + self.patience_s)

    def fitting(self, engine: EngineConfig) -> tuple[Workload, int]:
        """The requests this engine can hold, and how many it cannot."""
        return self.up_to(longest_tokens(engine))

    def check_fits(self, engine: EngineConfig) -> None:
        """Refuse a workload with a request longer than the engine's KV cache or model length."""
        self.check_up_to(longest_tokens(engine), f"engine '{engine.name}'", "raise kv_blocks (or max_model_len_tokens)")

    def up_to(self, longest_tokens: int) -> tuple[Workload, int]:
        """The requests of at most so many tokens, prompt and output together, and how many are longer."""
        keep = self.prompt_tokens + self.output_tokens <= longest_tokens
        return (self if keep.all() else self._select(keep)), int((~keep).sum())

    def check_up_to(self, longest_tokens: int, holder: str, remedy: str) -> None:
        """Refuse a workload with a longer request than that; `holder` and `remedy` are for the message."""
        length = self.prompt_tokens + self.output_tokens
        if (length > longest_tokens).any():
            row = int(np.argmax(length > longest_tokens))
            raise CapacityError(
                f"workload '{self.name}': request {row} needs {length[row]} tokens ({self.prompt_tokens[row]} prompt + "
                f"{self.output_tokens[row]} output) but {holder} holds {longest_tokens} per request; "
                f"{remedy}, or drop long requests with workload.on_too_long=drop"
            )

    def _select(self, rows: slice | NDArray[np.bool_]) -> Workload:
        hashes = None if self.block_hashes is None else self.block_hashes.select(rows)
        columns = {name: getattr(self, name)[rows] for name in _NEEDED | _OPTIONAL}
        return Workload(self.name, **columns, block_hashes=hashes)


def longest_tokens(engine: EngineConfig) -> int:
    """The longest request, prompt and output together, that `engine` can hold."""
    return min(engine.kv_tokens - engine.block_size_tokens, engine.max_model_len_tokens)


def workload_of(name: str, columns: Mapping[str, ArrayLike], block_hashes: PrefixHashes | None = None) -> Workload:
    """A workload from columns in any order of arrival: sorts by arrival time, stable.

    Args:
        name: For records.
        columns: The columns of `Workload` by name; `user` and `abort_s` may be left out, or one number.
        block_hashes: Hashes of the requests, in the order of the columns.
    """
    order = np.argsort(np.asarray(columns["arrival_s"], dtype=np.float64), kind="stable")
    given = {key: np.asarray(columns[key]) for key in _NEEDED | _OPTIONAL if key in _NEEDED or key in columns}
    ordered = {key: values[order] if values.ndim else values for key, values in given.items()}
    return Workload(name, **ordered, block_hashes=None if block_hashes is None else block_hashes.select(order))
