"""Make a server's recorded decisions again: `python -m scripts.replay_trace FILE [FILE.1]`. Exit code 1 where one differs."""

from __future__ import annotations

import sys
from pathlib import Path


def main(paths: list[Path]) -> int:
    """Replay the files, print a line for each; the exit code."""
    from agents.cli import refuse
    from andes_engine import __version__
    from andes_engine.decision_trace.replay import replay_trace
    from andes_engine.errors import TraceFormatError

    if not paths:
        refuse("give the file that 'trace.path' of the server named: python -m scripts.replay_trace FILE")
    differing = 0
    for path in paths:
        try:
            found = replay_trace(path)
        except TraceFormatError as error:
            refuse(str(error))
        differing += len(found.differing)
        agreed = found.decisions - len(found.differing)
        print(f"{path}: {agreed} of {found.decisions} decisions agree bit for bit, {found.plans} of them plans")
        if found.differing:
            print(f"first difference, decision {found.differing[0]}: {found.first_difference}")
        if found.version != __version__:
            print(f"written by andes-rl {found.version}, this is {__version__}")
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
