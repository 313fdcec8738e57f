"""Check the paper's statements by simulation and write docs/SHAPE.md: `python -m scripts.shape [SEEDS [STATEMENT ...]]`."""

from __future__ import annotations

import sys
from pathlib import Path

from andes_engine.errors import AndesError, UnknownNameError
from andes_engine.report.shape_page import write_page
from andes_engine.report.shape_settings import STATEMENTS

DOCS = Path(__file__).resolve().parents[1] / "docs"


def main(arguments: list[str]) -> Path:
    """Measure, write the page, return its path; default: 3 seeds, all statements."""
    seeds, *names = arguments or ["3"]
    if not seeds.isdecimal() or int(seeds) < 1:
        raise AndesError(f"SEEDS = {seeds!r} must be a whole number >= 1")
    for name in names:
        if name not in STATEMENTS:
            raise UnknownNameError("statement", name, STATEMENTS)
    return write_page(DOCS, range(int(seeds)), names or list(STATEMENTS))


if __name__ == "__main__":
    try:
        print(main(sys.argv[1:]))
    except AndesError as error:
        raise SystemExit(f"error: {error}") from None
