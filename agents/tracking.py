"""Where curves, tables and bundles go besides the run directory: Weights & Biases, TensorBoard, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from agents.config import TrackingSettings
from agents.run_dir import plain
from agents.schema import ConfigError
from andes_engine.report.grid import Grid

STEP = "env_steps"
"""The one step axis of all curves: environment decisions."""


class Tracker(Protocol):
    """What a run reports to."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves at `step` decisions."""

    def table(self, name: str, grid: Grid) -> None:
        """A finished table."""

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """A policy bundle."""

    def close(self) -> None:
        """Write what is left."""


class NoTracker:
    """Keeps nothing; the run directory has it all anyway."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def table(self, name: str, grid: Grid) -> None:
        """Nothing."""

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoardTracker:
    """TensorBoard event files in `tensorboard/` of the run directory."""

    def __init__(self, run_dir: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(run_dir / "tensorboard"))
        self._writer.add_text("config", f"```\n{plain(config)}\n```")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def table(self, name: str, grid: Grid) -> None:
        """The table as Markdown."""
        from andes_engine.report.grid import to_markdown

        self._writer.add_text(name, to_markdown(grid))

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """Where the bundle is; TensorBoard keeps no files."""
        self._writer.add_text("bundle", f"{name}: {folder}")

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


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

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """The bundle, with its provenance."""
        import wandb

        artifact = wandb.Artifact(name, type="policy", metadata=plain(metadata))
        artifact.add_dir(str(folder))
        self._run.log_artifact(artifact)

    def close(self) -> None:
        """Write what is left and end wandb's helper process."""
        import wandb

        self._run.finish()
        wandb.teardown()
        self._forget_variables()

    def _forget_variables(self) -> None:
        for variable in self._set:
            os.environ.pop(variable, None)


def make_tracker(settings: TrackingSettings, run_dir: Path, config: Mapping[str, Any], name: str) -> Tracker:
    """The configured tracker.

    Raises:
        ConfigError: If Weights & Biases cannot start.
    """
    if settings.kind == "wandb":
        return WandbTracker(settings, run_dir, config, name)
    return TensorBoardTracker(run_dir, config) if settings.kind == "tensorboard" else NoTracker()


@contextmanager
def tracking(settings: TrackingSettings, run_dir: Path, config: Mapping[str, Any], name: str) -> Iterator[Tracker]:
    """A tracker that is closed whatever happens."""
    tracker = make_tracker(settings, run_dir, config, name)
    try:
        yield tracker
    finally:
        tracker.close()
