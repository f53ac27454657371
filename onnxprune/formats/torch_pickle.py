"""Reads the pickles in torch's archives without running anything that they name.

Their few operations are followed here one by one, for Python's own reader can be made to run, to
hang, or to take all memory. Only stand-ins are made: for modules their attributes, for tensors
where their values lie. A name that is not on the lists below is refused, whatever it is.
"""

import pickletools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from onnxprune.errors import InputError, LimitError, OnnxpruneError, UnsafeError

KINDS = {
    "HalfStorage": "FLOAT16",
    "LongStorage": "INT64",
    "IntStorage": "INT32",
    "ShortStorage": "INT16",
    "CharStorage": "INT8",
    "ByteStorage": "UINT8",
    "ComplexFloatStorage": "COMPLEX64",
    "ComplexDoubleStorage": "COMPLEX128",
}
"""Types of storages that ONNX has another name for, and that name."""

DTYPES = re.compile(r"bool|(q?u?int|b?float|complex)\d\w*")
DEPTH, OBJECTS, NAME = 200, 1_000_000, 1_000
"""How deep objects may be nested, how many there may be, and how long a path to one may be."""

STEPS, DIMENSIONS, NUMBER = 10_000_000, 64, 1 << 62


@dataclass(frozen=True, slots=True)
class Storage:
    """Values that tensors are views of: the name of their member, and their type."""

    key: str
    kind: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredView:
    """A tensor: which values of a storage it shows, and how."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class Scripted:
    """Stands for an object of a script, mostly a module: its state, none of its code."""

    def __init__(self) -> None:
        self.state: Any = {}


class Opaque:
    """Stands for an object whose values are not looked at."""


def unpickle(data: bytes, folder: str) -> Any:
    """Return what a pickle of an archive holds, as stand-ins.

    Args:
        data: the pickle.
        folder: of the members that its storages are in.
    """
    try:
        return _Reader(folder).read(data)
    except (OnnxpruneError, MemoryError):
        raise
    except Exception as error:
        raise InputError("a pickle in the archive is damaged") from error


def views(value: Any) -> Iterator[tuple[str, StoredView]]:
    """Go through all tensors of an object, each with the path that leads to it."""
    seen = 0
    waiting = [iter([("", value)])]
    while waiting:
        path, each = next(waiting[-1], (None, None))
        if path is None:
            waiting.pop()
            continue
        seen += 1
        if len(waiting) > DEPTH or seen > OBJECTS or len(path) > NAME:
            raise LimitError("the objects in a pickle of the archive are nested too deep")
        if isinstance(each, StoredView):
            yield path, each
        elif isinstance(each, Scripted | dict | list | tuple):
            waiting.append(_inner(path, each))


def children(value: Any) -> Iterator[tuple[str, Any]]:
    """Go through what is in an object, by name."""
    if isinstance(value, Scripted):
        value = value.state
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from ((str(number), inner) for number, inner in enumerate(value))


def _inner(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    return ((f"{path}.{name}" if path else name, each) for name, each in children(value))


@dataclass(slots=True, eq=False)
class _Reader:
    """A pickle's stack of values, and those it has put aside."""

    folder: str
    stack: list[Any] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def read(self, data: bytes) -> Any:
        """Follow the operations up to the last one."""
        for step, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if step > STEPS:
                raise LimitError(f"a pickle in the archive takes more than {STEPS:,} steps")
            name = operation.name
            if name in LITERALS:
                self.stack.append(argument)
            elif name in EMPTY:
                self.stack.append(EMPTY[name]())
            elif name in TUPLES:
                self.stack.append(tuple(self.several(TUPLES[name])))
            elif name not in IGNORED:
                OPERATIONS[name](self, argument)
        return self.stack.pop()

    def several(self, count: int) -> list[Any]:
        """Take the last values."""
        return [self.stack.pop() for _ in range(count)][::-1]

    def marked(self) -> list[Any]:
        """Take the values behind the last mark."""
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def put(self, place: int | None) -> None:
        """Put the last value aside."""
        self.memo[len(self.memo) if place is None else place] = self.stack[-1]

    def extend(self, values: list[Any]) -> None:
        """Add values to a list."""
        if not isinstance(self.stack[-1], list):
            raise TypeError("not a list")
        self.stack[-1].extend(values)

    def enter(self, values: list[Any]) -> None:
        """Add names and values in turn to a dictionary."""
        table = self.stack[-1]
        if not isinstance(table, dict):
            raise TypeError("not a dictionary")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # As text: some tuples take for ever to be hashed, some numbers all hash alike.
            plain = isinstance(key, str | int | float | None)
            table[str(key) if plain else f"key {len(table)}"] = value

    def name(self, spelt: str) -> None:
        """Find what a module and a name in it stand for."""
        module, _, name = spelt.partition(" ")
        module = "builtins" if module == "__builtin__" else module
        self.stack.append(_find(module, name))

    def call(self, _: object) -> None:
        """Make a stand-in."""
        maker, arguments = self.several(2)
        if isinstance(maker, type):  # whatever it takes; what enums take is in no tuple
            self.stack.append(maker())
        elif not isinstance(arguments, tuple) or len(arguments) > DIMENSIONS:
            raise TypeError("not arguments")
        else:
            self.stack.append(maker(*arguments))

    def build(self, _: object) -> None:
        """Give an object its state."""
        holder, state = self.several(2)
        if isinstance(holder, Scripted):
            holder.state = state
        self.stack.append(holder)

    def refer(self, _: object) -> None:
        """Find the storage that is referred to."""
        word, kind, key, _, size = self.stack.pop()
        if word != "storage" or not isinstance(kind, str) or not isinstance(size, int):
            raise ValueError("not a storage")
        if not isinstance(key, str) or len(key) > NAME:
            raise ValueError("not a name of a storage")
        self.stack.append(Storage(f"{self.folder}/{key}", kind, size))


