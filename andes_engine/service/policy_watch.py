"""Exchanges the policy of a running server: a thread notices, reads and checks, the scheduler takes over between two steps.

The files may change in any way. A bundle that cannot be loaded, or that changes while it is read, is not put in charge.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from andes_engine.errors import AndesError
from andes_engine.policy.guard import GuardedPolicy
from andes_engine.policy.location import state_of
from andes_engine.service.events import tell


class Swap(NamedTuple):
    """A policy to put in charge; no guard means the configured knobs."""

    guard: GuardedPolicy | None


class PolicyWatch:
    """Looks at a policy's files every so often.

    What cannot be used is refused when two looks in a row find it the same: files that are being written are given time.

    Args:
        path: Folder of a bundle, or a file that names one (`policy.location`).
        period_s: Time between looks, s.
        on_refusal: Called by the thread for each change that is no usable policy.
        load: Reads and checks the policy at a path.
    """

    def __init__(
        self,
        path: Path,
        period_s: float,
        on_refusal: Callable[[], None],
        load: Callable[[Path], GuardedPolicy | None] = GuardedPolicy.from_location,
    ) -> None:
        self._path = path
        self._period_s = period_s
        self._on_refusal = on_refusal
        self._load = load
        self._known = state_of(path)
        self._doubtful: tuple[object, ...] = ()
        self._ready: Swap | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="andes-policy-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking, and wait until the thread is done."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def take(self) -> Swap | None:
        """The newest policy that was found and not taken yet; costs nothing where there is none."""
        if self._ready is None:
            return None
        ready, self._ready = self._ready, None
        return ready

    def look(self) -> None:
        """Look once; never raises."""
        state = state_of(self._path)
        if state == self._known:
            return
        try:
            guard = self._load(self._path)
        except (AndesError, OSError) as error:
            self._doubt(state, str(error))
        except Exception as error:  # whatever the files hold, the server goes on
            self._doubt(state, repr(error))
        else:
            if state_of(self._path) == state:  # else it changed while it was read: the next look reads it again
                self._known, self._ready = state, Swap(guard)

    def _doubt(self, state: tuple[object, ...], reason: str) -> None:
        if state != self._doubtful:
            self._doubtful = state
            return
        self._known, self._doubtful = state, ()
        self._on_refusal()
        tell("policy_refused", logging.ERROR, path=str(self._path), reason=reason)

    def _run(self) -> None:
        while not self._stopped.wait(self._period_s):
            self.look()
