"""Claims of the paper that single statements are evidence for, each with a line on whether it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from agents.reproduction.section import Claim, held
from agents.reproduction.statement import Found

LIGHTEST = 0.3
"""The lowest load of the statement `light`."""


def light(found: Found) -> Claim:
    """No gain where nobody waits, and no loss anywhere at light load."""
    gains = {
        case: _gains({place: found[place] for place in found if place[0] == case}, "andes", "fcfs") for case, _ in found
    }
    lightest = [float(np.abs(gain).max()) for case, gain in gains.items() if case.endswith(f"load {LIGHTEST:g}")]
    loss, gain = min(float(gain.min()) for gain in gains.values()), max(float(gain.max()) for gain in gains.values())
    still = max(lightest) <= 0.01
    return Claim(
        "nothing is gained or lost at light load", "v2", "no gain",
        f"load {LIGHTEST:g}: at most {max(lightest):.3f} mean QoE either way; up to load .5: {loss:+.3f} to {gain:+.3f}",
        held(still and loss >= -0.01, loss >= -0.01), "at load .5 the burst's peak is at saturation, so a queue forms there",
    )  # fmt: skip


def steady(found: Found) -> Claim:
    """The tail, the first token and the price in a steady overload."""
    fcfs, andes = _pooled(found, "fcfs"), _pooled(found, "andes")
    lost = 1.0 - float(np.median(andes["tokens_per_s"] / fcfs["tokens_per_s"]))
    tail = [float(np.median(side["qoe_p10"])) for side in (fcfs, andes)]
    first_s = [float(np.median(side["ttft_p50_s"])) for side in (fcfs, andes)]
    better = tail[1] > tail[0] and first_s[1] < first_s[0]
    return Claim(
        "steady overload: QoE p10; median TTFT; throughput lost",
        "v1",
        ".05 to .77; 56.7 to 0.47 s; at most 10 %",
        f"{tail[0]:.2f} to {tail[1]:.2f}; {first_s[0]:.1f} to {first_s[1]:.2f} s; {lost:.0%}",
        held(better and tail[1] > 2.0 * tail[0] and lost <= 0.1, better),
        "in an overload that does not end Andes lets its victims wait until the end, and they are the worst tenth",
    )


def greedy(found: Found) -> Claim:
    """QoE of exact packing less greedy packing."""
    gain = float(np.median(_gains(found, "exact", "greedy")))
    return Claim(
        "greedy packing instead of the dynamic programme", "v2", "slightly better QoE, 20 times faster",
        f"exact less greedy: {gain:+.4f} mean QoE", held(gain <= 0.0, gain <= 0.005),
        "the sum of gains is a guide to QoE, so its optimum is not QoE's",
    )  # fmt: skip


def horizon(found: Found) -> Claim:
    """How much QoE moves with the horizon."""
    spread = {case: _spread(found, case) for case in dict.fromkeys(case for case, _ in found)}
    worst = max(spread, key=lambda case: spread[case])
    return Claim(
        "QoE is flat in the horizon", "v1, v2", "flat",
        f"best less worst horizon: at most {spread[worst]:.3f} ({worst})", held(spread[worst] <= 0.02, spread[worst] <= 0.1),
        "from 2 to 200 s; a longer look ahead preempts less, which pays where recomputing is dear",
    )  # fmt: skip


def cap(found: Found) -> Claim:
    """Whether more than one preemption per request helps."""
    gain = float(
        np.median([_gains(found, name, "at most 1").mean() for name in ("at most 2", "at most 4", "at most 16")])
    )
    return Claim(
        "one preemption per request is enough", "v1", "P = 1", f"more of them: {gain:+.3f} mean QoE",
        held(gain <= 0.01, gain <= 0.03), "with the refiner of v2 in charge the cap is the second line of defence",
    )  # fmt: skip


def control(found: Found) -> Claim:
    """What preemption without control costs with long prompts, and whether the refiner cures it."""
    wild, cured, fcfs = (
        _pooled(found, name)["qoe_mean"] for name in ("uncontrolled", "uncontrolled but refined", "fcfs")
    )
    loses, cures = bool((wild < fcfs).all()), bool((cured > wild).all())
    return Claim(
        "long prompts: preemption without control loses, the refiner cures it", "authors' log, v2",
        ".67 to .44 without control",
        f"FCFS {np.median(fcfs):.2f}, without control {np.median(wild):.2f}, refined {np.median(cured):.2f}",
        held(loses and cures, loses), "each preemption recomputes thousands of tokens",
    )  # fmt: skip


CLAIMS: Mapping[str, Callable[[Found], Claim]] = {
    "light": light,
    "control": control,
    "steady": steady,
    "horizon": horizon,
    "cap": cap,
    "greedy": greedy,
}
"""By key of the statement."""


def _gains(found: Found, arm: str, reference: str) -> np.ndarray:
    cases = [case for case, name in found if name == arm]
    return np.concatenate([found[case, arm]["qoe_mean"] - found[case, reference]["qoe_mean"] for case in cases])


def _pooled(found: Found, arm: str) -> dict[str, np.ndarray]:
    runs = [columns for (_, name), columns in found.items() if name == arm]
    return {key: np.concatenate([run[key] for run in runs]) for key in runs[0]}


def _spread(found: Found, case: str) -> float:
    middles = [float(np.median(columns["qoe_mean"])) for (where, _), columns in found.items() if where == case]
    return max(middles) - min(middles)
