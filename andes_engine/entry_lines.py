"""JSON for files that people keep: a line for each entry, so that a change shows as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any


def entry_lines(content: Mapping[str, Any] | Sequence[Any]) -> str:
    """One line for each entry of the outer mapping or list."""
    if isinstance(content, Mapping):
        lines = [f"{json.dumps(key)}: {_compact(entry)}" for key, entry in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    return "[\n" + ",\n".join(map(_compact, content)) + "\n]\n"


def _compact(entry: Any) -> str:
    return json.dumps(entry, separators=(",", ":"))
