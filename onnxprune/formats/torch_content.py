"""Finds out what an archive of torch's holds, and where the values of its tensors lie."""

import json
from collections.abc import Iterator
from typing import Any

from onnxprune.errors import InputError, UnsafeError, UnsupportedError
from onnxprune.formats.torch_archive import TorchArchive
from onnxprune.formats.torch_pickle import Scripted, Storage, StoredView, unpickle, views

SCRIPT, PROGRAM = "TorchScript", "an exported program"
CONSTANTS = "CONSTANTS.c"
SCALARS = {
    1: "UINT8",
    2: "INT8",
    3: "INT16",
    4: "INT32",
    5: "INT64",
    6: "FLOAT16",
    7: "FLOAT",
    8: "DOUBLE",
    10: "COMPLEX64",
    11: "COMPLEX128",
    12: "BOOL",
    13: "BFLOAT16",
    28: "UINT16",
    29: "FLOAT8E4M3FN",
    30: "FLOAT8E5M2",
    31: "FLOAT8E4M3FNUZ",
    32: "FLOAT8E5M2FNUZ",
    33: "FLOAT8E8M0FNU",
}
"""Numbers of element types in exported programs, and what ONNX calls them."""

BITS = {"COMPLEX64": 64, "COMPLEX128": 128, "DOUBLE": 64, "INT64": 64, "BOOL": 8}
BITS |= {"FLOAT": 32, "INT32": 32, "FLOAT16": 16, "BFLOAT16": 16, "INT16": 16}
BITS |= {"INT8": 8, "UINT8": 8}


def kind_of(archive: TorchArchive) -> str:
    """Return what a model file is; what is none is refused with what to do instead."""
    names = archive.members
    if "archive_format" in names and archive.read("archive_format", 64).strip() == b"pt2":
        return PROGRAM
    if any(name.startswith("serialized_exported_program") for name in names):
        raise UnsupportedError(
            "an exported program in the form of an older torch",
            "load it there, and save it with torch.export.save of a newer one",
        )
    if "data.pkl" not in names:
        raise InputError("a zip archive, but none that torch wrote a model to")
    if "constants.pkl" in names and any(name.startswith("code/") for name in names):
        return SCRIPT
    # A pickle that calls what it likes is told by its names, before it can be a checkpoint.
    content = unpickle(archive.read("data.pkl"), "data")
    for _, view in views(content):
        _check_storage(archive, view)
    if isinstance(content, dict):
        raise UnsupportedError(
            "a checkpoint: tensors without a graph",
            "load them into their model, and export that to ONNX or to TorchScript",
        )
    raise UnsafeError(
        "a pickled object: refused", "export the model to ONNX or to TorchScript"
    )


def stored_tensors(archive: TorchArchive, kind: str) -> dict[str, StoredView]:
    """Return all tensors of a model by path, with where their values lie."""
    if "byteorder" in archive.members and archive.read("byteorder", 64) == b"big":
        raise UnsupportedError("its numbers are big-endian")
    found = dict(_of_program(archive) if kind == PROGRAM else _of_script(archive))
    for view in found.values():
        _check_storage(archive, view)
    return found


def plain_paths(archive: TorchArchive) -> list[str]:
    """Return the paths of the numbers and truths that the modules of a script have."""
    found, waiting = [], [("", unpickle(archive.read("data.pkl"), "data"))]
    while waiting:
        path, value = waiting.pop()
        state = value.state if isinstance(value, Scripted) else None
        for name, inner in state.items() if isinstance(state, dict) else ():
            place = f"{path}.{name}" if path else name
            if isinstance(inner, bool | int | float) and name != "training":
                found.append(place)
            waiting.append((place, inner))
    return found


def _of_script(archive: TorchArchive) -> Iterator[tuple[str, StoredView]]:
    yield from views(unpickle(archive.read("data.pkl"), "data"))
    constants = unpickle(archive.read("constants.pkl"), "constants")
    for place, view in views(constants):
        yield CONSTANTS + place, view


def _of_program(archive: TorchArchive) -> Iterator[tuple[str, StoredView]]:
    for folder in ("weights", "constants"):
        table = f"data/{folder}/model_{folder}_config.json"
        if table not in archive.members:
            continue
        try:
            entries = json.loads(archive.read(table))["config"]
            for path, entry in entries.items():
                view = _view(entry, f"data/{folder}")
                if view is not None:
                    yield str(path), view
        except (ValueError, LookupError, TypeError, ArithmeticError, AttributeError) as error:
            raise InputError(f"'{table}' in the archive is damaged") from error
        except RecursionError as error:
            raise InputError(f"'{table}' in the archive is damaged") from error


def _view(entry: dict[str, Any], folder: str) -> StoredView | None:
    """Read one entry of a table of tensors."""
    meta = entry.get("tensor_meta")
    if entry.get("use_pickle") or meta is None:
        return None
    shape, stride = (
        tuple(int(each["as_int"]) for each in meta[name]) for name in ("sizes", "strides")
    )
    offset = int(meta["storage_offset"]["as_int"])
    if len(shape) != len(stride) or min((offset, *shape, *stride)) < 0:
        raise ValueError("not a tensor")
    kind = SCALARS.get(int(meta["dtype"]), "UNDEFINED")
    last = sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    size = offset + last + 1 if all(shape) else 0
    return StoredView(
        Storage(f"{folder}/{entry['path_name']}", kind, size), offset, shape, stride
    )


def _check_storage(archive: TorchArchive, view: StoredView) -> None:
    """Refuse a tensor whose values are not all there."""
    storage = view.storage
    if storage.kind not in BITS:
        return
    member = archive.members.get(storage.key)
    if member is None:
        raise InputError(f"'{storage.key}' is missing in the archive")
    if member.size * 8 < storage.size * BITS[storage.kind]:
        raise InputError(
            f"a tensor is larger than its storage: '{storage.key}' has {member.size:,} bytes,"
            f" {storage.size:,} values of type {storage.kind} need more"
        )
