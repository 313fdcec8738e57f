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
    monkeypatch.setenv(METRICS_FOLDER, "/their/own")
    with shared_metrics(OURS):
        assert os.environ[METRICS_FOLDER] == "/their/own"
    monkeypatch.delenv(METRICS_FOLDER)
    with shared_metrics(["bench", "serve"]):
        assert METRICS_FOLDER not in os.environ
