"""The one fault that no bundle can have, because bundles hold no code: a policy that raises. Loaded by a soaked server only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.soak_policies import RAISES
from andes_engine.policy.bundle import Bundle
from andes_engine.vllm.scheduler import AndesScheduler


def faulty_scheduler(vllm_config: Any, *args: Any, **kwargs: Any) -> Any:
    """`AndesScheduler`, in whose process a bundle called `RAISES` raises when it acts on anything but the loader's zeros."""
    act = Bundle.act

    def faulty_act(bundle: Bundle, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        if bundle.name == RAISES and observation.any():
            raise RuntimeError("injected by the soak")
        return act(bundle, observation)

    Bundle.act = faulty_act  # type: ignore[assignment, method-assign]
    return AndesScheduler(vllm_config, *args, **kwargs)
