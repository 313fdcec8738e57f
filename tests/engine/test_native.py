"""Functions called by address: what they are given, how their code is kept, and what happens when either is wrong."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from andes_engine import compile_cache
from andes_engine.errors import AndesError
from andes_engine.native import ArgumentError, NativeError, NativeFunction, function, objects
from andes_engine.native.arguments import Arguments


def _scaled(values: np.ndarray[Any, Any], pair: tuple[np.ndarray[Any, Any], int], factor: float) -> None:
    for index in range(len(values)):
        values[index] *= factor * pair[0][index] + pair[1]


def _failing(values: np.ndarray[Any, Any]) -> None:
    if len(values) > 1:
        raise ValueError("too many")


CODE = objects.ObjectCode("f", ("pow", "no_such_symbol"), b"code")
PAIR = np.array([1, 2], dtype=np.int64), 3


@pytest.fixture
def scaled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NativeFunction:
    monkeypatch.setattr(function, "object_folder", lambda: tmp_path / "objects")
    return NativeFunction(_scaled, lambda: (np.zeros(2), PAIR, 1.0))


def test_arrays_tuples_and_numbers_arrive(scaled: NativeFunction) -> None:
    values = np.array([10.0, 20.0])
    scaled(values, PAIR, 0.5)
    assert values.tolist() == [10 * 3.5, 20 * 4.0]


def test_some_arguments_change_from_call_to_call(scaled: NativeFunction) -> None:
    values = np.ones(2)
    arguments = scaled.arguments(values, PAIR, 1.0)
    scaled.run(arguments)
    arguments.put(1, (np.array([0, 0]), 7))
    scaled.run(arguments)
    assert values.tolist() == [4.0 * 7, 5.0 * 7]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, np.zeros(2, dtype=np.float32), "float32"),
        (0, np.zeros((2, 2)), "2 axes"),
        (0, np.zeros(4)[::2], "contiguous: False"),
        (0, [1.0], "list given"),
        (1, PAIR[:1], "1 parts given, 2 wanted"),
        (1, (PAIR[0], 2.5), "number"),
        (2, np.zeros(2), "number"),
    ],
)
def test_what_compiled_code_would_misread_is_refused(place: int, value: Any, message: str) -> None:
    arguments = Arguments((np.zeros(2), PAIR, 1.0))
    with pytest.raises(ArgumentError, match=message):
        arguments.put(place, value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_exception_inside_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(function, "object_folder", lambda: tmp_path)
    failing = NativeFunction(_failing, lambda: (np.zeros(1),))
    failing(np.zeros(1))
    with pytest.raises(NativeError, match="_failing"):
        failing(np.zeros(2))


def test_code_is_kept_and_found_again(scaled: NativeFunction, monkeypatch: pytest.MonkeyPatch) -> None:
    scaled(np.ones(2), PAIR, 1.0)
    again = NativeFunction(_scaled, lambda: (np.zeros(2), PAIR, 1.0))
    monkeypatch.setattr(again, "_compile", lambda: pytest.fail("compiled again"))
    values = np.ones(2)
    again(values, PAIR, 1.0)
    assert values.tolist() == [4.0, 5.0]


def test_damaged_or_foreign_code_is_not_loaded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine" / "f.o"
    objects.keep(path, CODE)
    assert objects.read(path) == CODE
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    path.chmod(0o666)
    with caplog.at_level(logging.WARNING):
        assert objects.read(path) is None
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING):
        assert objects.read(path) is None
    assert [record.message.split(": ")[-1] for record in caplog.records] == ["not loaded", "not loaded"]
    assert objects.read(path.with_name("absent.o")) is None


def test_code_that_would_jump_into_nowhere_is_refused() -> None:
    with pytest.raises(AndesError, match="needs no_such_symbol"):
        objects.load(CODE)


def test_a_folder_that_cannot_be_written_is_only_slower(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        objects.keep(tmp_path / "file" / "f.o", CODE)
    assert "compiled anew in each process" in caplog.text


def test_code_is_kept_by_source_and_processor() -> None:
    folder = compile_cache.object_folder()
    assert folder.name.startswith(f"native-{compile_cache._source_hash()}-")
