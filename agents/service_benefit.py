"""What schedulers are worth to clients of a real server, with or without a GPU: the same bursts under each in turn."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.build import held_out_bursts, policies_from
from agents.config import SchedulerSettings, WorkloadSettings
from agents.random_models import MODELS
from agents.run_dir import RunDir, made_with, plain
from agents.schema import ConfigError
from agents.serve import MADE_UP, keep_kv_flags, made_up_model
from agents.served import free_port, served
from agents.service_device import Device, emulated_device, own_device
from andes_engine.client.open_loop import OpenLoop, open_session
from andes_engine.client.outcome import client_record
from andes_engine.client.server import find_target, server_preemptions
from andes_engine.contender import Contender
from andes_engine.errors import UnknownNameError
from andes_engine.metrics import summarize
from andes_engine.records import RunRecord
from andes_engine.workload import Workload

GAINS = ("qoe_mean", "qoe_p10")


@dataclass(frozen=True, slots=True)
class ServiceBenefitConfig:
    """`conf/service_benefit.yaml`; the first contender is the one the others are judged against.

    Args:
        seed: Of the prompts.
        run_dir: Where everything goes.
        workload: Traffic; its arrivals stop after `duration_s`.
        contenders: Schedulers with fixed knobs; `fcfs` is vLLM's own, served without our scheduler.
        policy: Policies that take part as well: a bundle's folder, `zoo/NAME`, or several.
        emulate: An emulated device, as in `conf/serve.yaml`; null for this machine's own.
        model: One of `random_models.MODELS`, for this machine's own.
        step_time: Speed of this machine, preset or file (`scripts.gpu_run` writes one); by default of the model's usual device.
        load: Arrival rate in shares of what FCFS saturates at on this device.
        bursts: Bursts, each from a held-out seed of its own.
        bench_requests: Requests that `vllm bench serve` sends as well; 0 for none.
        bench_rate: Their rate, requests/s, .inf for all at once; that of the bursts by default.
        trace: Recorded trace to draw from; reaches the workload through its file.
        keep_kv_gib: Host memory, GiB, for the KV caches of preempted requests of who is meant to keep them; else recomputed.

    Raises:
        ConfigError: If there is nothing to run.
    """

    seed: int
    run_dir: str
    workload: WorkloadSettings
    contenders: Mapping[str, SchedulerSettings] = field(default_factory=dict)
    policy: str | list[str] | None = None
    emulate: Any = None
    model: str | None = None
    step_time: str | None = None
    load: float = 2.0
    bursts: int = 3
    bench_requests: int = 200
    bench_rate: float | None = None
    trace: str | None = None
    keep_kv_gib: float | None = None

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

    @property
    def device(self) -> Device:
        """What is asked for.

        Raises:
            AndesError: If its speed or its size is none.
        """
        return emulated_device(self.emulate) if self.model is None else own_device(self.model, self.step_time)

    def entries(self) -> list[tuple[Contender, str | None]]:
        """Who is served in turn, each with the folder of its policy; the reference first.

        Raises:
            AndesError: If a policy cannot be loaded, or one of them cannot serve.
            ConfigError: If there are fewer than two, or two of one name.
        """
        found: list[tuple[Contender, str | None]] = [(one.contender, None) for one in self.contenders.values()]
        found += [(contender, str(folder.resolve())) for contender, folder in policies_from(self.policy)]
        names = [contender.name for contender, _ in found]
        if len(set(names)) < max(2, len(names)):
            raise ConfigError(f"contenders and policy: need at least two, each with its own name, got {names}")
        for contender, _ in found:
            contender.check_deployable()
        return found


@dataclass(frozen=True, slots=True)
class ServiceBenefit:
    """Records of the same bursts by contender, the reference first, and what `vllm bench serve` measured."""

    records: dict[str, Sequence[RunRecord]]
    bench: dict[str, Mapping[str, float]]

    @property
    def reference(self) -> str:
        """Whom the others are judged against."""
        return next(iter(self.records))

    def gains(self, name: str) -> dict[str, list[float]]:
        """One contender minus the reference, burst by burst, and the share of the reference's tokens/s that it lost."""
        mine, theirs = (list(map(summary, self.records[one])) for one in (name, self.reference))
        gains = {key: [a[key] - b[key] for a, b in zip(mine, theirs, strict=True)] for key in GAINS}
        lost = [1.0 - a["tokens_per_s"] / b["tokens_per_s"] for a, b in zip(mine, theirs, strict=True)]
        return {**gains, "throughput_lost": lost}

    def as_dict(self) -> dict[str, Any]:
        """For JSON and for the README."""
        return {
            "reference": self.reference,
            "gains": {name: self.gains(name) for name in self.records if name != self.reference},
            "bursts": {name: list(map(summary, records)) for name, records in self.records.items()},
            "vllm_bench_serve": self.bench,
        }

    def sentences(self) -> list[str]:
        """Margins with their spread, burst by burst."""
        return [
            f"{name} minus {self.reference}: mean QoE {spread(found['qoe_mean'], '+.3f')}; p10 "
            f"{spread(found['qoe_p10'], '+.3f')}; throughput lost {spread(found['throughput_lost'], '.1%')}"
            for name, found in self.as_dict()["gains"].items()
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
    """Serve and load under each contender in turn, and write what came out.

    Raises:
        AndesError: If the configuration cannot work, or a server does not come up.
    """
    device, entries = config.device, config.entries()
    bursts = held_out_bursts(device.engine, config.workload, config.load, config.bursts)
    run_dir = RunDir.create(config.run_dir, plain(config), config.seed)
    about = {"config": {name: value for name, value in plain(config).items() if name != "run_dir"}}
    found = ServiceBenefit({}, {})
    for contender, policy in entries:
        name, port = contender.name, free_port()
        url = f"http://127.0.0.1:{port}"
        kept = keep_kv_flags(config.keep_kv_gib if contender.keep_kv else None, contender)
        command = [*device.server_command(contender, policy, port), *kept]
        with served(command, url, run_dir.path / f"{name}.log", device.environment):
            found.records[name] = [asyncio.run(_replay(config, url, name, device.engine.name, one)) for one in bursts]
            if config.bench_requests:
                rate = config.bench_rate or bursts[0].rate
                found.bench[name] = _bench(config.bench_requests, rate, url, run_dir.path, name)
        # after each of them: a server that does not come up later takes nothing with it
        run_dir.write_results({**made_with(), **about, "machine": device.machine, **found.as_dict()})
    return found


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
