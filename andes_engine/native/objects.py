"""Object code on disk: machine code with a checksum, and nothing that is interpreted (no pickle), so that a server may load it.

A file is one line with a checksum, the entry point's name and the symbols it needs, then the object code. The folder belongs to
the user alone, like numba's own; whoever can write there could as well change the package.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

import llvmlite.binding as llvm

from andes_engine.compile_cache import numba_version
from andes_engine.errors import AndesError
from andes_engine.native.helpers import name_helpers

logger = logging.getLogger(__name__)

_engines: list[llvm.ExecutionEngine] = []
"""Loaded code lives as long as its engine."""


class ObjectCode(NamedTuple):
    """One compiled function: its entry point, the symbols it takes from the process it is loaded into, the machine code."""

    entry: str
    needs: tuple[str, ...]
    code: bytes

    @property
    def head(self) -> str:
        """What a file says before the code."""
        return " ".join((self.entry, *self.needs))


@cache
def _prepare() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name_helpers()


def load(found: ObjectCode) -> int:
    """Put object code into memory; returns the address of the entry point.

    Raises:
        AndesError: If this process lacks a symbol of it; the code would jump to address 0.
    """
    _prepare()
    engine = llvm.create_mcjit_compiler(
        llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine(jit=True)
    )  # which also makes what is loaded into this process findable
    missing = [symbol for symbol in found.needs if llvm.address_of_symbol(symbol) is None]
    if missing:
        raise AndesError(f"compiled code needs {', '.join(missing)}, which numba {numba_version()} does not offer")
    engine.add_object_file(llvm.ObjectFileRef.from_data(found.code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(found.entry))


def read(path: Path) -> ObjectCode | None:
    """What a file holds; None if there is none, or somebody else could have written it, or it is damaged."""
    try:
        with path.open("rb") as file:
            if not _ours(os.fstat(file.fileno())) or not _ours(path.parent.stat()):
                logger.warning("compiled code in %s can be written by others than its owner: not loaded", path.parent)
                return None
            checksum, _, head = file.readline().decode().strip().partition(" ")
            code = file.read()
    except (OSError, UnicodeDecodeError):
        return None
    if _checksum(head, code) != checksum:
        logger.warning("compiled code in %s is damaged: not loaded", path)
        return None
    entry, *needs = head.split(" ")
    return ObjectCode(entry, tuple(needs), code)


def _checksum(head: str, code: bytes) -> str:
    return hashlib.sha256(head.encode() + code).hexdigest()


def _ours(status: os.stat_result) -> bool:
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def keep(path: Path, found: ObjectCode) -> None:
    """Write the file in one stroke; where that is impossible the code is compiled again next time, which is logged."""
    line = f"{_checksum(found.head, found.code)} {found.head}\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # readable by its owner only
            file.write(line.encode() + found.code)
        Path(file.name).replace(path)
    except OSError as error:
        logger.warning("compiled code is not kept (%s): it is compiled anew in each process", error)
