"""A policy as a server runs it: it may fail in any way, and the engine goes on with the reference knobs."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from andes_engine.observation import OBSERVATION_SIZE
from andes_engine.policy.bundle import Bundle, load_bundle
from andes_engine.policy.location import bundle_folder, bundle_version

logger = logging.getLogger(__name__)

DEFAULT_BUDGET_S = 0.005


class GuardedPolicy:
    """Asks a bundle for knobs at its decision interval.

    An exception, a NaN, an action out of bounds or an answer later than the budget gives the reference knobs until the next
    decision; each is counted in `fallbacks` by cause, and the first of each cause is logged. A recurrent policy starts without
    a memory when it takes over, after an exception, and when the engine was idle for a decision or more, as an episode does.

    Args:
        bundle: The policy.
        budget_s: Time one decision may take, s.
        version: What tells the bundle's content from another's, for metrics and logs.
    """

    def __init__(self, bundle: Bundle, budget_s: float = DEFAULT_BUDGET_S, version: str = "") -> None:
        self.bundle = bundle
        self.version = version
        self.budget_s = budget_s
        self.decisions = 0
        self.fallbacks: dict[str, int] = {}
        self._next_s = -np.inf
        self._act = bundle.actor()

    @classmethod
    def load(cls, folder: Path) -> GuardedPolicy:
        """Guard the bundle in `folder`, which has acted once: the first decision is then as fast as the others."""
        bundle = load_bundle(folder)
        bundle.actor()(np.zeros(OBSERVATION_SIZE, dtype=np.float32))
        return cls(bundle, version=bundle_version(folder))

    @classmethod
    def from_location(cls, path: Path, scheduler: str = "andes", lengths: str = "none") -> GuardedPolicy | None:
        """Guard the bundle that a server's setting `policy` names, see `policy.location`; None for no policy.

        Args:
            path: The setting.
            scheduler: Scheduler that the server runs.
            lengths: Its length source.

        Raises:
            BundleError: If there is no bundle that this version can serve, or it was trained with another scheduler or source.
        """
        folder = bundle_folder(path)
        if folder is None:
            return None
        guard = cls.load(folder)
        guard.bundle.check_runs_with(scheduler, lengths)
        return guard

    def due(self, now_s: float) -> bool:
        """Whether the decision interval has passed."""
        return now_s >= self._next_s

    def decide(self, now_s: float, observation: NDArray[np.float32]) -> NDArray[np.float64]:
        """Knob vector from now on; never raises."""
        if now_s >= self._next_s + self.bundle.decision_interval_s:
            self._act = self.bundle.actor()
        self._next_s = now_s + self.bundle.decision_interval_s
        self.decisions += 1
        started_s = time.perf_counter()
        try:
            action = np.asarray(self._act(observation), dtype=np.float64)
        except Exception as error:  # a server outlives its policy
            self._act = self.bundle.actor()
            return self._fall_back("exception", repr(error))
        taken_s = time.perf_counter() - started_s
        if action.shape != (self.bundle.action.size,) or not np.isfinite(action).all():
            return self._fall_back("not finite", f"action {action}")
        if np.abs(action).max() > 1.0:
            return self._fall_back("out of bounds", f"action {action}")
        if taken_s > self.budget_s:
            return self._fall_back("over budget", f"{taken_s * 1e3:.1f} ms, allowed {self.budget_s * 1e3:.1f} ms")
        return self.bundle.action.knob_vector(action)

    def _fall_back(self, cause: str, detail: str) -> NDArray[np.float64]:
        self.fallbacks[cause] = self.fallbacks.get(cause, 0) + 1
        if self.fallbacks[cause] == 1:
            logger.error(
                "andes: policy '%s': %s (%s); reference knobs instead, logged once", self.bundle.name, cause, detail
            )
        return self.bundle.action.knobs.vector
