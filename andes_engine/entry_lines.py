"""JSON for files that people keep: a line for each entry, so that a change shows as one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any


def entry_lines(content: Mapping[str, Any] | Sequence[Any], allow_nan: bool = True) -> str:
    """One line for each entry of the outer mapping or list; a ValueError for NaN or infinity, if these are not allowed."""
    compact = partial(json.dumps, separators=(",", ":"), allow_nan=allow_nan)
    if isinstance(content, Mapping):
        lines = [f"{json.dumps(key)}: {compact(entry)}" for key, entry in content.items()]
        return "{\n" + ",\n".join(lines) + "\n}\n"
    return "[\n" + ",\n".join(map(compact, content)) + "\n]\n"
