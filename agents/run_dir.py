"""A run directory: resolved configuration, seed, versions, commit and results of one run, whatever else it writes."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]

from agents.schema import ConfigError
from andes_engine.report.provenance import commit, versions

CONFIG, VERSIONS, RESULTS = "config.yaml", "versions.json", "results.json"


@dataclass(frozen=True, slots=True)
class RunDir:
    """One run's files. `RunDir.create` starts a run, `RunDir.open` reads one.

    | file | content |
    |---|---|
    | `config.yaml` | the configuration, resolved |
    | `versions.json` | seed, commit (null outside a checkout), platform, package versions |
    | `results.json` | what came out |
    """

    path: Path

    @classmethod
    def create(cls, path: Path | str, config: Mapping[str, Any], seed: int, go_on: bool = False) -> RunDir:
        """Start a run.

        Args:
            path: Made if it is not there.
            config: The configuration, resolved.
            seed: The run's seed.
            go_on: Whether a run that is there goes on, now with this configuration; the caller has checked that it may.

        Raises:
            ConfigError: If another run is there already.
        """
        run = cls(Path(path))
        if (run.path / CONFIG).exists() and not go_on:
            raise ConfigError(f"{path} holds a run already; give another run_dir, or remove that one")
        run.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(plain(config), sort_keys=False, allow_unicode=True)
        write_text(run.path / CONFIG, text)
        run.write_json(VERSIONS, {"seed": seed, **made_with()})
        return run

    @classmethod
    def open(cls, path: Path | str) -> RunDir:
        """An existing run.

        Raises:
            ConfigError: If there is none.
        """
        if not (Path(path) / CONFIG).is_file():
            raise ConfigError(f"{path} is no run directory ({CONFIG} is missing); give the folder a run has printed")
        return cls(Path(path))

    def config(self) -> dict[str, Any]:
        """The configuration the run was made with."""
        return yaml.safe_load((self.path / CONFIG).read_text(encoding="utf-8"))

    def write_results(self, results: Mapping[str, Any]) -> Path:
        """Write what came out."""
        return self.write_json(RESULTS, results)

    def write_json(self, name: str, content: Mapping[str, Any]) -> Path:
        """Write a JSON file, complete or not at all."""
        return write_text(self.path / name, json.dumps(plain(content), indent=1, allow_nan=False))


def write_text(path: Path, text: str) -> Path:
    """Write a file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.part")
    staging.write_text(text, encoding="utf-8")
    staging.replace(path)
    return path


def made_with() -> dict[str, Any]:
    """Commit, platform and versions of this process; the commit is None outside a checkout."""
    found = commit()
    return {
        "commit": None if found == "unknown" else found,
        "platform": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": versions(),
    }


def plain(value: Any) -> Any:
    """A value as JSON and YAML know it: dataclasses and mappings as dicts, arrays as lists, NaN and infinity as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
