"""Compiled code that is called by address: made once, kept as object code, shared by simulator and server."""

from andes_engine.native.arguments import WORD_BYTES, ArgumentError, Arguments
from andes_engine.native.call import (
    add_to,
    call,
    fetch_ahead,
    fetch_line_ahead,
    list_item,
    list_length,
    swap_in,
    word_at,
)
from andes_engine.native.function import NativeError, NativeFunction, native

__all__ = [
    "WORD_BYTES",
    "ArgumentError",
    "Arguments",
    "NativeError",
    "NativeFunction",
    "add_to",
    "call",
    "fetch_ahead",
    "fetch_line_ahead",
    "list_item",
    "list_length",
    "native",
    "swap_in",
    "word_at",
]
