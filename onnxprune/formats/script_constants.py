"""Finds the tensors of a loaded script's graphs in its file, where their names are."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from torch import Tensor

from onnxprune.formats.files import open_regular
from onnxprune.formats.onnx_types import STORAGE
from onnxprune.formats.torch_archive import TorchArchive
from onnxprune.formats.torch_content import CONSTANTS
from onnxprune.formats.torch_pickle import StoredView, unpickle, views
from onnxprune.formats.torchscript import bits_of
from onnxprune.formats.wire import read_exactly


def name_constants(path: Path, constants: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return constants by the names that the text of the script has for them.

    They are told by their values; where several are equal, the first name is for the first.
    """
    source = open_regular(path)
    try:
        archive = TorchArchive(source)
        if "constants.pkl" not in archive.members:
            return {}
        stored = dict(views(unpickle(archive.read("constants.pkl"), "constants")))
        waiting: dict[tuple[object, ...], list[str]] = {}
        for place, view in stored.items():
            waiting.setdefault(_stored_bits(archive, view), []).append(CONSTANTS + place)
    finally:
        source.close()
    found = {}
    for tensor in constants:
        _, *told = bits_of(tensor)  # the file has another name for its type
        names = waiting.get(tuple(told), [])
        if names:
            found[names.pop(0)] = tensor
    return found


def _stored_bits(archive: TorchArchive, view: StoredView) -> tuple[object, ...]:
    member = archive.members.get(view.storage.key)
    if member is None or not member.stored or view.storage.kind not in STORAGE:
        return view.shape, view.storage.key
    data = read_exactly(archive.source.descriptor, member.start, member.size)
    values = np.frombuffer(data, STORAGE[view.storage.kind])[view.offset :]
    strides = tuple(step * values.itemsize for step in view.stride)
    shown = np.lib.stride_tricks.as_strided(values, view.shape, strides, writeable=False)
    return view.shape, np.ascontiguousarray(shown).tobytes()
