"""Where curves, tables and bundles go besides the run directory: Weights & Biases, TensorBoard, or nowhere."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agents.config import TrackingSettings
from agents.run_dir import plain
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

        self._writer.add_image(name, np.asarray(picture(figure).convert("RGB")), dataformats="HWC")

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


def picture(figure: Figure) -> Any:
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
        from agents.wandb_tracker import WandbTracker

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
