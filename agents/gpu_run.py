"""What the schedulers are worth on this machine's GPU: calibrate, replay bursts under each, judge them burst by burst."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents.build import contenders_from
from agents.calibrate import PRESET, calibration_grid, save_measured
from agents.config import SchedulerSettings
from agents.demo import live_grid, live_sentences
from agents.demo_report import live_figures
from agents.live import LiveResult, LiveSettings, live_runs
from agents.live_benefit import burst_differences, burst_entries
from agents.random_models import CPU, CUDA, MODELS, Served
from agents.random_policy import random_bundle
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError
from andes_engine.contender import Contender
from andes_engine.errors import AndesError, UnknownNameError, check_known
from andes_engine.report.differences import difference_grid
from andes_engine.report.figures import save
from andes_engine.report.grid import Grid, to_markdown
from andes_engine.vllm import adapter
from andes_engine.vllm.episode import LiveConfig

_GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class GpuRunConfig:
    """`conf/gpu_run.yaml`; the first contender is the one the others are judged against.

    Args:
        seed: Of the bootstrap, and of the random policy.
        run_dir: Where everything goes.
        contenders: Schedulers with fixed knobs.
        live: Bursts; its lengths are the model's.
        model: One of `MODELS`.
        device: `cuda`, or `cpu` to try the procedure.
        engine: Changes to the model's engine, such as more `kv_blocks` on a larger card.
        policy: Folder of a policy bundle that takes part as well; one with random weights by default.
    """

    seed: int
    run_dir: str
    contenders: Mapping[str, SchedulerSettings]
    live: LiveSettings
    model: str = "llama3_8b"
    device: str = CUDA
    engine: Mapping[str, int | bool] = field(default_factory=dict)
    policy: str | None = None

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)
        if self.device not in (CUDA, CPU):
            raise UnknownNameError("device", self.device, (CUDA, CPU))
        if self.device not in MODELS[self.model].devices:
            raise ConfigError(f"model={self.model} needs device={CUDA}; on a CPU try model=tiny device={CPU}")

    @property
    def served(self) -> Served:
        """The model and its engine as changed.

        Raises:
            AndesError: If a change is none of an engine's.
        """
        chosen = MODELS[self.model]
        check_known("setting of the engine", self.engine, LiveConfig.__dataclass_fields__)
        return chosen._replace(engine=replace(chosen.engine, **self.engine))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class GpuRunResult:
    """Tables, sentences, and the file of results."""

    grids: tuple[Grid, ...]
    sentences: list[str]
    results: Path


def gpu_run(config: GpuRunConfig) -> GpuRunResult:
    """Calibrate, replay every burst under every contender, judge the differences, write one file of results and the figures.

    Raises:
        AndesError: If there is no such device, or the configuration cannot work; nothing has run then.
        ImportError: If vLLM is not installed; the message says which extra to install.
    """
    adapter.require_vllm()
    served, machine = config.served, device_facts(config.device)
    contenders = _contenders(config)
    run, started_s = RunDir.create(config.run_dir, plain(config), config.seed), time.monotonic()
    bursts = replace(config.live, lengths=served.lengths)
    result = live_runs(bursts, contenders, served.engine, served.near, check=True)
    assert result.unseen is not None
    found = burst_differences(result.live, contenders[0].name, config.seed)
    where = f"{config.model} with random weights on {machine['name']}"
    grids = (
        calibration_grid(result.calibration, result.unseen, result.host_s),
        live_grid(result, "rows"),
        difference_grid(found, f"{where}, paired over bursts"),
    )
    (run.path / "table.md").write_text(to_markdown(*grids), encoding="utf-8")
    save_measured(result.calibration, run.path / PRESET, served.engine, str(machine["name"]), "scripts.gpu_run")
    facts = {
        **made_with(),
        "config": {name: value for name, value in plain(config).items() if name != "run_dir"},
        "device": machine,
        "served": served,
        "calibration": result.calibration,
        "unseen": result.unseen,
        "host_s": result.host_s,
        "copy_s_per_block": result.copy_s_per_block,
        "live": {"live": burst_entries(result.live), "simulated": burst_entries(result.simulated)},
        "differences": found,
        "figures": _figures(run.path, result),
        "seconds": {"calibrate and replay the bursts": time.monotonic() - started_s},
    }
    return GpuRunResult(grids, live_sentences(result), run.write_results(facts))


def device_facts(device: str) -> dict[str, Any]:
    """What the machine is called, and what its GPU is.

    Raises:
        AndesError: If a GPU is asked for and PyTorch sees none.
    """
    import torch

    if device == CPU:
        return {"device": CPU, "name": "a CPU, one thread"}
    if not torch.cuda.is_available():
        raise AndesError(
            f"no CUDA device here (PyTorch {torch.__version__}, built for {torch.version.cuda or 'no CUDA'}); where one is, "
            "run VLLM=gpu make gpu; to try the procedure, give device=cpu model=tiny"
        )
    card = torch.cuda.get_device_properties(0)
    return {
        "device": CUDA,
        "name": card.name,
        "memory_gib": card.total_memory / _GIB,
        "capability": f"{card.major}.{card.minor}",
        "cuda": torch.version.cuda,
    }


def _contenders(config: GpuRunConfig) -> list[Contender]:
    contenders = contenders_from(config.contenders, config.policy)
    return (
        contenders if config.policy else [*contenders, Contender("random", bundle=random_bundle("random", config.seed))]
    )


def _figures(folder: Path, result: LiveResult) -> list[str]:
    """Save the figures; returns their names in the run's folder."""
    written = []
    for entry in live_figures(result):
        svg, _ = save(entry.figure, folder / "figures" / f"gpu_{entry.title.lower().replace(' ', '_')}")
        written.append(str(svg.relative_to(folder)))
    return written
