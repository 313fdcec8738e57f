"""A workload: requests with arrival, lengths and what their readers expect, as frozen arrays with a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from andes_engine.engine import EngineConfig
from andes_engine.errors import CapacityError, InvalidWorkloadError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Workload:
    """Requests in order of arrival. All arrays have shape (n,).

    Args:
        name: For records.
        arrival_s: Arrival time, s from the start, non-decreasing.
        prompt_tokens: Prompt length, >= 1.
        output_tokens: Response length, >= 1; hidden from schedulers.
        ttft_s: Reader's expected time to first token, s, >= 0.
        latency_s: Reader's pace, s per token, > 0.

    Raises:
        InvalidWorkloadError: If it is empty, or a value is out of range; the message names the first such request.
    """

    name: str
    arrival_s: FloatArray
    prompt_tokens: IntArray
    output_tokens: IntArray
    ttft_s: FloatArray
    latency_s: FloatArray

    def __post_init__(self) -> None:
        for field, kind in (
            ("arrival_s", np.float64),
            ("prompt_tokens", np.int64),
            ("output_tokens", np.int64),
            ("ttft_s", np.float64),
            ("latency_s", np.float64),
        ):
            values = np.array(getattr(self, field))
            if values.dtype.kind == "f":
                self._refuse(field, ~np.isfinite(values), "must be finite")
                if kind is np.int64:
                    self._refuse(field, values != np.rint(values), "must be a whole number of tokens")
            values = values.astype(kind)
            values.setflags(write=False)
            object.__setattr__(self, field, values)
        self._check()

    def _check(self) -> None:
        if len(self.arrival_s) == 0:
            raise InvalidWorkloadError(f"workload '{self.name}' has no requests")
        for field in ("prompt_tokens", "output_tokens", "ttft_s", "latency_s"):
            if getattr(self, field).shape != self.arrival_s.shape:
                raise InvalidWorkloadError(
                    f"workload '{self.name}': {field} has shape {getattr(self, field).shape}, "
                    f"arrival_s {self.arrival_s.shape}"
                )
        self._refuse("arrival_s", self.arrival_s < 0, "must be >= 0")
        earlier = np.diff(self.arrival_s, prepend=self.arrival_s[0]) < 0
        self._refuse("arrival_s", earlier, "must not go back in time; sort by arrival")
        self._refuse("prompt_tokens", self.prompt_tokens < 1, "must be >= 1")
        self._refuse("output_tokens", self.output_tokens < 1, "must be >= 1")
        self._refuse("ttft_s", self.ttft_s < 0, "must be >= 0")
        self._refuse("latency_s", self.latency_s <= 0, "must be > 0")

    def _refuse(self, field: str, bad: NDArray[np.bool_], rule: str) -> None:
        if bad.any():
            row = int(np.argmax(bad))
            value = np.asarray(getattr(self, field))[row]
            raise InvalidWorkloadError(f"workload '{self.name}': request {row}: {field} = {value} {rule}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Workload) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def fingerprint(self) -> str:
        """Hash of everything a scheduler can be judged on; equal fingerprints mean identical requests."""
        digest = hashlib.sha256()
        for values in (self.arrival_s, self.prompt_tokens, self.output_tokens, self.ttft_s, self.latency_s):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()[:16]

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
        return replace(self._select(keep), arrival_s=self.arrival_s[keep] - start_s)

    def at_rate(self, rate: float) -> Workload:
        """The same requests with time stretched so that the mean rate is `rate` requests/s."""
        if not rate > 0:
            raise InvalidWorkloadError(f"workload '{self.name}': rate = {rate} requests/s must be > 0")
        return replace(self, arrival_s=self.arrival_s * (self.rate / rate))

    def fitting(self, engine: EngineConfig) -> tuple[Workload, int]:
        """The requests this engine can hold, and how many it cannot."""
        keep = self.prompt_tokens + self.output_tokens <= _longest(engine)
        return (self if keep.all() else self._select(keep)), int((~keep).sum())

    def check_fits(self, engine: EngineConfig) -> None:
        """Refuse a workload with a request longer than the engine's KV cache or model length."""
        length = self.prompt_tokens + self.output_tokens
        longest = _longest(engine)
        if (length > longest).any():
            row = int(np.argmax(length > longest))
            raise CapacityError(
                f"workload '{self.name}': request {row} needs {length[row]} tokens ({self.prompt_tokens[row]} prompt + "
                f"{self.output_tokens[row]} output) but engine '{engine.name}' holds {longest} per request; "
                "raise kv_blocks (or max_model_len_tokens), or drop long requests with workload.on_too_long=drop"
            )

    def _select(self, rows: slice | NDArray[np.bool_]) -> Workload:
        return Workload(
            self.name,
            self.arrival_s[rows],
            self.prompt_tokens[rows],
            self.output_tokens[rows],
            self.ttft_s[rows],
            self.latency_s[rows],
        )


def _longest(engine: EngineConfig) -> int:
    return min(engine.kv_tokens - engine.block_size_tokens, engine.max_model_len_tokens)


def workload_of(name: str, columns: dict[str, ArrayLike]) -> Workload:
    """A workload from columns in any order of arrival: sorts by arrival time, stable."""
    arrival_s = np.asarray(columns["arrival_s"], dtype=np.float64)
    order = np.argsort(arrival_s, kind="stable")
    fields = [key for key in Workload.__dataclass_fields__ if key != "name"]
    return Workload(name, **{key: np.asarray(columns[key])[order] for key in fields})
