"""What must hold after a soak, and whether it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from agents.local_server import LocalServer
from agents.soak_memory import Memory
from agents.soak_policies import APPLIED, POLICIES, REFUSED, Exchange
from agents.soak_vandals import Vandalism
from andes_engine.client.completions import ABORTED
from andes_engine.client.open_loop import Sent
from andes_engine.report.grid import Cell, Column, Grid

FALLBACKS, SWAPS = "andes_fallbacks_total", "andes_policy_swaps_total"
_COUNTED = {
    FALLBACKS: "cause",
    SWAPS: "result",
    "andes_preemptions_total": "cause",
    "vllm:request_success_total": "finished_reason",
    "vllm:generation_tokens_total": "",
}
_MUST_BE_ZERO = ("planner_failure", "service_failure", "bad_expectation")
_IDLE = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc", "andes_live_requests")

Counts = Counter[tuple[str, str]]


class Verdict(NamedTuple):
    """One thing that must hold."""

    check: str
    ok: bool
    found: str
    allowed: str


def counts(server: LocalServer) -> Counts:
    """What the server has counted so far, by metric and label."""
    found: Counts = Counter()
    for name, labels, value in server.samples():
        if name in _COUNTED:
            found[name, labels.get(_COUNTED[name], "")] += value  # type: ignore[assignment]
    return found


def since(before: Counts, after: Counts) -> Counts:
    """What was counted between two looks."""
    return Counter({key: value - before[key] for key, value in after.items()})


def check_requests(sent: Mapping[int, Sent], counted: Counts) -> list[Verdict]:
    """Nobody who stayed was lost or got other than the tokens asked for, and the server says so too."""
    kinds = Counter(entry.failure for entry in sent.values())
    complete, left = kinds.pop("", 0), kinds.pop(ABORTED, 0)
    theirs = counted["vllm:request_success_total", "length"]
    return [
        Verdict(
            "every reader who stayed got exactly the tokens asked for",
            complete > 0 and not kinds,
            f"{complete} did, {_told(kinds) or 'none failed'}",
            "none failed",
        ),
        Verdict("some readers left before the end", left > 0, f"{left} of {len(sent)}", "at least 1"),
        Verdict("the server finished them as well", theirs >= complete, f"{theirs:.0f}", f"at least {complete}"),
    ]


def check_vandals(done: Vandalism) -> list[Verdict]:
    """What is malformed is refused with the right status, and hanging up was really tried."""
    answered, cut = done.answered.total(), done.hung_up.total()
    return [
        Verdict(
            "malformed and oversize requests are refused with their status",
            answered > 0 and not done.wrong,
            f"{answered} were, {_told(done.wrong) or 'no other answer'}",
            "no other answer",
        ),
        Verdict("connections were cut mid-stream and mid-request", cut > 0, f"{cut} ({_told(done.hung_up)})", "some"),
    ]


def check_exchanges(done: Sequence[Exchange], counted: Counts) -> list[Verdict]:
    """Every policy was applied or refused as it should be, and one that fails when it acts has caused its fallback."""
    verdicts = []
    for result in (APPLIED, REFUSED):
        asked = [entry for entry in done if entry.expected == result]
        missed = [entry.policy for entry in asked if entry.seconds is None]
        times = counted[SWAPS, result]
        found = f"{times:.0f} {result}" + (f", not {', '.join(missed)}" if missed else "")
        ok = times == len(asked) and not missed
        verdicts.append(Verdict(f"policies to be {result} are", ok, found, f"{len(asked)} {result}"))
    for name in dict.fromkeys(entry.policy for entry in done):
        if cause := POLICIES[name].fallback:
            times = counted[FALLBACKS, cause]
            verdicts.append(
                Verdict(f"fallbacks of the policy '{name}' are counted", times > 0, f"{times:.0f} {cause}", "some")
            )
    wrong = {cause: counted[FALLBACKS, cause] for cause in _MUST_BE_ZERO}
    found = ", ".join(f"{times:.0f} {cause}" for cause, times in wrong.items())
    verdicts.append(Verdict("planner and service never failed", not any(wrong.values()), found, "0"))
    return verdicts


def check_idle(server: LocalServer) -> list[Verdict]:
    """Nothing is left behind: no request, no KV block, no row of the planner's table."""
    found = {name: server.metric(name) for name in _IDLE}
    return [Verdict(f"{name} when idle", value == 0.0, f"{value:g}", "0") for name, value in found.items()]


def check_memory(memory: Mapping[str, Memory], allowed_mib: float) -> list[Verdict]:
    """Memory does not grow after the warm-up."""
    return [
        Verdict(
            f"memory of the {name} after the warm-up",
            found.growth_mib <= allowed_mib,  # false for NaN, a process that is gone
            f"{found.growth_mib:+.1f} MiB ({found.settled_mib:.0f} to {found.last_mib:.0f})",
            f"{allowed_mib:+.0f} MiB",
        )
        for name, found in memory.items()
    ]


def check_alive(server: LocalServer, before: Mapping[str, int], after: Mapping[str, int]) -> list[Verdict]:
    """The same processes as before answer."""
    status, tokens = server.get("/health")[0], server.complete(5)
    found = f"health {status}, {tokens} tokens, {'same' if before == after else 'other'} processes"
    ok = status == 200 and tokens == 5 and before == after
    return [Verdict("the server is alive", ok, found, "health 200, 5 tokens, same processes")]


def verdict_grid(verdicts: Sequence[Verdict], title: str) -> Grid:
    """The verdicts as a table."""
    columns = tuple(Column(label, numeric=False) for label in ("", "check", "found", "allowed"))
    rows = [
        (Cell("ok" if entry.ok else "FAILED"), Cell(entry.check), Cell(entry.found), Cell(entry.allowed))
        for entry in verdicts
    ]
    return Grid(title, columns, tuple(rows))


def _told(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{times} {kind}" for kind, times in kinds.items())