LITERALS = {"INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2"}
LITERALS |= {"FLOAT", "BINFLOAT", "STRING", "BINSTRING", "SHORT_BINSTRING"}
LITERALS |= {"UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}
LITERALS |= {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
EMPTY: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
IGNORED = {"PROTO", "FRAME", "STOP"}
OPERATIONS: dict[str, Callable[[_Reader, Any], None]] = {
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"), _Reader.put),
    **dict.fromkeys(
        ("GET", "BINGET", "LONG_BINGET"),
        lambda reader, place: reader.stack.append(reader.memo[place]),
    ),
    "MARK": lambda reader, _: reader.marks.append(len(reader.stack)),
    "LIST": lambda reader, _: reader.stack.append(reader.marked()),
    "TUPLE": lambda reader, _: reader.stack.append(tuple(reader.marked())),
    "APPEND": lambda reader, _: reader.extend(reader.several(1)),
    "APPENDS": lambda reader, _: reader.extend(reader.marked()),
    "SETITEM": lambda reader, _: reader.enter(reader.several(2)),
    "SETITEMS": lambda reader, _: reader.enter(reader.marked()),
    "GLOBAL": _Reader.name,
    "INST": _Reader.name,
    "STACK_GLOBAL": lambda reader, _: reader.name(" ".join(reader.several(2))),
    "REDUCE": _Reader.call,
    "NEWOBJ": _Reader.call,
    "BUILD": _Reader.build,
    "BINPERSID": _Reader.refer,
}
"""What a pickle may do; an operation that torch does not write makes it a damaged one."""


def _find(module: str, name: str) -> Any:
    """Return the stand-in of a name."""
    if module.startswith("__torch__"):
        return Scripted
    if module == "torch" and name.endswith("Storage"):
        return KINDS.get(name, name.removesuffix("Storage").replace("_", "").upper())
    if module == "torch" and DTYPES.fullmatch(name):
        return name
    if (module, name) in KNOWN:
        return KNOWN[module, name]
    raise UnsafeError(
        f"a pickle in it calls {module}.{name}: refused, for it could do anything",
        "export the model to ONNX or to TorchScript",
    )


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: object) -> StoredView:
    if not isinstance(storage, Storage):
        raise TypeError("not a storage")
    (offset,), shape, stride = _sizes((offset,)), _sizes(shape), _sizes(stride)
    if len(shape) != len(stride):
        raise InputError("a tensor of the archive has another number of strides than sizes")
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if all(shape) and offset + last >= storage.size:
        raise InputError(f"a tensor is larger than its storage of {storage.size:,} values")
    return StoredView(storage, offset, shape, stride)


def _sizes(values: Any) -> tuple[int, ...]:
    if len(values) > DIMENSIONS or not all(isinstance(each, int) for each in values):
        raise TypeError("not sizes")
    if not all(0 <= each < NUMBER for each in values):
        raise InputError("a tensor of the archive has a negative size, or too large a one")
    return tuple(values)


def _first(value: Any, *_: object) -> Any:
    return value


KNOWN: dict[tuple[str, str], Any] = {
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _first,
    ("torch._utils", "_rebuild_tensor_v3"): Opaque,
    ("torch._utils", "_rebuild_qtensor"): Opaque,
    ("torch._utils", "_rebuild_sparse_tensor"): Opaque,
    ("torch.jit._pickle", "restore_type_tag"): _first,
    **{
        ("torch.jit._pickle", f"build_{kind}list"): _first
        for kind in ("tensor", "int", "double", "bool")
    },
    ("torch.jit._pickle", "build_tensor_from_id"): Opaque,
    ("collections", "OrderedDict"): dict,
    ("builtins", "complex"): Opaque,
    ("torch.storage", "UntypedStorage"): "UNDEFINED",
    ("torch", "device"): Opaque,
    ("torch", "Size"): _first,
    ("torch", "per_tensor_affine"): "",
    ("torch", "per_channel_affine"): "",
}
"""What a pickle may name besides objects of scripts, types of storages and types of values."""
