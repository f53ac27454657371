"""Writes a model that lost channels: beside its place, to be looked at before it goes there."""

import contextlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from onnxprune.errors import InputError, LimitError, OutputError
from onnxprune.formats.onnx_file import SIZE_LIMIT, OnnxModel, load_onnx
from onnxprune.formats.onnx_graph import Address
from onnxprune.formats.onnx_locations import data_name
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.output import Temporary, check_space, write_at
from onnxprune.formats.wire import read_exactly
from onnxprune.structure.constants import message_of
from onnxprune.structure.surgery import Surgery

ALIGNMENT = 4096
"""Where tensors of a data file begin, so that they can be mapped into memory."""

LARGE = 1 << 20


@dataclass(slots=True, eq=False)
class Written:
    """A model that is written but not in place.

    Args:
        output: where it goes.
        main: the model file; `data`: its data file, if it has one.
        data: see above.
        name: what the model calls the data file.
    """

    output: Path
    main: Temporary
    data: Temporary | None = None
    name: str = ""

    def open(self) -> OnnxModel:
        """Open it where it is."""
        places = {} if self.data is None else {self.name: self.data.path}
        return load_onnx(self.main.path, places)

    def commit(self) -> list[Path]:
        """Put it in place, the model last; return its files."""
        files = [self.output]
        if self.data is not None:
            files.append(self.output.with_name(self.name))
            self.data.commit(files[-1])
        self.main.commit()
        return files


@contextlib.contextmanager
def write_cut(surgery: Surgery, output: Path) -> Iterator[Written]:
    """Write a model without some channels; what is not committed goes away."""
    model = surgery.model
    check_space(output.parent, sum(file.size for file in model.all_files()))
    data = read_exactly(model.source.descriptor, 0, model.source.size)
    proto = onnx.ModelProto.FromString(data)
    del data
    with contextlib.ExitStack() as stack:
        outside = _External(output, stack)
        _cut(surgery, proto, outside)
        surgery.mend(proto)
        if proto.ByteSize() >= SIZE_LIMIT:
            raise LimitError(
                "the model without its channels is still over 2 GiB in one message"
            )
        main = stack.enter_context(Temporary(output))
        write_at(main.descriptor, proto.SerializeToString(), 0, output)
        for source in model.all_files():
            source.check_unchanged()
        yield Written(output, main, outside.temporary, outside.name)


def _cut(surgery: Surgery, proto: onnx.ModelProto, outside: "_External") -> None:
    """Replace the tensors that lose positions, and move data that lie in other files."""
    cuts = surgery.cuts()
    records: Mapping[Address, TensorRecord] = surgery.model.scan.tensors
    for address, record in records.items():
        if address not in cuts and record.external is None:
            continue
        message = find_message(proto, address)
        if address in cuts:
            made = surgery.cut(cuts[address])
        else:
            made = message_of(surgery.model, record)
        if record.external is not None:
            file = surgery.model.files[record.external.entries["location"]]
            place = id(file), surgery.model.offsets[address]
            outside.add(message, made, place)
        elif isinstance(message, onnx.AttributeProto):
            message.ClearField("floats")
            message.floats.extend(onnx.numpy_helper.to_array(made).tolist())
        else:
            _replace(message, made)
    outside.finish()


def _replace(message: onnx.TensorProto, made: onnx.TensorProto) -> None:
    """Give a tensor other values and dimensions, and leave its words as they are."""
    for name in ("raw_data", "float_data", "int32_data", "int64_data", "double_data"):
        message.ClearField(name)
    message.ClearField("uint64_data")
    message.ClearField("dims")
    message.dims.extend(made.dims)
    message.raw_data = made.raw_data


@dataclass(slots=True, eq=False)
class _External:
    """The data file that a model with external data gets."""

    output: Path
    stack: contextlib.ExitStack
    temporary: Temporary | None = None
    name: str = ""
    _at: int = 0
    _sums: dict[int, int] = field(default_factory=dict)
    _known: dict[tuple[int, ...], int] = field(default_factory=dict)
    _messages: list[onnx.TensorProto] = field(default_factory=list)

    def add(
        self, message: onnx.TensorProto, made: onnx.TensorProto, place: tuple[int, int]
    ) -> None:
        """Write a tensor's data to the file, or name what another one of its place wrote.

        Args:
            message: says where the data are.
            made: has them.
            place: where they were, file and offset.
        """
        if self.temporary is None:
            beside = self.output.with_name("data")
            self.temporary = self.stack.enter_context(Temporary(beside))
        data = made.raw_data
        key = (*place, len(data), zlib.crc32(data))
        start = self._known.get(key)
        if start is None:
            start = self._append(self.temporary, data)
            self._known[key] = start
        _replace(message, onnx.TensorProto(dims=made.dims))
        message.ClearField("raw_data")
        message.ClearField("external_data")
        message.data_location = onnx.TensorProto.EXTERNAL
        for entry, number in (("offset", start), ("length", len(data))):
            message.external_data.add(key=entry, value=str(number))
        self._messages.append(message)

    def _append(self, temporary: Temporary, data: bytes) -> int:
        if len(data) >= LARGE:
            self._at = -(-self._at // ALIGNMENT) * ALIGNMENT
        start = self._at
        write_at(temporary.descriptor, data, start, self.output)
        self._sums[start] = zlib.crc32(data)
        self._at += len(data)
        return start

    def finish(self) -> None:
        """Choose the file's name and let all tensors say it."""
        if self.temporary is None:
            return
        self.name = data_name(self.output, self._sums)
        if os.path.lexists(self.output.with_name(self.name)) and self.name == self.output.name:
            raise OutputError(f"{self.output} has the name of its own data file")
        for message in self._messages:
            message.external_data.add(key="location", value=self.name)


def find_message(proto: onnx.ModelProto, address: Address) -> Any:
    """Return the tensor at an address; that of an attribute's floats is the attribute."""
    message: Any = proto
    for number, index in zip(address[::2], address[1::2], strict=True):
        described = message.DESCRIPTOR.fields_by_number.get(number)
        if described is None:
            raise InputError("a tensor is where the format has none")
        value = getattr(message, described.name)
        if described.message_type is None:
            return message
        message = value[index] if described.is_repeated else value
    return message
