"""The numba side of a native function: C entry points that read their arguments from memory words, and calls of them.

numba 0.65: `core/ccallback.py` (`CFunc`), `np/arrayobj.py` (`populate_array`), `core/codegen.py` (the object code kept by
`enable_object_caching`, which `core/typed_passes.py` always turns on).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np import arrayobj

from andes_engine.compile_cache import compiled
from andes_engine.compiled_function import CompiledFunction
from andes_engine.native import parts  # noqa: F401 - where numba keeps what it compiles
from andes_engine.native.objects import ObjectCode
from andes_engine.request import CACHE_LINE_BYTES

_WORD = ir.IntType(64)


def compile_entry(function: Callable[..., None], example: tuple[Any, ...]) -> ObjectCode:
    """Compile a function for arguments like the example; the entry point is ``int64 entry(int64 *words)``.

    It answers 1, or 0 after an exception.
    """
    callee = function if isinstance(function, CompiledFunction) else compiled(function)
    kinds = types.Tuple(tuple(map(numba.typeof, example)))

    @intrinsic
    def read(typing_context: Any, words: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return _read(context, builder, values[0], kinds, 0)[0]

        return kinds(words), generate

    def entry(words: Any) -> int:
        callee(*read(words))
        return 1

    with _garbage_kept():
        entry_point = numba.cfunc(types.int64(types.CPointer(types.int64)), _nrt=False)(entry)
    library = entry_point._library
    symbols = [*library._final_module.functions, *library._final_module.global_variables]
    needs = {symbol.name for symbol in symbols if symbol.is_declaration and not symbol.name.startswith("llvm.")}
    return ObjectCode(entry_point.native_name, tuple(sorted(needs)), library._get_compiled_object())


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Collect no garbage: numba makes a million objects that stay, and looking for others takes a ninth of its time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _read(context: Any, builder: Any, words: Any, kind: Any, at: int) -> tuple[Any, int]:
    """Value of a numba type from the words at `at`; returns it and where the next one begins."""

    def word(index: int) -> Any:
        return builder.load(cgutils.gep_inbounds(builder, words, index))

    if isinstance(kind, types.BaseTuple):
        parts = []
        for part in kind:
            value, at = _read(context, builder, words, part, at)
            parts.append(value)
        return context.make_tuple(builder, kind, parts), at
    if isinstance(kind, types.Array):
        shape = [word(at + 1 + axis) for axis in range(kind.ndim)]
        return _array(context, builder, kind, word(at), shape), at + 1 + kind.ndim
    if isinstance(kind, types.Float):
        return builder.bitcast(word(at), context.get_value_type(kind)), at + 1
    return word(at), at + 1


def _array(context: Any, builder: Any, kind: Any, address: Any, shape: list[Any]) -> Any:
    """A contiguous array that lies at an address and belongs to somebody else."""
    item = context.get_data_type(kind.dtype)
    item_bytes = context.get_constant(types.intp, context.get_abi_sizeof(item))
    strides: list[Any] = []
    stride = item_bytes
    for length in reversed(shape):
        strides.insert(0, stride)
        stride = builder.mul(stride, length)
    array = context.make_array(kind)(context, builder)
    data = builder.inttoptr(address, item.as_pointer())
    arrayobj.populate_array(array, data=data, shape=shape, strides=strides, itemsize=item_bytes, meminfo=None)
    return array._getvalue()


@intrinsic
def call(typing_context: Any, words: Any, arguments: Any) -> Any:
    """Call a native function from compiled code.

    Args:
        typing_context: Numba's; the caller gives the other two.
        words: int64 array: the function's address, then room for its arguments.
        arguments: Tuple of the arguments. The types must be those the function was compiled for; nobody checks.

    Returns:
        What the entry point answers: 1, or 0 after an exception.
    """
    if not isinstance(arguments, types.BaseTuple):
        return None

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        base = context.make_array(words)(context, builder, values[0]).data
        first = cgutils.gep_inbounds(builder, base, 1)
        _write(context, builder, first, arguments, values[1], 0)
        kind = ir.FunctionType(_WORD, [_WORD.as_pointer()]).as_pointer()
        return builder.call(builder.inttoptr(builder.load(base), kind), [first])

    return types.int64(words, arguments), generate


def _atomic(operation: str, cells: Any) -> Any:
    """Signature and code of an operation on a cell of an int64 array that threads share, ordered before and after all others."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        base = context.make_array(cells)(context, builder, values[0]).data
        return builder.atomic_rmw(operation, builder.gep(base, [values[1]]), values[2], "seq_cst")

    return types.int64(cells, types.int64, types.int64), generate


