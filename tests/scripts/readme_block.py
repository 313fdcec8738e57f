"""A README of one block, updated from a run as the real one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts import update_readme


def updated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, Any], markers: tuple[str, str], folder: str
) -> str:
    """The README after `scripts.update_readme` has seen a run with these results; what is outside the block stays."""
    (tmp_path / "docs" / folder).mkdir(parents=True)
    (tmp_path / "run").mkdir()
    begin, end = markers
    (tmp_path / "README.md").write_text(f"kept {begin}stale{end}")
    (tmp_path / "run" / "results.json").write_text(json.dumps(found))
    monkeypatch.setattr(update_readme, "ROOT", tmp_path)
    update_readme.main([str(tmp_path / "run")])
    text = (tmp_path / "README.md").read_text()
    assert "stale" not in text and "kept" in text
    return text
