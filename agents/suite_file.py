"""From the grids of `conf/suite/*.yaml` to settings; without a suite, the one engine and workload of the comparison."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

from agents.build import is_replayed
from agents.cli import group_names, group_settings
from agents.config import CompareConfig, WorkloadSettings
from agents.schema import ConfigError, from_mapping
from agents.suite import Setting, Suite
from agents.suite_settings import RECORDED, GridSettings
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError


def suite_of(config: CompareConfig) -> Suite:
    """What a comparison runs.

    Raises:
        ConfigError: If the suite is empty, or does not go with `trace`.
        UnknownNameError: If it names an engine or workload that is no file.
    """
    suite = config.suite
    if suite is None:
        return Suite("", (_one_setting(config),))
    if suite.needs_trace and not config.trace:
        raise ConfigError(
            f"suite '{suite.name}' replays a recorded trace: give trace=PATH (Azure's or BurstGPT's CSV, Mooncake's JSON lines, "
            "or a file of lengths)"
        )
    if config.trace and not suite.needs_trace:
        raise ConfigError(f"suite '{suite.name}' has traffic of its own; leave trace= out, or take suite=trace")
    grids = suite.grids.items()
    return Suite(suite.name, tuple(setting for name, grid in grids for setting in _settings(config, name, grid)))


def _one_setting(config: CompareConfig) -> Setting:
    workload = replace(config.workload, trace=config.trace) if config.trace else config.workload
    own_rate = is_replayed(workload) and not workload.rescale
    return Setting("", config.engine, workload, (None,) if own_rate else config.loads, config.seeds, config.split)


def _settings(config: CompareConfig, name: str, grid: GridSettings) -> Iterator[Setting]:
    where = f"suite.grids.{name}"
    engines = _engines(config, grid.engines, where)
    for engine, workload, labels in product(
        engines, _workloads(config, grid.workloads, where), _varied(grid.vary, where)
    ):
        traffic = _changed(workload, labels, where)
        asked = config.loads if grid.loads is None else grid.loads
        loads = _loads(asked, traffic, where)
        if asked and not loads:  # only `recorded`, of a file without times
            continue
        yield Setting(
            f"{engine.name}, {traffic.name}",
            engine,
            traffic,
            loads,
            config.seeds if grid.seeds is None else grid.seeds,
            grid.split or config.split,
        )


def _engines(config: CompareConfig, given: Any, where: str) -> list[EngineConfig]:
    if given is None:
        return [config.engine]
    chosen = _chosen("engine", given, where, config.trace)
    return [from_mapping(EngineConfig, settings, f"{where}.engines.{name}") for name, settings in chosen]


def _workloads(config: CompareConfig, given: Any, where: str) -> list[WorkloadSettings]:
    if given is None:
        return [replace(config.workload, trace=config.trace)]
    chosen = _chosen("workload", given, where, config.trace)
    return [from_mapping(WorkloadSettings, settings, f"{where}.workloads.{name}") for name, settings in chosen]


def _chosen(group: str, given: Any, where: str, trace: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings of each engine or workload, under the name it has in the suite."""
    if not isinstance(given, Mapping | list | tuple):
        raise ConfigError(f"{where}.{group}s = {given!r} must be a list of names, or a mapping of names to settings")
    entries = given.items() if isinstance(given, Mapping) else ((name, {}) for name in given)
    for name, changes in entries:
        if not isinstance(changes, Mapping | None):
            raise ConfigError(f"{where}.{group}s.{name} = {changes!r} must be a mapping of settings that differ")
        changed = dict(changes or {})
        base = str(changed.pop(group, name))
        if base not in (known := group_names(group)):
            raise UnknownNameError(f"{group} in {where}", base, known)
        yield str(name), {**group_settings(group, base, trace=trace), **changed, "name": str(name)}


Labelled = tuple[str, str, Any]
"""A setting of a workload, what its value is called, and the value."""


def _varied(vary: Mapping[str, Any], where: str) -> Iterable[tuple[Labelled, ...]]:
    return product(*(_axis(key, values, f"{where}.vary.{key}") for key, values in vary.items()))


def _axis(key: str, values: Any, where: str) -> list[Labelled]:
    known = [name for name in WorkloadSettings.__dataclass_fields__ if name != "name"]
    if key not in known:
        raise UnknownNameError(f"setting of a workload in {where}", key, known)
    if isinstance(values, Mapping):
        return [(key, str(label), value) for label, value in values.items()]
    if isinstance(values, list | tuple):
        return [(key, str(value), value) for value in values]
    raise ConfigError(f"{where} = {values!r} must be a list of values, or a mapping of labels to values")


def _changed(workload: WorkloadSettings, labels: tuple[Labelled, ...], where: str) -> WorkloadSettings:
    if not labels:
        return workload
    given = {name: getattr(workload, name) for name in WorkloadSettings.__dataclass_fields__}
    changes = {key: value for key, _, value in labels}
    name = ", ".join([workload.name, *(label for _, label, _ in labels)])
    return from_mapping(WorkloadSettings, {**given, **changes, "name": name}, f"{where}.vary")


def _loads(given: Iterable[Any], workload: WorkloadSettings, where: str) -> tuple[float | None, ...]:
    loads: list[float | None] = []
    for load in given:
        if load == RECORDED:
            if not workload.trace:
                raise ConfigError(
                    f"{where}.loads: workload '{workload.name}' replays no trace, so it has no recorded rate"
                )
            loads += [None] if is_replayed(workload) else []
        elif isinstance(load, int | float) and not isinstance(load, bool):
            loads.append(float(load))
        else:
            raise ConfigError(f"{where}.loads: {load!r} must be a share of saturation, or '{RECORDED}'")
    return tuple(loads)
