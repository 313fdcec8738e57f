"""The command line: a local address, the door, and a folder for the metrics of all processes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from andes_engine.service import METRICS_FOLDER
from andes_engine.vllm.launcher import DOOR, shared_metrics, with_door, with_local_address

OURS = ["serve", "m", "--scheduler-cls", "andes_engine.vllm.AndesScheduler"]


def test_serve_listens_here_only_unless_told_otherwise() -> None:
    assert with_local_address(["serve", "m"]) == ["serve", "m", "--host", "127.0.0.1"]
    assert with_local_address(["serve", "m", "--host", "10.0.0.1"])[-2:] == ["--host", "10.0.0.1"]
    assert with_local_address(["serve", "--host=::1"]) == ["serve", "--host=::1"]
    assert with_local_address(["bench", "serve"]) == ["bench", "serve"]


def test_the_door_stands_where_our_scheduler_serves() -> None:
    assert with_door(OURS) == [*OURS, "--middleware", DOOR]
    assert with_door(["serve", "m", f"--scheduler-cls={OURS[-1]}"])[-1] == DOOR
    assert with_door([*OURS, "--middleware", DOOR]).count(DOOR) == 1
    assert with_door(["serve", "m"]) == ["serve", "m"]
    assert with_door(["serve", "m", "--scheduler-cls", "their.Scheduler"])[-1] == "their.Scheduler"
    assert with_door(["bench", *OURS[1:]]) == ["bench", *OURS[1:]]


def test_metrics_share_an_empty_folder_that_goes_with_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(METRICS_FOLDER, raising=False)
    with shared_metrics(OURS):
        folder = Path(os.environ[METRICS_FOLDER])
        assert list(folder.iterdir()) == []
    assert not folder.exists()
    assert METRICS_FOLDER not in os.environ  # the next server would look for the folder that is gone
    with shared_metrics(["bench", "serve"]):
        assert METRICS_FOLDER not in os.environ


def test_a_named_folder_is_used_and_has_to_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(METRICS_FOLDER, str(tmp_path))
    with shared_metrics(OURS):
        assert os.environ[METRICS_FOLDER] == str(tmp_path)
    assert os.environ[METRICS_FOLDER] == str(tmp_path)
    monkeypatch.setenv(METRICS_FOLDER, "/not/there")
    with pytest.raises(SystemExit, match="=/not/there is not a folder"), shared_metrics(OURS):
        pass
