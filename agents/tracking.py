"""Where curves, tables and bundles go besides the run directory: Weights & Biases, TensorBoard, or nowhere."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agents.config import TrackingSettings
from agents.run_dir import plain
from agents.schema import ConfigError
from andes_engine.report.grid import Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEP = "env_steps"
"""The one step axis of all curves: environment decisions."""


class Tracker(Protocol):
    """What a run reports to."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves at `step` decisions."""

    def table(self, name: str, grid: Grid) -> None:
        """A finished table."""

    def figure(self, name: str, figure: Figure) -> None:
        """A finished figure."""

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """A policy bundle that this run has made."""

    def used(self, folder: Path, name: str, lineage: Mapping[str, Any]) -> None:
        """A policy bundle that another run has made and this one evaluates."""

    @property
    def identity(self) -> Mapping[str, str]:
        """What the tracker calls this run; kept in bundles, so that an evaluation can say which run trained them."""

    def close(self) -> None:
        """Write what is left."""


class NoTracker:
    """Keeps nothing; the run directory has it all anyway."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Nothing."""

    def table(self, name: str, grid: Grid) -> None:
        """Nothing."""

    def figure(self, name: str, figure: Figure) -> None:
        """Nothing."""

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """Nothing."""

    def used(self, folder: Path, name: str, lineage: Mapping[str, Any]) -> None:
        """Nothing."""

    @property
    def identity(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    def close(self) -> None:
        """Nothing."""


class TensorBoardTracker:
    """TensorBoard event files in `tensorboard/` of the run directory."""

    def __init__(self, run_dir: Path, config: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._name = run_dir.name
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

    def figure(self, name: str, figure: Figure) -> None:
        """The figure as an image."""
        import numpy as np

        self._writer.add_image(name, np.asarray(_picture(figure).convert("RGB")), dataformats="HWC")

    def artifact(self, folder: Path, name: str, metadata: Mapping[str, Any]) -> None:
        """Where the bundle is; TensorBoard keeps no files."""
        self._writer.add_text("bundle", f"{name}: {folder}")

    def used(self, folder: Path, name: str, lineage: Mapping[str, Any]) -> None:
        """Where the bundle is and where it came from."""
        self._writer.add_text("lineage", f"{name}: {folder}\n```\n{plain(lineage)}\n```")

    @property
    def identity(self) -> Mapping[str, str]:
        """Name of the run directory."""
        return {"tracker": "tensorboard", "run": self._name}

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

    def figure(self, name: str, figure: Figure) -> None:
        """The figure as an image."""
        import wandb

        self._run.log({name: wandb.Image(_picture(figure))})

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


def _picture(figure: Figure) -> Any:
    """The figure as an image of pillow, as its file in the run directory shows it."""
    from PIL import Image

    from andes_engine.report.figures import png_bytes

    return Image.open(io.BytesIO(png_bytes(figure)))


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
