"""Weights & Biases as a tracker, offline or online."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agents.config import TrackingSettings
from agents.run_dir import plain
from agents.schema import ConfigError
from agents.tracking import STEP, picture
from andes_engine.report.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WANDB_DIRS = ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR", "WANDB_ARTIFACT_DIR")
"""Where wandb keeps what is not a run; by default in the home directory."""

_NO_WEAVE = "WANDB_DISABLE_WEAVE"
"""Set while a run lasts: the name of our package `agents` makes wandb advertise its tracing of language model calls."""


class WandbTracker:
    """Weights & Biases; every file of it lies in `wandb/` of the run directory. `wandb sync` uploads an offline run later."""

    def __init__(self, settings: TrackingSettings, run_dir: Path, config: Mapping[str, Any], name: str) -> None:
        import wandb

        folder = run_dir.resolve() / "wandb"
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {**dict.fromkeys(_WANDB_DIRS, str(folder / "local")), _NO_WEAVE: "true"}
        self._set = [variable for variable in wanted if variable not in os.environ]
        os.environ.update({variable: wanted[variable] for variable in self._set})
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, save_code=False)
        wandb.setup(settings=quiet)
        try:
            self._run = wandb.init(
                project=settings.project,
                entity=settings.entity,
                group=settings.group,
                tags=list(settings.tags),
                name=name,
                dir=str(run_dir.resolve()),
                mode=settings.mode,  # type: ignore[arg-type]
                config=plain(config),
                settings=quiet,
            )
        except (wandb.errors.UsageError, wandb.errors.CommError, wandb.errors.AuthenticationError) as error:
            self._forget_variables()
            raise ConfigError(
                f"Weights & Biases cannot start with mode={settings.mode}: {error}; run `wandb login` or set WANDB_API_KEY, "
                "or use tracking.mode=offline, which needs neither network nor account"
            ) from None
        if settings.mode == "online":
            print(f"Weights & Biases: {self._run.url}")
        self._run.define_metric(STEP)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves."""
        self._run.log({STEP: step, **values})

    def table(self, name: str, grid: Grid) -> None:
        """The table, cells as text."""
        import wandb

        columns: list[str | int] = [f"{column.group} {column.label}".strip() for column in grid.columns]
        self._run.log({name: wandb.Table(columns=columns, data=[[cell.text for cell in row] for row in grid.rows])})

    def figure(self, name: str, figure: Figure) -> None:
        """The figure as an image."""
        import wandb

        self._run.log({name: wandb.Image(picture(figure))})

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """The bundle, with its provenance."""
        self._run.log_artifact(_artifact(folder, name, metadata))

    def used(self, folder: Path, name: str, lineage: Mapping[str, Any]) -> None:
        """The bundle as an input of this run.

        The artifact is made from the folder. Weights & Biases tells artifacts by their content, so where training has logged
        this bundle it becomes that version, and where nobody has, it is new. Offline, `use_artifact` refuses everything, though
        its own way of taking an artifact from a folder needs no network: `use_after_commit`, which `wandb sync` carries out.
        """
        self._run.config.update({"lineage": plain(lineage)})
        artifact = _artifact(folder, name, lineage)
        if self._run.offline:
            self._run._log_artifact(artifact, is_user_created=True, use_after_commit=True)
        else:
            self._run.use_artifact(artifact)

    @property
    def identity(self) -> Mapping[str, str]:
        """Project and id of the run."""
        return {"tracker": "wandb", "project": self._run.project, "run": self._run.id}

    def close(self) -> None:
        """Write what is left and end wandb's helper process."""
        import wandb

        self._run.finish()
        wandb.teardown()
        self._forget_variables()

    def _forget_variables(self) -> None:
        for variable in self._set:
            os.environ.pop(variable, None)


def _artifact(folder: Path, name: str, metadata: Mapping[str, Any]) -> Any:
    import wandb

    artifact = wandb.Artifact(name, type="policy", metadata=plain(metadata))
    artifact.add_dir(str(folder))
    return artifact
