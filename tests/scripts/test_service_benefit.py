"""Schedulers and policies in turn behind a real server on an emulated device."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents import service_benefit
from agents.config import SchedulerSettings, WorkloadSettings
from agents.random_models import MODELS
from agents.schema import ConfigError
from agents.service_benefit import ServiceBenefit, ServiceBenefitConfig
from andes_engine.contender import Contender
from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.records import RunRecord
from andes_engine.sim.simulator import simulate
from andes_engine.workload import Workload
from scripts import update_readme
from tests.builders import make_engine, make_workload
from tests.live.stubs import INSTALLED

ROOT = Path(__file__).parents[2]


def config(**changes: object) -> ServiceBenefitConfig:
    changes = {"emulate": "h100_llama3_8b", **changes}
    return ServiceBenefitConfig(0, "runs/nowhere", WorkloadSettings("tiny"), **changes)  # type: ignore[arg-type]


def test_margins_are_burst_by_burst() -> None:
    bursts = [make_workload(seed, 60, 20.0) for seed in (1, 2)]
    records = {name: [simulate(make_engine(400), burst, name) for burst in bursts] for name in ("fcfs", "andes")}
    found = ServiceBenefit(records, {})
    expected = [a.qoe.mean() - b.qoe.mean() for a, b in zip(records["andes"], records["fcfs"], strict=True)]
    gains = found.gains("andes")
    np.testing.assert_allclose(gains["qoe_mean"], expected)
    slower = [1.0 - b.duration_s / a.duration_s for a, b in zip(records["andes"], records["fcfs"], strict=True)]
    np.testing.assert_allclose(gains["throughput_lost"], slower, atol=1e-12)  # the same tokens in another time
    assert "andes minus fcfs: mean QoE median" in found.sentences()[0]


@pytest.mark.parametrize("wrong", [{"load": 0.0}, {"bursts": 0}, {"bench_requests": -1}])
def test_what_cannot_work_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="need load > 0, bursts >= 1"):
        config(**wrong)


@pytest.mark.parametrize(
    ("device", "error", "told"),
    [
        ({"emulate": None}, ConfigError, "give one of them, such as emulate=null model=llama3_8b"),
        ({"emulate": "h100_llama3_8b", "model": "tiny"}, ConfigError, "give one of them"),
        ({"emulate": None, "model": "llama3_80b"}, UnknownNameError, "Did you mean 'llama3_8b'"),
    ],
)
def test_a_device_is_emulated_or_ones_own(device: dict[str, str], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        config(**device)


def settings(*names: str) -> dict[str, SchedulerSettings]:
    return {name: SchedulerSettings(name, name) for name in names}


def test_schedulers_come_first_and_policies_are_served_from_their_folder() -> None:
    chosen = config(contenders=settings("fcfs", "andes"), policy="zoo/patient")
    (fcfs, none), (andes, _), (patient, folder) = chosen.entries()
    assert (fcfs.name, andes.name, patient.name, none) == ("fcfs", "andes", "patient", None)
    section = additional(chosen.device.server_command(patient, folder, 8000))
    assert section["policy"] == folder and Path(str(folder)).is_dir() and section["scheduler"] == patient.scheduler
    assert section["knobs"] == dict(patient.given_knobs) and section["lengths"] == patient.lengths
    assert "--scheduler-cls" not in chosen.device.server_command(fcfs, None, 8000)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"contenders": settings("fcfs")}, "need at least two"),
        ({"contenders": settings("fcfs"), "policy": ["zoo/patient", "zoo/patient"]}, "each with its own name"),
    ],
)
def test_one_is_no_comparison_and_two_need_two_names(changes: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        config(**changes).entries()


def test_nobody_who_knows_lengths_is_served() -> None:
    knows = SchedulerSettings("clairvoyant", "srpt", lengths="exact")
    with pytest.raises(AndesError, match="a real engine does not"):
        config(contenders=settings("fcfs") | {"clairvoyant": knows}).entries()


def additional(command: list[str]) -> dict[str, object]:
    return dict(json.loads(command[command.index("--additional-config") + 1])["andes"])


@INSTALLED
@pytest.mark.parametrize("name", ["fcfs", "andes"])
def test_vllm_serves_the_8b_model_as_it_is_described(name: str) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    device = config(emulate=None, model="llama3_8b").device
    command = device.server_command(Contender(name, name), None, 8000)
    folder, *flags = command[command.index("serve") + 1 :]
    parser = AsyncEngineArgs.add_cli_args(FlexibleArgumentParser())
    for of_the_server in ("--host", "--port"):
        parser.add_argument(of_the_server)
    found = AsyncEngineArgs.from_cli_args(parser.parse_args(["--model", folder, *flags]))
    engine = MODELS["llama3_8b"].engine
    assert (found.block_size, found.num_gpu_blocks_override) == (engine.block_size, engine.kv_blocks)
    assert (found.max_num_seqs, found.max_model_len) == (engine.max_num_seqs, engine.max_model_len)
    assert found.load_format == "dummy" and not found.enable_prefix_caching and not found.enforce_eager
    assert (found.scheduler_cls is not None) == (name == "andes")
    assert device.engine.kv_blocks == engine.kv_blocks - 1
    assert device.machine == "cpu" or "NVIDIA" in device.machine


def test_a_server_that_does_not_come_up_takes_nothing_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def up_twice(command: list[str], url: str, log: Path, environment: object) -> Iterator[None]:
        if "--scheduler-cls" in command and "policy" in additional(command):
            raise AndesError("the server did not come up")
        yield

    async def replayed(config: object, url: str, name: str, engine: str, burst: Workload) -> RunRecord:
        return simulate(make_engine(400), burst, name)

    monkeypatch.setattr(service_benefit, "served", up_twice)
    monkeypatch.setattr(service_benefit, "_replay", replayed)
    chosen = replace(
        config(contenders=settings("fcfs", "andes"), policy="zoo/patient", bench_requests=0, bursts=1),
        run_dir=str(tmp_path / "run"),
        workload=WorkloadSettings("tiny", lengths="tiny", duration_s=2.0),
    )
    with pytest.raises(AndesError, match="did not come up"):
        service_benefit.service_benefit(chosen)
    kept = json.loads((tmp_path / "run" / "results.json").read_text())
    assert list(kept["bursts"]) == ["fcfs", "andes"] and len(kept["gains"]["andes"]["qoe_mean"]) == 1


@pytest.mark.parametrize("name", ["service_benefit.json", "gpu_service_benefit.json"])
def test_the_readme_says_what_the_committed_run_found(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = json.loads((ROOT / "docs" / name).read_text(encoding="utf-8"))
    assert update_readme.service_text(found) in (ROOT / "README.md").read_text(encoding="utf-8")
    begin, end, kept = update_readme.service_place(found)
    assert kept == name
    for folder in ("docs", "run"):
        (tmp_path / folder).mkdir()
    (tmp_path / "README.md").write_text(f"kept {begin}old{end}")
    found["gains"]["andes"]["qoe_mean"] = [0.5]
    (tmp_path / "run" / "results.json").write_text(json.dumps(found))
    monkeypatch.setattr(update_readme, "ROOT", tmp_path)
    update_readme.main([str(tmp_path / "run")])
    assert "kept" in (text := (tmp_path / "README.md").read_text()) and "+0.500" in text and "old" not in text
    assert json.loads((tmp_path / "docs" / name).read_text()) == found


@pytest.mark.slow
@pytest.mark.timeout(900)
@INSTALLED
def test_the_command_serves_loads_and_records(tmp_path: Path) -> None:
    small = ["bursts=1", "bench_requests=4", "workload.duration_s=2.0", "load=1.0"]
    command = [sys.executable, "-m", "scripts.service_benefit", *small, f"run_dir={tmp_path / 'b'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    content = json.loads((tmp_path / "b" / "results.json").read_text())
    assert list(content["bursts"]) == ["fcfs", "andes", "patient"] and list(content["gains"]) == ["andes", "patient"]
    for runs in content["bursts"].values():
        assert [run["unfinished"] for run in runs] == [0.0]
    assert all(bench["completed"] == 4 for bench in content["vllm_bench_serve"].values())
