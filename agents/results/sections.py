"""The sections that come from the suites: who did how well, where the policy wins and where not, and what each part is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agents.document import Section
from agents.results.config import Ablation
from agents.results.effects import Effect, cell_of, difference, effect
from agents.results.measured import Measured, least_load
from andes_engine.report.grid import Cell, Column, Grid

SHOWN = {
    "qoe_mean": ("QoE mean", ".3f"),
    "qoe_p10": ("QoE p10", ".3f"),
    "late_share": ("> 60 s late", ".3f"),
    "tokens_per_s": ("tokens/s", ".0f"),
}


def overview(measured: Measured, arms: Mapping[str, str], overload: float, seed: int) -> Section:
    """Everybody in every suite; of the stationary one, in its overload grid.

    Args:
        measured: What came out.
        arms: What tables call each arm, by its name, in the order to show.
        overload: Lowest load of the overload grid.
        seed: Of the bootstrap.
    """
    grids = tuple(_overview(measured, arms, suite, least_load(suite, overload), seed) for suite in measured.suites)
    return Section(
        "Everybody", ("The mean over training seeds and workloads, every setting and load weighing the same.",), grids
    )


def _overview(measured: Measured, arms: Mapping[str, str], suite: str, from_load: float, seed: int) -> Grid:
    columns = [Column("who", numeric=False), Column("training seeds"), *(Column(label) for label, _ in SHOWN.values())]
    rows = []
    for arm, label in arms.items():
        strata = {key: measured.strata(suite, arm, key, from_load) for key in SHOWN}
        if not any(strata.values()):
            continue
        cells = [cell_of(effect(strata[key], seed=seed), form) for key, (_, form) in SHOWN.items()]
        count = len(strata["qoe_mean"][0])
        rows.append((Cell(label), Cell(str(count)), *cells))
    return Grid(f"{suite}, loads >= {from_load:g}" if from_load else suite, tuple(columns), tuple(rows))


def by_setting(measured: Measured, policy: str, reference: str, seed: int) -> dict[str, dict[str, Effect]]:
    """Policy less reference in mean QoE, by suite and setting, all its loads together."""
    found: dict[str, dict[str, Effect]] = {}
    for suite, places in measured.suites.items():
        for setting in dict.fromkeys(place.setting for place in places.places):
            one = difference(measured, suite, policy, reference, setting=setting, seed=seed)
            if one is not None:
                found.setdefault(suite, {})[setting] = one
    return found


def setting_section(measured: Measured, policy: str | None, references: Sequence[str], seed: int) -> Section:
    """Where the policy wins and where it does not."""
    if policy is None:
        return Section("Where the policy wins, and where not", ("Not measured: no policy takes part.",))
    against = {reference: by_setting(measured, policy, reference, seed) for reference in references}
    columns = (
        Column("suite", numeric=False),
        Column("setting", numeric=False),
        *(Column(f"over {one}") for one in references),
    )
    rows = tuple(
        (Cell(suite), Cell(setting), *(cell_of(found.get(suite, {}).get(setting)) for found in against.values()))
        for suite, places in measured.suites.items()
        for setting in dict.fromkeys(place.setting for place in places.places)
    )
    grid = Grid(f"{policy}: difference of mean QoE in each setting, over its loads", columns, rows)
    return Section("Where the policy wins, and where not", (), (grid,))


def ablation_section(
    measured: Measured, ablations: Mapping[str, Ablation], against: Sequence[str], overload: float, seed: int
) -> Section:
    """What is left without one part, against the policy and the best fixed setting.

    Args:
        measured: What came out.
        ablations: What is left out, by arm.
        against: Arms to compare with.
        overload: Lowest load that counts of the stationary suite.
        seed: Of the bootstrap.
    """
    parts = [(suite, least_load(suite, overload)) for suite in measured.suites]
    columns = [Column("left out", numeric=False), Column("who", numeric=False)]
    columns += [Column(f"{suite}: mean QoE over {reference}") for suite, _ in parts for reference in against]
    rows = []
    for name, ablation in ablations.items():
        cells = [
            cell_of(difference(measured, suite, name, other, least_load=load, seed=seed)) if other != name else Cell()
            for suite, load in parts
            for other in against
        ]
        rows.append((Cell(ablation.what), Cell(name), *cells))
    text = () if rows else ("None is configured (`ablations` of conf/results.yaml).",)
    grids = (Grid("What each part is worth", tuple(columns), tuple(rows), (_overload_note(overload),)),) if rows else ()
    return Section("Ablations", text, grids)


def _overload_note(overload: float) -> str:
    return f"held_out: loads >= {overload:g} only. A dash: not measured."
