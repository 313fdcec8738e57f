"""Records decisions while serving: the scheduler hands over copies, a thread compresses and writes.

The file and its predecessor `FILE.1` together stay below the limit, so it is a ring over hours, not the whole history.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from andes_engine.decision_trace.format import Arrays, TracedDecision, line_of

logger = logging.getLogger(__name__)

_WAITING_DECISIONS = 256
_BYTES_PER_MB = 1 << 20
_LAST = None


class DecisionTrace:
    """Writes decisions to a file of limited size.

    Args:
        path: The file.
        max_mb: How large it and its predecessor may become together, MiB.
        header: Its first line (`format.header`).
    """

    def __init__(self, path: Path, max_mb: float, header: dict[str, Any]) -> None:
        self._path = path
        self._most_bytes = int(max_mb * _BYTES_PER_MB / 2)
        self._header = json.dumps(header).encode() + b"\n"
        self._queue: queue.Queue[TracedDecision | None] = queue.Queue(_WAITING_DECISIONS)
        self._number = 0
        self._file: BinaryIO | None = None
        self.written = 0
        self.dropped = 0
        """Decisions that were not kept, because the disk was too slow or refused."""
        self._thread = threading.Thread(target=self._write_all, name="andes-trace", daemon=True)
        self._thread.start()

    def record(self, inputs: Arrays, outputs: Arrays) -> None:
        """Keep a decision if there is room in the queue; never waits."""
        traced = TracedDecision(self._number, inputs, outputs)
        self._number += 1
        try:
            self._queue.put_nowait(traced)
        except queue.Full as error:
            self._lost(error)

    def close(self) -> None:
        """Write what is waiting, and stop."""
        self._queue.put(_LAST)
        self._thread.join()

    def _write_all(self) -> None:
        while (traced := self._queue.get()) is not _LAST:
            try:
                self._write(line_of(traced))
                self.written += 1
            except Exception as error:  # a full disk or anything else: the next decision goes to a new file
                self._lost(error)
                self._close_file()
        self._close_file()

    def _write(self, line: bytes) -> None:
        if self._file is None or self._file.tell() + len(line) > self._most_bytes:
            self._close_file()
            self._file = self._next_file()
        self._file.write(line)
        self._file.flush()

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # what could not be written was told when it failed
                file.close()

    def _next_file(self) -> BinaryIO:
        if self._path.exists():
            os.replace(self._path, self._path.with_name(self._path.name + ".1"))
        file = self._path.open("wb")
        file.write(self._header)
        return file

    def _lost(self, error: Exception) -> None:
        self.dropped += 1
        if self.dropped == 1:
            logger.error("andes: decisions are missing in the trace %s: %r (logged once)", self._path, error)
