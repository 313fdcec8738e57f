"""Native functions compiled in several processes: each once, and a process that dies holds up nobody."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from andes_engine import live_steps
from andes_engine.native import function, helping

ROOT = Path(__file__).parents[2]

TWO = """
import time
from andes_engine.live_steps import lift_user, take_tokens
from andes_engine.native import function, helping
function._made[:] = [take_tokens, lift_user]
helping.available_cores = lambda: 2
take_tokens.address
while not lift_user._path.exists():
    time.sleep(0.05)
lift_user._compile = None
assert lift_user.address
"""
"""One function compiled here and one elsewhere, which is then only loaded."""

HOLD = """
import sys, time
from pathlib import Path
from andes_engine.native.helping import claimed
with claimed(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(600)
"""


def test_another_process_compiles_what_is_missing(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", TWO], env=environment, cwd=ROOT, check=True, timeout=240)
    assert {path.suffix for path in tmp_path.rglob("*.*") if path.is_file()} == {".o", ".lock"}


def test_a_claim_is_one_at_a_time_and_dies_with_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "objects" / "f.o"
    with subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == b"mine\n"
        with helping.claimed(path, wait=False) as ours:
            assert not ours
        owner.kill()
        with helping.claimed(path) as ours:
            assert ours


def test_without_a_folder_or_locks_nobody_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with helping.claimed(tmp_path / "file" / "f.o") as ours:
        assert ours

    def no_locks(file: object, kind: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with helping.claimed(tmp_path / "f.o") as ours:
        assert ours and "compiled again" in caplog.text


@pytest.mark.parametrize(("cores", "firsts"), [(1, []), (2, ["a"]), (3, ["a", "c"]), (64, ["a", "b", "c"])])
def test_helpers_start_at_different_places(cores: int, firsts: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(helping, "available_cores", lambda: cores)
    monkeypatch.setattr(helping, "_start", started.append)
    helping.start_helpers(["a", "b", "c", "d"])
    assert [names[0] for names in started] == firsts
    assert all(sorted(names) == ["a", "b", "c", "d"] for names in started)
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as at_it:
        monkeypatch.setattr(helping, "_helpers", [at_it])
        helping.start_helpers(["e"])
    assert len(started) == len(firsts)
    helping.start_helpers(["e"])
    assert len(started) == len(firsts) + (cores > 1)


def test_only_functions_that_others_find_are_left_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "object_folder", lambda: tmp_path)
    missing = function._missing(live_steps.decide)
    assert "andes_engine.live_steps:observe_live" in missing and live_steps.decide.where not in missing
    live_steps.take_tokens._path.touch()
    assert live_steps.take_tokens.where not in function._missing(live_steps.decide)
    own = function.NativeFunction(live_steps.decide.python, live_steps.decide._example)
    assert function._missing(own) == []
