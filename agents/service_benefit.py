"""What Andes is worth to clients of a real server, with or without a GPU: the same bursts under vLLM's own order and Andes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from agents.build import held_out_bursts
from agents.config import WorkloadSettings
from agents.random_models import MODELS, Served
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError
from agents.serve import MADE_UP, SCHEDULER_CLASS, device_arguments, launcher_command, made_up_model
from agents.served import free_port, served
from andes_engine.client.open_loop import OpenLoop, open_session
from andes_engine.client.outcome import client_record
from andes_engine.client.server import find_target, server_preemptions
from andes_engine.engine import EngineConfig
from andes_engine.errors import UnknownNameError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.step_time import preset
from andes_engine.vllm.contenders import simulated_twin
from andes_engine.vllm.emulation import Emulation
from andes_engine.vllm.live_engine import SMALL_ENGINE
from andes_engine.workload import Workload

REFERENCE, CANDIDATE = "fcfs", "andes"
BLOCK_TOKENS, LONGEST_TOKENS = 16, 8192


@dataclass(frozen=True, slots=True)
class ServiceBenefitConfig:
    """`conf/service_benefit.yaml`.

    Args:
        seed: Of the prompts.
        run_dir: Where everything goes.
        workload: Traffic; its arrivals stop after `duration_s`.
        emulate: An emulated device, as in `conf/serve.yaml`; null for this machine's own.
        model: One of `random_models.MODELS`, for this machine's own.
        step_time: Speed of this machine, preset or file (`scripts.gpu_run` writes one); by default of the model's usual device.
        load: Arrival rate in shares of what FCFS saturates at on this device.
        bursts: Bursts, each from a held-out seed of its own.
        bench_requests: Requests that `vllm bench serve` sends as well; 0 for none.
        bench_rate: Their rate, requests/s, .inf for all at once; that of the bursts by default.
        trace: Recorded trace to draw from; reaches the workload through its file.

    Raises:
        ConfigError: If there is nothing to run.
    """

    seed: int
    run_dir: str
    workload: WorkloadSettings
    emulate: Any = None
    model: str | None = None
    step_time: str | None = None
    load: float = 2.0
    bursts: int = 3
    bench_requests: int = 200
    bench_rate: float | None = None
    trace: str | None = None

    def __post_init__(self) -> None:
        if not (self.load > 0.0 and self.bursts >= 1 and self.bench_requests >= 0):
            raise ConfigError(
                f"need load > 0, bursts >= 1, bench_requests >= 0, got {self.load}, {self.bursts}, {self.bench_requests}"
            )
        if (self.emulate is None) == (self.model is None):
            raise ConfigError(
                f"emulate = {self.emulate!r} and model = {self.model!r}: give one of them, such as emulate=null "
                f"model=llama3_8b for this machine's GPU"
            )
        if self.model is not None and self.model not in MODELS:
            raise UnknownNameError("model", self.model, MODELS)
        if self.bench_rate is not None and not self.bench_rate > 0.0:
            raise ConfigError(f"bench_rate = {self.bench_rate} must be > 0 requests/s, or .inf")


@dataclass(frozen=True, slots=True)
class ServiceBenefit:
    """Records of the same bursts by scheduler, and what `vllm bench serve` measured."""

    records: Mapping[str, Sequence[RunRecord]]
    bench: Mapping[str, Mapping[str, float]]

    def gains(self, key: str) -> list[float]:
        """Andes minus FCFS, burst by burst."""
        pairs = zip(self.records[CANDIDATE], self.records[REFERENCE], strict=True)
        return [summary(mine)[key] - summary(theirs)[key] for mine, theirs in pairs]

    @property
    def throughput_lost(self) -> list[float]:
        """Share of FCFS's tokens/s, burst by burst."""
        pairs = zip(self.records[CANDIDATE], self.records[REFERENCE], strict=True)
        return [1.0 - summary(mine)["tokens_per_s"] / summary(theirs)["tokens_per_s"] for mine, theirs in pairs]

    def as_dict(self) -> dict[str, Any]:
        """For JSON and for the README."""
        return {
            "qoe_mean_gain": self.gains("qoe_mean"),
            "throughput_lost": self.throughput_lost,
            "bursts": {name: [summary(record) for record in records] for name, records in self.records.items()},
            "vllm_bench_serve": self.bench,
        }

    def sentences(self) -> list[str]:
        """Margins with their spread, burst by burst."""
        return [
            f"mean QoE, Andes minus FCFS: {spread(self.gains('qoe_mean'), '+.3f')}",
            f"QoE p10, Andes minus FCFS: {spread(self.gains('qoe_p10'), '+.3f')}",
            f"throughput lost: {spread(self.throughput_lost, '.1%')}",
        ]


def summary(record: RunRecord) -> dict[str, float]:
    """Metrics of one burst at the client, with the 99th percentile of TTFT."""
    ttft_s = record.ttft_s[np.isfinite(record.ttft_s)]
    p99_s = float(np.quantile(ttft_s, 0.99)) if len(ttft_s) else float("nan")
    return {"requests": float(len(record.workload)), **summarize(record), "ttft_p99_s": p99_s, **record.notes}


