"""Whatever is wrong with traces and settings, `scripts.compare` says so in one line, with file and line; exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Refusal

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens"
BURSTGPT = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
LENGTHS = "prompt_chars,output_tokens,seconds_per_token"
DAY = "2024-01-01 00:00:0"


@pytest.fixture
def refused(tmp_path: Path, refusal: Refusal) -> Refusal:
    """The one line that a command line of the comparison is refused with."""

    def run(*overrides: str) -> str:
        said = refusal("compare", "engine=cpu_tiny", "workers=1", f"run_dir={tmp_path / 'run'}", *overrides)
        assert not list((tmp_path / "run").glob("results*"))
        return said

    return run


def mooncake(time: str = "0", prompt: str = "9", output: str = "9") -> str:
    return f'{{"timestamp": {time}, "input_length": {prompt}, "output_length": {output}, "hash_ids": []}}'


FORMATS = {
    "azure": (f"{AZURE}\n{DAY}1,9,9", "{time},{prompt},{output}", {"time": f"{DAY}2", "early": f"{DAY}0"}),
    "burstgpt": (f"{BURSTGPT}\n1,m,9,9,18,c", "{time},m,{prompt},{output},18,c", {"time": "2", "early": "0.5"}),
    "mooncake": (f"\n{mooncake('1000')}", mooncake("TIME", "PROMPT", "OUTPUT"), {"time": "2000", "early": "500"}),
    "lengths": (f"{LENGTHS}\n40,9,0.2", "{prompt},{output},{pace}", {"time": "", "early": ""}),
}
FAULTS: dict[str, dict[str, str]] = {
    "NaN prompt": {"prompt": "NaN"},
    "negative prompt": {"prompt": "-5"},
    "zero prompt": {"prompt": "0"},
    "NaN output": {"output": "NaN"},
    "negative output": {"output": "-5"},
    "zero output": {"output": "0"},
    "fraction": {"output": "1.5"},
    "NaN time": {"time": "NaN"},
    "negative time": {"time": "-1"},
    "unsorted": {"time": "early"},
    "NaN pace": {"pace": "nan"},
    "zero pace": {"pace": "0"},
    "negative pace": {"pace": "-0.2"},
}
CASES = [
    (name, fault)
    for name in FORMATS
    for fault, change in FAULTS.items()
    if ("pace" in change) == (name == "lengths" and "pace" in change) and not ("time" in change and name == "lengths")
]


@pytest.mark.parametrize(("name", "fault"), CASES)
def test_a_malformed_line_is_named(refused: Refusal, tmp_path: Path, name: str, fault: str) -> None:
    head, line, times = FORMATS[name]
    values = {"prompt": "9", "output": "9", "pace": "0.2", "time": times["time"], **FAULTS[fault]}
    values["time"] = times["early"] if values["time"] == "early" else values["time"]
    for key, value in values.items():
        line = line.replace(f"{{{key}}}", value).replace(key.upper(), value)
    path = tmp_path / ("trace.jsonl" if name == "mooncake" else "trace.csv")
    path.write_text(f"{head}\n{line}\n")
    assert f"{path}, line 3" in refused("workload=trace", f"trace={path}")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "the file is empty"),
        (f"{AZURE}\n", "no requests in the file"),
        (f"{BURSTGPT}\n", "no requests in the file"),
        (f"{LENGTHS}\n", "no requests in the file"),
        ("a,b\n1,2\n", "line 1: unknown header"),
        ("{}\n", "line 1: no timestamp"),
    ],
)
def test_files_that_are_no_traces_are_named(refused: Refusal, tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(content)
    said = refused("workload=trace", f"trace={path}")
    assert str(path) in said and told in said


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["workload=trace", "trace=nowhere.csv"], "nowhere.csv: no such file"),
        (["workload=tiny", "workload.requests=0"], "requests"),
        (["workload=tiny", "workload.duration_s=nan"], "duration_s"),
        (["workload=tiny", "workload.duration_s=0.001"], "no request in 0.001 s"),
        (["workload=tiny", "loads=[-1]"], "loads = [-1.0] must be"),
        (["workload=tiny", "loads=[]"], "loads = [] must be"),
        (["workload=tiny", "seeds=0"], "seeds"),
        (
            ["engine.kv_blocks=1"],
            "engine (engine/cpu_tiny.yaml and overrides of it): engine 'cpu_tiny': kv_blocks = 1",
        ),
        (["+contenders.andes.knobs.horizon_s=nan"], "knob 'horizon_s' = nan"),
        (["contenders.andes.lengths=exat"], "unknown length source 'exat'. Did you mean 'exact'?"),
        (["contenders.andes.length_sigma=-1"], "contender 'andes': length_sigma = -1"),
        (["+scheduler@contenders.mine=own"], "give contenders.mine.scheduler="),
    ],
)
def test_settings_that_cannot_work_are_named(refused: Refusal, overrides: list[str], told: str) -> None:
    assert told in refused(*overrides)


def test_a_knob_out_of_bounds_in_a_file_is_named_with_the_file(refused: Refusal, tmp_path: Path) -> None:
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "mine.yaml").write_text("name: mine\nscheduler: andes\nknobs: {horizon_s: 4000}\n")
    said = refused("+scheduler@contenders.mine=mine", "--config-dir", str(tmp_path))
    assert "contenders.mine (scheduler/mine.yaml and overrides of it): knob 'horizon_s' = 4000" in said
    assert "allowed are 1 to 400" in said
