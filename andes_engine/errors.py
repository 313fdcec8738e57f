"""Errors a user can cause, each saying what was given, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable


class AndesError(ValueError):
    """Base class of every error this project raises for bad input."""


class InvalidTimelineError(AndesError):
    """Token delivery times, or a reader's expectation, that no response can have."""


class InvalidWorkloadError(AndesError):
    """Requests that cannot be replayed: empty, unsorted, non-finite or non-positive values."""


class TraceFormatError(AndesError):
    """A trace file that is missing or malformed; the message names file and line."""


class CapacityError(AndesError):
    """A request, or a setting, that does not fit the engine's KV cache or limits."""


class ExpectationError(AndesError):
    """What a request says of its reader and cannot be; `key` is the key at fault."""

    def __init__(self, key: str, given: str, allowed: str) -> None:
        self.key = key
        self._given = key, given, allowed
        super().__init__(f"{key} = {given}: {allowed}")

    def __reduce__(self) -> tuple[type[ExpectationError], tuple[str, str, str]]:
        """Made again from what it was made from."""
        return type(self), self._given


class KnobError(AndesError):
    """A knob that does not exist or is out of its bounds."""


class BundleError(AndesError):
    """A policy bundle that is missing, damaged, or made for another specification."""


class UnknownNameError(AndesError):
    """A name that is not registered; the message lists what is, nearest first."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        self._given = kind, name, names
        super().__init__(f"unknown {kind} '{name}'.{hint} Known: {', '.join(names)}.")

    def __reduce__(self) -> tuple[type[UnknownNameError], tuple[str, str, list[str]]]:
        """Made again from what it was made from: an error of a worker process comes to its parent as a pickle."""
        return type(self), self._given


def check_known(kind: str, given: Iterable[object], known: Collection[str]) -> None:
    """Refuse the first name that is not among the known ones.

    Raises:
        UnknownNameError: Naming it, and what there is.
    """
    for name in given:
        if name not in known:
            raise UnknownNameError(kind, str(name), known)


class SchedulerError(AndesError):
    """A user's own scheduler that cannot be found, fails, or does not answer with one number per request."""
