"""Recorded results as JSON, a line for each entry; and files that grow by lines."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agents.run_dir import plain, write_text
from agents.schema import ConfigError
from andes_engine.entry_lines import entry_lines


def read_json(path: Path) -> dict[str, Any]:
    """What is recorded there; empty if nothing is.

    Raises:
        ConfigError: If it is no JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: not valid JSON ({error}); remove it, or give recorded=null") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: must be a JSON object; remove it, or give recorded=null")
    return content


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> Path:
    """One line for each entry of the outer mapping or list; numbers to seven digits."""
    return write_text(path, entry_lines(_rounded(plain(content)), allow_nan=False))


def drop_half_a_line(path: Path) -> None:
    """Cut off what a kill in the middle of writing has left at the end of a file that grows by lines."""
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _rounded(entry: Any) -> Any:
    if isinstance(entry, dict):
        return {key: _rounded(value) for key, value in entry.items()}
    if isinstance(entry, list):
        return [_rounded(value) for value in entry]
    return float(f"{entry:.7g}") if isinstance(entry, float) else entry