def spread(values: Sequence[float], form: str) -> str:
    """Median, and all of them."""
    return f"median {np.median(values):{form}} ({', '.join(format(value, form) for value in values)})"


def service_benefit(config: ServiceBenefitConfig) -> ServiceBenefit:
    """Serve and load under each scheduler in turn, and write what came out.

    Raises:
        AndesError: If the configuration cannot work, or a server does not come up.
    """
    device = device_of(config)
    bursts = held_out_bursts(device.engine, config.workload, config.load, config.bursts)
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    records: dict[str, list[RunRecord]] = {}
    bench: dict[str, dict[str, float]] = {}
    for name in (REFERENCE, CANDIDATE):
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with served(device.server_command(name, port), url, run_dir.path / f"{name}.log", device.environment):
            records[name] = [asyncio.run(_replay(config, url, name, device.engine.name, burst)) for burst in bursts]
            if config.bench_requests:
                bench[name] = _bench(
                    config.bench_requests, config.bench_rate or bursts[0].rate, url, run_dir.path, name
                )
    found = ServiceBenefit(records, bench)
    settings = {name: value for name, value in plain(config).items() if name != "run_dir"}
    run_dir.write_results({**made_with(), "config": settings, **found.as_dict()})
    return found


class Device(NamedTuple):
    """What serves: an emulated device, or a model on this machine's own; `speed` is its step-time preset, or the file of one."""

    speed: str
    engine: EngineConfig
    emulation: Emulation | None = None
    served: Served | None = None

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the server."""
        return {} if self.served is None else SMALL_ENGINE

    def server_command(self, name: str, port: int) -> list[str]:
        """VLLM's own scheduler, or ours with its defaults."""
        folder: str | None = None
        flags = ["--max-model-len", str(self.engine.max_model_len_tokens)]
        if self.served is not None:
            folder, *rest = self.served.serve_arguments()
            flags = [*rest, "--served-model-name", MADE_UP]
        ours = ["--scheduler-cls", SCHEDULER_CLASS] if name == CANDIDATE else []
        andes = {"scheduler": name, "step_time": self.speed}
        return [*launcher_command(folder, "127.0.0.1", port), *flags, *ours, *device_arguments(andes, self.emulation)]


def device_of(config: ServiceBenefitConfig) -> Device:
    """The device that is asked for.

    Raises:
        AndesError: If its speed or its size is none.
    """
    if config.model is not None:
        served = MODELS[config.model]
        speed = config.step_time or served.near
        return Device(speed, simulated_twin(served.engine, preset(speed)), served=served)
    emulation = Emulation.from_section({"emulate": config.emulate})
    tokens = emulation.capacity_tokens
    engine = EngineConfig(
        emulation.engine,
        emulation.step_time,
        tokens // BLOCK_TOKENS,
        BLOCK_TOKENS,
        max_num_seqs=1024,
        max_model_len_tokens=min(tokens, LONGEST_TOKENS),
    )
    return Device(emulation.engine, engine, emulation)


async def _replay(config: ServiceBenefitConfig, url: str, name: str, engine: str, burst: Workload) -> RunRecord:
    async with open_session() as session:
        target = await find_target(session, url, None)
        before = await server_preemptions(session, url)
        loop = OpenLoop(session, target, burst, config.seed)
        duration_s = await loop.run()
        after = await server_preemptions(session, url)
    preemptions = None if before is None or after is None else after - before
    return client_record(burst, loop.sent, engine, name, duration_s, server_preemptions=preemptions)


BENCH_KEYS = (
    *("completed", "failed", "duration", "output_throughput"),
    *("mean_ttft_ms", "median_ttft_ms", "p99_ttft_ms", "median_tpot_ms"),
)


def _bench(requests: int, rate: float, url: str, folder: Path, name: str) -> dict[str, float]:
    """`vllm bench serve`, unmodified: it knows nothing of readers, so every request has the server's default expectation."""
    command = [
        *(sys.executable, "-m", "andes_engine.vllm.launcher", "bench", "serve", "--base-url", url),
        *("--model", MADE_UP, "--tokenizer", str(made_up_model()), "--dataset-name", "random", "--ignore-eos"),
        *("--random-input-len", "100", "--random-output-len", "115", "--random-range-ratio", "0.5"),
        *("--num-prompts", str(requests), "--request-rate", f"{rate:.6g}", "--seed", "0", "--disable-tqdm"),
        *("--save-result", "--result-dir", str(folder), "--result-filename", f"bench_{name}.json"),
    ]
    with (folder / f"bench_{name}.log").open("w") as log:
        subprocess.run(command, stdout=log, stderr=log, check=True)
    result = json.loads((folder / f"bench_{name}.json").read_text(encoding="utf-8"))
    return {key: float(result[key]) for key in BENCH_KEYS if key in result}
