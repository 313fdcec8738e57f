"""Model cards of the zoo: what a policy was trained on, where it wins and where it does not, and how to train it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agents.results.effects import Effect
from agents.results.measured import Measured
from agents.results.sections import by_setting
from agents.run_dir import write_text
from agents.zoo.entries import recipes

PLACE = Path("agents") / "zoo"
CARD = "MODEL_CARD.md"


def write_cards(folder: Path, measured: Measured, reference: str, seed: int) -> list[Path]:
    """A card for every recipe of the zoo that was measured.

    Args:
        folder: The repository, or wherever the page goes.
        measured: What came out.
        reference: Arm that is to be beaten.
        seed: Of the bootstrap.
    """
    written = []
    for name, bundles in recipes().items():
        found = by_setting(measured, name, reference, seed)
        if found:
            text = f"{bundles[0].model_card.strip()}\n\n{judgement(found, reference, len(bundles))}\n"
            written.append(write_text(folder / PLACE / name / CARD, text))
    return written


def judgement(found: Mapping[str, Mapping[str, Effect]], reference: str, seeds: int) -> str:
    """Where the policy is better, worse, and where nobody can tell, with the differences of mean QoE."""
    every = {f"{suite}: {setting}": one for suite, settings in found.items() for setting, one in settings.items()}
    wins = {where: one for where, one in every.items() if one.low > 0.0}
    losses = {where: one for where, one in every.items() if one.high < 0.0}
    rest = {where: one for where, one in every.items() if where not in wins and where not in losses}
    lines = [
        "## Where it wins, and where not",
        f"Difference of mean QoE from `{reference}` on held-out workloads, over all loads of a setting and {seeds} training "
        "seeds, with 95 % intervals. Written by `python -m scripts.results`.",
    ]
    for title, entries in (("Better", wins), ("Worse", losses)):
        told = [
            f"- {where}: {one.cell().text}" for where, one in sorted(entries.items(), key=lambda entry: -entry[1].value)
        ]
        lines.append(f"**{title}**\n\n" + ("\n".join(told) or "- nowhere"))
    lines.append("**No difference that can be told**\n\n" + ("\n".join(_alike(rest)) or "- nowhere"))
    return "\n\n".join(lines)


def _alike(rest: Mapping[str, Effect]) -> list[str]:
    """A line for each suite: in how many settings, and the range of their differences."""
    by_suite: dict[str, list[float]] = {}
    for where, one in rest.items():
        by_suite.setdefault(where.partition(": ")[0], []).append(one.value)
    return [f"- {suite}, in {len(found)}: {min(found):+.3f} to {max(found):+.3f}" for suite, found in by_suite.items()]
