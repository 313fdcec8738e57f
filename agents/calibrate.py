"""Measure how fast this machine serves, and keep it as a step-time preset that an engine's configuration can name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agents.run_dir import RunDir, plain
from agents.schema import ConfigError
from andes_engine.report.grid import Cell, Column, Grid, to_markdown
from andes_engine.step_time import FitReport, UnseenError, preset, save_preset
from andes_engine.vllm.episode import LiveConfig

PRESET = "step_time.json"


@dataclass(frozen=True, slots=True)
class CalibrateConfig:
    """`conf/calibrate.yaml`.

    Args:
        seed: For the record; the grid is the same each time.
        run_dir: Where the preset, the table and the errors go.
        engine: Size of the model and the engine that is booted.
        near: Preset or file of about this machine's speed; it only spaces the requests.
        repeats: Times the grid is run.
    """

    seed: int
    run_dir: str
    engine: LiveConfig
    near: str = "cpu_tiny_llama"
    repeats: int = 2

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ConfigError(f"repeats = {self.repeats} must be at least 1")


@dataclass(frozen=True, slots=True)
class CalibrateResult:
    """The fit, its error on other traffic, both as a table, the preset's file, and the price of host memory."""

    fitted: FitReport
    unseen: UnseenError
    grid: Grid
    preset: Path
    copy_s_per_block: float | None
    """Time to copy a KV block to host memory or back, s; None where the engine has no host memory."""
    host_s: float
    """vLLM's own time in an iteration, median, s: part of what was fitted."""


def calibrate(config: CalibrateConfig) -> CalibrateResult:
    """Boot the live engine, run the grid, fit, test the fit on other traffic, and write the preset.

    Raises:
        AndesError: If the configuration cannot work; nothing has run then.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    near = preset(config.near)
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    from andes_engine.vllm.run import LiveRunner

    with LiveRunner(config.engine, near) as runner:
        fitted = runner.calibrate(config.repeats)
        unseen = runner.check()
        copy_s = runner.copy_s_per_block if config.engine.host_kv_blocks else None
        host_s = runner.host_s
    grid = calibration_grid(fitted, unseen, host_s, copy_s)
    path = save_measured(fitted, run_dir.path / PRESET, config.engine, "this machine", "scripts.calibrate")
    (run_dir.path / "table.md").write_text(to_markdown(grid), encoding="utf-8")
    run_dir.write_results({"fit": fitted, "unseen": unseen, "host_s": host_s, "host_copy_s_per_block": copy_s})
    return CalibrateResult(fitted, unseen, grid, path, copy_s, host_s)


def save_measured(fitted: FitReport, path: Path, engine: LiveConfig, machine: str, script: str) -> Path:
    """Write a fit as a preset that says where it comes from."""
    shape = engine.model_shape
    return save_preset(
        fitted.model,
        path,
        engine=f"{machine}, {shape.hidden} x {shape.layers} random Llama, in-process vLLM",
        mape_percent=[100.0 * fitted.decode.cv_mape, 100.0 * fitted.mixed.cv_mape],
        kv_tokens=engine.usable_kv_tokens,
        source=f"measured by {script}",
        licence="none needed, a measurement of your own",
    )


def calibration_grid(
    fitted: FitReport, unseen: UnseenError, host_s: float, copy_s_per_block: float | None = None
) -> Grid:
    """R2 and MAPE of each regime: in sample, cross-validated, and on other traffic."""
    columns = (
        Column("iterations", numeric=False),
        Column("samples"),
        Column("outliers"),
        *(Column(score, where) for where in ("fitted", "cross-validated") for score in ("R²", "MAPE")),
        Column("MAPE", "other traffic"),
    )
    rows = [
        (
            Cell(name),
            Cell(str(regime.samples)),
            Cell(str(regime.outliers)),
            Cell(f"{regime.r_squared:.3f}"),
            Cell(f"{regime.mape:.1%}"),
            Cell(f"{regime.cv_r_squared:.3f}"),
            Cell(f"{regime.cv_mape:.1%}"),
            Cell(f"{error:.1%}"),
        )
        for name, regime, error in (
            ("decode only", fitted.decode, unseen.decode_mape),
            ("with prefill", fitted.mixed, unseen.mixed_mape),
        )
    ]
    tried = ", ".join(f"{form} {error:.1%}" for form, error in fitted.tried.items())
    notes = (
        f"With prefill: the {fitted.form} form; cross-validated MAPE of those tried: {tried}.",
        f"All iterations of the other traffic together: {unseen.total:+.1%}.",
        f"In it, vLLM's own time (scheduling, output): {1e3 * host_s:.2f} ms in an iteration, median.",
        *_copy_note(copy_s_per_block),
    )
    return Grid("Step-time model of this machine", columns, tuple(rows), notes)


def _copy_note(copy_s_per_block: float | None) -> tuple[str, ...]:
    if copy_s_per_block is None:
        return ()
    return (f"A KV block to host memory or back: {copy_s_per_block * 1e6:.1f} µs.",)
