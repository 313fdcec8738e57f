from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from andes_engine.vllm.keep_kv import KeepKv
from tests.conftest import Refusal
from tests.engine.test_policy import make_bundle

ROOT = Path(__file__).parents[2]
TINY = ("engine=cpu_tiny", "workload=tiny", "workload.duration_s=5", "loads=[1.2]", "seeds=2", "workers=1")


def script(name: str, *overrides: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"scripts.{name}", *map(str, overrides)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, f"{command} returned {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.mark.slow
def test_from_training_to_serving(tmp_path: Path) -> None:
    run = tmp_path / "my run"
    said = script("train", "experiment=debug", "tracking=wandb", "train.steps=64", f"run_dir='{run}'").stdout
    assert "trained after 64 decisions" in said and f"bundle: {run}/bundle" in said
    assert list(run.glob("wandb/offline-run-*/*.wandb"))

    bundle = tmp_path / "exported"
    said = script("export", f"run='{run}'", "checkpoint=last", f"out='{bundle}'", "name=mine").stdout
    assert f"policy={bundle}" in said and json.loads((bundle / "bundle.json").read_text())["name"] == "mine"

    out = tmp_path / "compared"
    said = script("compare", *TINY, f"policy={bundle}", f"run_dir={out}").stdout
    assert "mine − andes" in said and f"{out}/report.html" in said
    assert {"report.html", "results.json", "config.yaml", "versions.json"} <= {path.name for path in out.iterdir()}

    said = script("serve", "model=some/model", f"policy='{run}'", "extra=[--dtype,bfloat16]", "dry_run=true").stdout
    assert "--host 127.0.0.1" in said and f'"policy": "{run}/bundle"' in said and "--dtype bfloat16" in said


def test_capacity_is_searched_and_shown(tmp_path: Path) -> None:
    tiny = (
        *TINY[:3],
        "workers=1",
        "search.seeds=2",
        "search.scan=3",
        "search.tolerance=0.1",
        f"run_dir={tmp_path}/run",
    )
    said = " ".join(script("capacity", *tiny).stdout.split())
    assert re.search(r"andes carries [\d.]+ times the load of fcfs at mean QoE >= 0.9 \(95 % interval", said)
    assert f"results: {tmp_path}/run/results.json" in said
    assert (tmp_path / "run" / "figures" / "capacity.svg").is_file()
    low = ("search.low=0.2", "search.high=0.4", f"run_dir={tmp_path}/low")
    refused = script("capacity", *tiny[:-1], *low, code=2).stderr
    assert "give a higher `high`" in refused and refused.count("\n") == 1


def test_serving_takes_the_keys_of_its_section(tmp_path: Path) -> None:
    (tmp_path / "policy.txt").write_text("none\n")
    more = ["+andes.log=json", "+andes.classes.chat.tds=8", f"+andes.trace.path={tmp_path}/trace.jsonl"]
    said = script("serve", "model=m", f"policy={tmp_path}/policy.txt", *more, "keep_kv_gib=2", "dry_run=true").stdout
    words = shlex.split(said)
    section = json.loads(words[words.index("--additional-config") + 1])["andes"]
    assert section["classes"] == {"chat": {"tds": 8}}
    assert (section["log"], section["policy"], section["knobs"]) == ("json", f"{tmp_path}/policy.txt", {})
    connector = json.loads(words[words.index("--kv-transfer-config") + 1])
    assert connector == KeepKv(host_gib=2.0).transfer_config()


def test_serving_takes_what_a_policy_was_trained_with(tmp_path: Path) -> None:
    """Its length source and no other, whatever the scheduler's file says; and what it lacks is told."""
    for name, lengths, keep_kv in (("learned", "hazard", 2.0), ("plain", "none", 0.0)):
        bundle = replace(make_bundle(0.1), name=name, lengths=lengths, keep_kv=keep_kv).save(tmp_path / name)
        done = script("serve", "model=m", f"policy={bundle}", "scheduler=srpt", "dry_run=true")
        words = shlex.split(done.stdout)
        section = json.loads(words[words.index("--additional-config") + 1])["andes"]
        assert section["scheduler"] == "andes" and section.get("lengths", "none") == lengths
        assert ("Give keep_kv_gib" in done.stderr) == (keep_kv > 0.0)


def test_an_emulated_device_needs_no_model() -> None:
    said = shlex.split(script("serve", "emulate=h100_llama3_8b", "extra=[--max-num-seqs,'64']", "dry_run=true").stdout)
    section = json.loads(said[said.index("--additional-config") + 1])["andes"]
    assert section["step_time"] == section["emulate"]["engine"] == "h100_llama3_8b"
    assert said[said.index("--distributed-executor-backend") + 1].endswith("EmulatedExecutor")
    assert Path(said[said.index("serve") + 1], "config.json").is_file() and said[-1] == "64"


@pytest.mark.parametrize(
    ("name", "override", "told"),
    [
        ("serve", "emulate=h100_lama3_8b", "Did you mean 'h100_llama3_8b'?"),
        ("serve", "model=m +andes.log=xml", "unknown log 'xml'"),
        ("serve", "model=m +andes.clases.chat.tds=8", "Did you mean 'classes'?"),
        ("serve", "model=m +andes.classes.chat.tds=-8", "classes.chat.tds = -8 must be"),
        ("serve", "model=m +andes.policy=x", "set policy itself"),
        ("serve", "model=m keep_kv_gib=0", "host_gib = 0.0 must be a number of GiB above 0"),
        ("serve", "model=m keep_kv_gib=1 extra=[--kv-transfer-config,x]", "leave one of them out"),
        ("train", "train.stps=3", "unknown setting 'stps'. Did you mean 'steps'?"),
        ("train", "+train.stps=3", "unknown setting of train 'stps'. Did you mean 'steps'?"),
        ("train", "engine=a100_llama", "unknown engine 'a100_llama'. Did you mean 'a100_llama3_8b'?"),
        ("train", "scheduler.knobs.horizon_s=3", "+scheduler.knobs.horizon_s="),
        ("compare", "trace=nowhere.csv", "nowhere.csv: no such file"),
        ("capacity", "search.target=1.2", "search: target = 1.2 must be a mean QoE between 0 and 1"),
        ("capacity", "references=[fcsf]", "unknown reference contender 'fcsf'. Did you mean 'fcfs'?"),
        ("export", "checkpoint=last", "no value for run; give run=..."),
        ("export", "run=nowhere", "nowhere is no run directory"),
        ("soak", "minutes=-1", "minutes = -1.0 must be"),
        ("serve", "policy=nowhere", "no value for model; give model=..."),
    ],
)
def test_wrong_input_is_told_in_one_line(name: str, override: str, told: str, refusal: Refusal) -> None:
    assert told in refusal(name, *override.split())
