"""From the configuration to RESULTS.md, its records, and the model cards of the zoo."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from agents.results.cards import write_cards
from agents.results.config import ResultsConfig
from agents.results.evidence import gather, goals_of, record
from agents.results.goals import goals_grid
from agents.results.page import RECORDS, REFERENCES, write_results
from agents.run_dir import RunDir, made_with, plain
from andes_engine.report.grid import Grid


@dataclass(frozen=True, slots=True)
class Results:
    """What is left: the goals, the page, and the model cards."""

    goals: Grid
    page: Path
    cards: tuple[Path, ...]


def results(config: ResultsConfig) -> Results:
    """Run what is missing and write everything anew.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        RunFailedError: If a run fails; the finished ones are kept.
    """
    started_s = time.monotonic()
    found = gather(config)
    goals = goals_of(config, found)
    run = RunDir.create(config.run_dir, plain(config), config.seed, go_on=True)
    grid = goals_grid(goals, {})
    cells = [[cell.text for cell in row] for row in grid.rows]
    run.write_results({**made_with(), "columns": [column.label for column in grid.columns], "goals": cells})
    folder = Path(config.out) if config.out else run.path
    command = "make results" if config.size == "full" else f"python -m scripts.results size={config.size}"
    page = write_results(folder, command, config, found, goals, time.monotonic() - started_s)
    record(found, folder / RECORDS)
    reference = next((name for name in REFERENCES if any(arm.name == name for arm in found.arms)), REFERENCES[-1])
    return Results(grid, page, tuple(write_cards(folder, found.measured, reference, config.seed)))
