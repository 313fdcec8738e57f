"""The whole road once: train in the simulator, compare, export, serve the bundle in live vLLM, report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agents.compare import CompareResult, compare
from agents.config import CompareConfig, TrainConfig
from agents.live import LiveResult, LiveSettings, live_runs, throughput_lost
from agents.run_dir import RunDir, plain
from agents.schema import from_mapping
from agents.train import TrainResult, train
from andes_engine.contender import Contender
from andes_engine.metrics import summarize
from andes_engine.policy.bundle import load_bundle
from andes_engine.report.fidelity import AT_SPEED, LIVE
from andes_engine.report.grid import Grid, to_markdown, to_rich
from andes_engine.report.tables import compare as summaries
from andes_engine.report.tables import comparison_grid

LIVE_TITLE = "The same burst in the simulator and in live vLLM"


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """`conf/demo.yaml`.

    Args:
        seed: Seed of training and of the bootstrap.
        run_dir: Where everything goes.
        train: Overrides of `conf/train.yaml`.
        compare: Overrides of `conf/compare.yaml`.
        live: The burst replayed on live vLLM; null leaves it out.
        trace: Recorded trace to compare on as well.
        trace_requests: Requests of it to replay.
    """

    seed: int
    run_dir: str
    train: tuple[str, ...]
    compare: tuple[str, ...]
    live: LiveSettings | None
    trace: str | None = None
    trace_requests: int = 1000


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo leaves."""

    report: Path
    table: Path
    seconds: Mapping[str, float]


def demo(config: DemoConfig, console: Console) -> DemoResult:
    """Run the demo and tell how it goes.

    Raises:
        AndesError: If the configuration or the trace cannot work; before training starts.
    """
    return Demo(config, console).run()


class Demo:
    """One demo; owns its run directory and its clock."""

    def __init__(self, config: DemoConfig, console: Console) -> None:
        self.config = config
        self.console = console
        self.seconds: dict[str, float] = {}
        self.train_config = _composed(TrainConfig, "train", [*config.train, f"seed={config.seed}"], self._at("train"))
        self.compare_config = _composed(CompareConfig, "compare", list(config.compare), self._at("compare"))
        self.trace_config = self._trace_config()
        self.run_dir = RunDir.create(config.run_dir, plain(config), config.seed)

    def run(self) -> DemoResult:
        """Train, compare, serve, report."""
        trained = self._timed("train in the simulator", lambda: train(self.train_config))
        self.console.print("\n".join(trained.lines()))
        policy = str(trained.bundle)
        compared = [self._timed("compare on held-out seeds", lambda: self._compare(self.compare_config, policy))]
        if self.trace_config:
            trace_config = self.trace_config
            compared.append(self._timed("compare on the trace", lambda: self._compare(trace_config, policy)))
        live = self._timed("serve the bundle in live vLLM", lambda: self._live(trained)) if self.config.live else None
        return self._report(trained, compared, live)

    def _at(self, part: str) -> Path:
        return Path(self.config.run_dir) / part

    def _trace_config(self) -> CompareConfig | None:
        if not self.config.trace:
            return None
        from agents.suite_file import suite_of

        overrides = [
            *self.config.compare,
            "workload=trace",
            "workload.rescale=true",
            "workload.duration_s=null",
            f"workload.requests={self.config.trace_requests}",
        ]
        made = _composed(CompareConfig, "compare", overrides, self._at("compare_trace"), trace=self.config.trace)
        suite_of(made).settings[0].scenarios()  # a bad trace is told now, not after minutes of training
        return made

    def _timed(self, title: str, task: Any) -> Any:
        self.console.rule(title)
        started_s = time.monotonic()
        result = task()
        self.seconds[title] = time.monotonic() - started_s
        return result

    def _compare(self, config: CompareConfig, policy: str) -> CompareResult:
        from dataclasses import replace

        result = compare(replace(config, policy=policy))
        for grid in result.grids:
            self.console.print(to_rich(grid))
        return result

    def _live(self, trained: TrainResult) -> LiveResult:
        assert self.config.live is not None
        bundle = load_bundle(trained.bundle)
        contenders = [Contender("fcfs", "fcfs"), Contender("andes"), Contender(bundle.name, bundle=bundle)]
        result = live_runs(self.config.live, contenders)
        self.console.print(to_rich(live_grid(result, "rows")))
        return result

    def _report(self, trained: TrainResult, compared: Sequence[CompareResult], live: LiveResult | None) -> DemoResult:
        from agents.demo_report import write_demo_report

        grids = [grid for result in compared for grid in result.grids]
        if live:
            grids = [live_grid(live), *grids]
        table = self.run_dir.path / "table.md"
        table.write_text(to_markdown(*_readme_grids(compared, live)), encoding="utf-8")
        report = write_demo_report(self.run_dir.path, self.config, trained, compared, live, grids)
        runs = {"simulated": live.simulated, "at_speed": live.at_speed, "live": live.live} if live else {}
        self.run_dir.write_results(
            {
                "seconds": self.seconds,
                "live": {
                    tier: [{"scheduler": run.scheduler, **summarize(run), **run.notes} for run in records]
                    for tier, records in runs.items()
                },
                "calibration": live.calibration if live else None,
            }
        )
        return DemoResult(report, table, self.seconds)


def live_grid(result: LiveResult, layout: Any = "columns") -> Grid:
    """Simulator, as calibrated and as fast as each live run, and live vLLM side by side, on the same requests."""
    blocks = {"simulator": result.simulated, AT_SPEED: result.at_speed, LIVE: result.live}
    return comparison_grid(summaries(blocks), LIVE_TITLE, layout)


def live_sentences(result: LiveResult) -> list[str]:
    """What the live runs say, in words."""
    names = list(dict.fromkeys(run.scheduler for run in result.live))
    means = {name: [float(run.qoe.mean()) for run in result.live if run.scheduler == name] for name in names}
    exact = all((run.emitted_tokens == run.workload.output_tokens).all() for run in result.live)
    reference, called = ("fcfs", "FCFS") if "fcfs" in names else (names[0], names[0])
    said = [
        f"Live vLLM, {name}: mean QoE {sum(means[name]) / len(means[name]):.3f} against "
        f"{sum(means[reference]) / len(means[reference]):.3f} under {called}, "
        f"{throughput_lost(result.live, name, reference):.0%} of the throughput lost."
        for name in names
        if name != reference
    ]
    ending = "exactly its number of tokens" if exact else "NOT exactly its number of tokens"
    return [
        *said,
        f"Every live request got {ending}, {sum(int(r.preemptions.sum()) for r in result.live)} preemptions in all.",
    ]


def _readme_grids(compared: Sequence[CompareResult], live: LiveResult | None) -> list[Grid]:
    grids = [live_grid(live, "rows")] if live else []
    return [*grids, *(result.grids[-1] for result in compared)]


def _composed(kind: Any, name: str, overrides: list[str], run_dir: Path, **more: object) -> Any:
    """A configuration of another script, composed as that script would.

    `agents.cli.compose` is for outside a Hydra job; inside one, where this runs, its own initialisation gets in the way.
    """
    from hydra import compose
    from omegaconf import OmegaConf

    from agents.cli import with_own_schedulers

    cfg = compose(config_name=name, overrides=with_own_schedulers(overrides))
    settings: Any = OmegaConf.to_container(cfg, resolve=True)
    return from_mapping(kind, {**settings, "run_dir": str(run_dir), **more})