@intrinsic
def add_to(typing_context: Any, cells: Any, index: Any, amount: Any) -> Any:
    """Add to a cell that other threads add to as well; returns what was there before."""
    return _atomic("add", cells)


@intrinsic
def swap_in(typing_context: Any, cells: Any, index: Any, value: Any) -> Any:
    """Write a cell that other threads add to; returns what was there before."""
    return _atomic("xchg", cells)


@intrinsic
def list_item(typing_context: Any, listed: Any, place: Any) -> Any:
    """Address of an item of a Python list, which is given by its own address; the item itself is not touched.

    `PyList_GetItem`, of Python's stable ABI, lends the item. For functions that are called with the interpreter's lock held.
    """

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _of_python(builder, "PyList_GetItem", values)

    return types.int64(types.int64, types.int64), generate


@intrinsic
def list_length(typing_context: Any, listed: Any) -> Any:
    """Length of a Python list, likewise."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _of_python(builder, "PyList_Size", values)

    return types.int64(types.int64), generate


@intrinsic
def word_at(typing_context: Any, address: Any, offset: Any) -> Any:
    """Eight bytes of memory, so many bytes behind an address; whoever asks must know that something is there."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.inttoptr(builder.add(*values), _WORD.as_pointer()))

    return types.int64(types.int64, types.int64), generate


@intrinsic
def fetch_ahead(typing_context: Any, array: Any, index: Any) -> Any:
    """Have the processor begin to fetch the first two cache lines of an item, which is about to be read and written."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind, (array, index) = signature.args[0], values
        item = builder.gep(context.make_array(kind)(context, builder, array).data, [index])
        _prefetch(builder, builder.ptrtoint(item, _WORD), True, 0, CACHE_LINE_BYTES)
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


@intrinsic
def fetch_line_ahead(typing_context: Any, address: Any) -> Any:
    """The same of one cache line at an address, which may be any, as nothing is read yet; to be read and not written."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _prefetch(builder, values[0], False, 0)
        return context.get_dummy_value()

    return types.void(types.int64), generate


def _prefetch(builder: Any, address: Any, written: bool, *offsets: int) -> None:
    byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    for offset in offsets:
        line = builder.inttoptr(builder.add(address, _WORD(offset)), byte)
        builder.call(prefetch, [line, word(int(written)), word(3), word(1)])


def _of_python(builder: Any, name: str, words: Any) -> Any:
    kind = ir.FunctionType(_WORD, [_WORD] * len(words))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), words)


def _write(context: Any, builder: Any, words: Any, kind: Any, value: Any, at: int) -> int:
    """The reverse of `_read`; returns where the next value begins."""

    def put(index: int, word: Any) -> None:
        builder.store(word, cgutils.gep_inbounds(builder, words, index))

    if isinstance(kind, types.BaseTuple):
        for index, part in enumerate(kind):
            at = _write(context, builder, words, part, builder.extract_value(value, index), at)
        return at
    if isinstance(kind, types.Array):
        if kind.layout != "C":
            raise TypeError(f"a native function reads contiguous arrays, got {kind}")
        array = context.make_array(kind)(context, builder, value)
        put(at, builder.ptrtoint(array.data, _WORD))
        for axis, length in enumerate(cgutils.unpack_tuple(builder, array.shape, kind.ndim)):
            put(at + 1 + axis, length)
        return at + 1 + kind.ndim
    if isinstance(kind, types.Float):
        put(at, builder.bitcast(value, _WORD))
    else:
        put(at, context.cast(builder, value, kind, types.int64))
    return at + 1
