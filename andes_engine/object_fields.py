"""Where Python objects of one class keep their fields, for compiled code that reads hundreds of them at once.

Classes with slots, and those of msgspec, which vLLM's outputs are, keep an address per field in the object itself, at the same
distance from its beginning in all of them. It is found by looking, in an object made for that, and never assumed.
"""

from __future__ import annotations

import ctypes
from functools import cache

from andes_engine.native import WORD_BYTES

CLASS_BYTES = 8
"""Where an object says of which class it is, in a Python with reference counts and one lock."""


@cache
def field_offsets(kind: type, names: tuple[str, ...]) -> tuple[int, ...] | None:
    """Distance of each field from the beginning of an object, bytes; None where it cannot be told.

    Args:
        kind: A class; it is tried whether it can be made of these fields alone, and does not look at them.
        names: The fields.
    """
    marks = {name: object() for name in names}
    try:
        made = kind(**marks)
    except Exception:  # it may look at them after all
        return None
    if type(made) is not kind:
        return None
    words = [*(ctypes.c_int64 * (kind.__basicsize__ // WORD_BYTES)).from_address(id(made))]
    if words[CLASS_BYTES // WORD_BYTES] != id(kind):
        return None
    if any(words.count(id(mark)) != 1 or getattr(made, name) is not mark for name, mark in marks.items()):
        return None
    return tuple(words.index(id(mark)) * WORD_BYTES for mark in marks.values())
