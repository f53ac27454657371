"""One model in many variants: its skeleton once, its values in memory, changed for each variant."""

import mmap
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from onnxprune.formats.edits import Edit, Edits, check_edits
from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Address
from onnxprune.formats.onnx_tensor import INLINE, TensorRecord
from onnxprune.formats.onnx_types import STORAGE, element_count, needed_bytes, type_name
from onnxprune.formats.saving import Saving
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.wire import read_exactly
from onnxprune.selection import CHUNK
from onnxprune.threads import parallel
from onnxprune.trials.runner import InMemory, Runner, make_memory
from onnxprune.types import Array

INITIALIZERS = (7, 0, 5)
"""Where the main graph's initializers are; a session can be given no others."""

ALIGNMENT = 64
LOCATION = "onnxprune: given to the session"
NO_NUMPY = {"BFLOAT16": onnx.TensorProto.BFLOAT16}


@dataclass(frozen=True, slots=True, eq=False)
class _Slot:
    """Where one tensor's values go: to a place in memory, or into a message of the skeleton."""

    tensor: StoredTensor
    message: Any
    place: InMemory | None


class Variants:
    """An open model whose variants are run without writing a file.

    Large initializers lie in memory that the child process sees too, and are given to each new
    session. What a session cannot be given (constants in nodes and subgraphs, small tensors) is
    in the skeleton, which is made anew where a variant changes it.
    """

    def __init__(self, model: OnnxModel) -> None:
        self.model = model
        self._proto = onnx.ModelProto.FromString(model.scan.skeleton)
        self._slots: dict[str, list[_Slot]] = defaultdict(list)
        self._size = 0
        self._changed: set[str] = set()
        self._folder = scratch_folder()
        self._rest = self._arrange()
        self._descriptor = make_memory(max(self._size, 1))
        self._region = mmap.mmap(self._descriptor, max(self._size, 1))
        parallel(lambda slot: self._fill(slot, None), list(self._rest.values()))
        parallel(lambda path: self._put(path, None), list(self._slots))
        slots = [slot for slots in self._slots.values() for slot in slots]
        slots += self._rest.values()
        self._places = [slot.place for slot in slots if slot.place is not None]
        self._skeleton = self._proto.SerializeToString()

    def open(
        self,
        runner: Runner,
        key: str,
        edits: Edits,
        additions: Mapping[str, Array] | None = None,
    ) -> dict[str, Any]:
        """Make a session of the model with some of its tensors changed, and biases added."""
        if additions:
            # A session can be given other values, but not another graph.
            self._folder.cleanup()
            self._folder = scratch_folder()
            target = Path(self._folder.name, "variant.onnx")
            Saving(self.model, target, edits, verify=False, additions=additions).run()
            return runner.open(key, target)
        check_edits(self.model, edits)
        for path in edits:
            self._find_slot(path)
        again = sorted(self._changed | set(edits))
        parallel(lambda path: self._put(path, edits.get(path)), again)
        if any(slot.place is None for path in again for slot in self._slots[path]):
            self._skeleton = self._proto.SerializeToString()
        self._changed = set(edits)
        return runner.open(key, self._skeleton, self._places, self._descriptor)

    def close(self) -> None:
        """Give the memory back, and remove what was written."""
        self._folder.cleanup()
        self._region.close()
        os.close(self._descriptor)

    def __enter__(self) -> "Variants":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _arrange(self) -> dict[Address, _Slot]:
        """Find a place for every tensor; return those that are in memory and no weights."""
        weights = {f.constant.record.address: path for path, f in self.model.findings.items()}
        twins = {self._bytes_of(address): path for address, path in weights.items()}
        self._read = names_read(self._proto.graph)
        rest = {}
        for address, record in self.model.scan.tensors.items():
            # A tensor of the same bytes as a weight is pruned with it.
            path = weights.get(address) or twins.get(self._bytes_of(address) or record)
            message = find_message(self._proto, address)
            if path is not None:
                slot = _Slot(self.model.stored(path), message, self._place(record, message))
                self._slots[path].append(slot)
            elif isinstance(message, onnx.TensorProto) and message.external_data:
                place = self._place(record, message)
                if place is not None:
                    rest[address] = _Slot(self.model.tensor(record), message, place)
                else:
                    self._restore(message, record)
        return rest

    def _find_slot(self, path: str) -> None:
        """Get ready to change a tensor that is no weight."""
        if path not in self._slots:
            address = self.model.graph.by_path[path].record.address
            slot = self._rest.get(address)
            if slot is None:
                message = find_message(self._proto, address)
                slot = _Slot(self.model.stored(path), message, None)
            self._slots[path] = [slot]

    def _bytes_of(self, address: tuple[int, ...]) -> object:
        """Tell external tensors apart by their bytes, others not at all."""
        record = self.model.scan.tensors[address]
        if record.external is None:
            return record
        file = self.model.files[record.external.entries["location"]]
        return id(file), self.model.offsets[address], record.data_type, tuple(record.dims)

    def _place(self, record: TensorRecord, message: onnx.TensorProto) -> InMemory | None:
        """Give a large initializer a place in memory, and let the skeleton name it."""
        kind = type_name(record)
        length = needed_bytes(kind, element_count(record))
        initializer = record.address[:3] == INITIALIZERS and len(record.address) == 4
        if not initializer or kind not in STORAGE or length <= INLINE:
            return None
        if record.name not in self._read:
            return None  # the runtime drops it before it looks for values
        dims, start = tuple(record.dims), self._size
        self._size += -(-length // ALIGNMENT) * ALIGNMENT
        _clear(message)
        message.data_location = onnx.TensorProto.EXTERNAL
        entries = {"location": LOCATION, "offset": str(start), "length": str(length)}
        for key, value in entries.items():
            message.external_data.add(key=key, value=value)
        return InMemory(record.name, STORAGE[kind], NO_NUMPY.get(kind, 0), dims, start)

    def _restore(self, message: onnx.TensorProto, record: TensorRecord) -> None:
        """Put the data of a tensor that stays in the skeleton back into it."""
        if record.external is None:
            frame, source = record.frame, self.model.source.descriptor
            data = read_exactly(source, frame.start, frame.end - frame.start)
            message.CopyFrom(onnx.TensorProto.FromString(data))
            return
        file = self.model.files[record.external.entries["location"]]
        length = needed_bytes(type_name(record), element_count(record))
        _clear(message)
        start = self.model.offsets[record.address]
        message.raw_data = read_exactly(file.descriptor, start, length)

    def _put(self, path: str, edit: Edit | None) -> None:
        """Write a tensor as it is to be; those of the same bytes get the same."""
        first, *twins = self._slots[path]
        values = self._fill(first, edit)
        for twin in twins:
            if twin.place is None:
                _inline(twin.message, values)
            else:
                self._target(twin)[:] = values

    def _fill(self, slot: _Slot, edit: Edit | None) -> Array:
        """Write a tensor's values where they go, as they are to be."""
        tensor = slot.tensor
        target = self._target(slot)
        for start in range(0, tensor.size, CHUNK):
            raw = tensor.stored(start, min(start + CHUNK, tensor.size))
            if edit is not None:
                raw = edit.apply(tensor, raw, start)
            target[start : start + raw.size] = raw
        if slot.place is None:
            _inline(slot.message, target)
        return target

    def _target(self, slot: _Slot) -> Array:
        dtype, size = np.dtype(STORAGE[slot.tensor.kind]), slot.tensor.size
        if slot.place is None:
            return np.empty(size, dtype)
        return np.frombuffer(self._region, dtype, size, slot.place.offset)


def find_message(model: onnx.ModelProto, address: tuple[int, ...]) -> Any:
    """Return the tensor at an address; that of an attribute's floats is the attribute."""
    message: Any = model
    for number, index in zip(address[::2], address[1::2], strict=True):
        field = message.DESCRIPTOR.fields_by_number[number]
        value = getattr(message, field.name)
        if field.message_type is None:
            return message
        message = value[index] if field.is_repeated else value
    return message


def names_read(graph: onnx.GraphProto) -> set[str]:
    """Return the names of all values that nodes read, those of subgraphs included."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                names |= names_read(body)
    return names


def _inline(message: Any, values: Array) -> None:
    if isinstance(message, onnx.AttributeProto):
        message.ClearField("floats")
        message.floats.extend(values.tolist())
        return
    _clear(message)
    message.raw_data = values.tobytes()


def _clear(message: onnx.TensorProto) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.name.endswith("_data") or field.name == "data_location":
            message.ClearField(field.name)
