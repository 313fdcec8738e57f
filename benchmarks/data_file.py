"""What a benchmark leaves beside its page: how it was made, and every number, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from andes_engine.report.provenance import commit, versions


def made_by(command: str) -> dict[str, Any]:
    """The command, the commit and the versions of what was measured."""
    return {"command": command, "commit": commit(), "versions": versions()}


def write_data(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON; its folder is made if it is not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
