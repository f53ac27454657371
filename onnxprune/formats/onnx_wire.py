"""Walks an ONNX file once: where each tensor lies, and the graph without its bulk."""

from dataclasses import dataclass, field

from onnxprune.errors import InputError, LimitError
from onnxprune.formats.onnx_tensor import (
    Run,
    TensorRecord,
    TensorScan,
    read_name,
    unpacked_run,
)
from onnxprune.formats.wire import (
    BYTES,
    FIXED32,
    Frame,
    Reader,
    encode_field,
    open_frame,
    truncated,
)

FLOAT = 1
NODE_LIMIT = 200_000
"""The limit for tensors, too; of all messages together there may be ten times as many."""

DEPTH_LIMIT = 95
"""Messages inside one another; the protobuf library itself stops at 100."""

SHORT_TYPE = 256
"""Types of fewer bytes cannot be nested deeply enough to matter."""

# Per message: its known fields; a field with a name is a message to walk into.
SCHEMA: dict[str, dict[int, str]] = {
    "model": dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14, 26), "")
    | {7: "graph", 20: "training", 25: "function"},
    "graph": dict.fromkeys((2, 10, 14, 16), "")
    | {1: "node", 5: "tensor", 15: "sparse", 11: "value", 12: "value", 13: "value"},
    "node": dict.fromkeys((1, 2, 3, 4, 6, 7, 8, 9, 10), "") | {5: "attribute"},
    "attribute": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 15, 20, 21), "")
    | {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 14: "type"}
    | {22: "sparse", 23: "sparse"},
    "function": dict.fromkeys((1, 4, 5, 6, 8, 9, 10, 13, 14), "")
    | {7: "node", 11: "attribute", 12: "value"},
    "sparse": {1: "tensor", 2: "tensor", 3: ""},
    "training": {1: "graph", 2: "graph", 3: "", 4: ""},
    "value": {1: "", 2: "type", 3: "", 4: ""},
    "type": {1: "", 4: "element", 5: "map", 6: "", 7: "", 8: "", 9: "element"},
    "element": {1: "type"},
    "map": {1: "", 2: "type"},
}
SINGLE = {
    ("model", 7),
    ("attribute", 5),
    ("attribute", 6),
    ("attribute", 22),
    ("sparse", 1),
    ("sparse", 2),
    ("training", 1),
    ("training", 2),
}
NAMES = {
    "graph": {2},
    "node": {1, 2, 3, 4, 7, 8},
    "value": {1},
    "attribute": {1, 21},
    "function": {1, 4, 5, 6, 10, 13},
}


@dataclass(frozen=True, slots=True, eq=False)
class Scan:
    """What one walk over a model file found; of sparse tensors, where their fields begin."""

    tensors: dict[tuple[int, ...], TensorRecord]
    skeleton: bytes
    unknown_fields: int
    sparse: dict[tuple[int, ...], tuple[int, Frame]] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Message:
    """A message that is being walked; `parts` holds its rewritten bytes so far."""

    kind: str
    number: int
    begin: int
    frame: Frame
    address: tuple[int, ...]
    at: int
    copied: int
    parts: list[bytes] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)
    floats: list[Run] = field(default_factory=list)


class _Walk:
    def __init__(self, reader: Reader, node_limit: int) -> None:
        self.reader = reader
        self.node_limit = node_limit
        self.nodes = self.messages = 0
        self.unknown = 0
        self.twice = ""
        self.tensors: dict[tuple[int, ...], TensorRecord] = {}
        self.sparse: dict[tuple[int, ...], tuple[int, Frame]] = {}
        whole = Frame(None, 0, 0, reader.size)
        self.stack = [_Message("model", 0, 0, whole, (), 0, 0)]

    def run(self) -> bytes:
        while True:
            message = self.stack[-1]
            if message.at < message.frame.end:
                self._field(message)
                continue
            self.stack.pop()
            content = self._close(message)
            if not self.stack:
                self._refuse_twice()
                return (
                    content if content is not None else self.reader.bytes(0, self.reader.size)
                )
            if content is not None:
                self._replace(
                    self.stack[-1], message.number, message.begin, content, message.at
                )

    def _field(self, message: _Message) -> None:
        begin = message.at
        tag, at = self.reader.tag(begin, message.frame.end)
        number, wire = tag >> 3, tag & 7
        kind = SCHEMA[message.kind].get(number)
        if kind is None:
            self.unknown += 1
        if wire != BYTES:
            if number == 7 and message.kind == "attribute" and wire == FIXED32:
                end = message.frame.end
                run, message.at = unpacked_run(self.reader, begin, end, at - begin, wire)
                message.floats.append(run)
            else:
                message.at = self.reader.skip(wire, at, message.frame.end)
            return
        frame = open_frame(self.reader, message.frame, at)
        message.at = frame.end
        length = frame.end - frame.start
        if number == 7 and message.kind == "attribute":
            message.floats.append(Run(frame.start, length // 4, 4))
        elif number in NAMES.get(message.kind, ()):
            read_name(self.reader, frame)
        if kind and not (kind == "type" and length < SHORT_TYPE):
            self._descend(message, kind, number, begin, frame)

    def _descend(
        self, message: _Message, kind: str, number: int, begin: int, frame: Frame
    ) -> None:
        index = message.counts.get(number, 0)
        message.counts[number] = index + 1
        if index and (message.kind, number) in SINGLE:
            self.twice = self.twice or f"the field '{kind}' of a {message.kind} appears twice"
        self.messages += 1
        if self.messages > 10 * self.node_limit:
            raise LimitError(f"the model has more than {10 * self.node_limit:,} parts")
        address = (*message.address, number, index)
        if kind == "tensor":
            if len(self.tensors) >= self.node_limit:
                raise LimitError(f"the model has more than {self.node_limit:,} tensors")
            scan = TensorScan(self.reader, frame, address)
            self.tensors[address] = scan.record
            self.unknown += scan.record.unknown
            content = scan.skeleton()
            if content is not None:
                self._replace(message, number, begin, content, frame.end)
            return
        if kind == "sparse":
            self.sparse[address] = begin, frame
        if kind == "node":
            self.nodes += 1
            if self.nodes > self.node_limit:
                raise LimitError(f"the model has more than {self.node_limit:,} nodes")
        if len(self.stack) > DEPTH_LIMIT:
            raise LimitError("the model is nested too deeply (about 30 levels of subgraphs)")
        start = frame.start
        self.stack.append(_Message(kind, number, begin, frame, address, start, start))

    def _refuse_twice(self) -> None:
        """Refuse what protobuf would merge, once nothing in it is over a limit."""
        if self.twice:
            raise InputError(self.twice, "are these two models in one file?")

    def _replace(
        self, parent: _Message, number: int, begin: int, content: bytes, end: int
    ) -> None:
        if begin > parent.copied:
            parent.parts.append(self.reader.bytes(parent.copied, begin))
        parent.parts.append(encode_field(number, content))
        parent.copied = end

    def _close(self, message: _Message) -> bytes | None:
        if message.at != message.frame.end:
            raise truncated()
        if sum(run.count for run in message.floats) > 1:
            record = TensorRecord((*message.address, 7, 0), message.frame)
            record.data_type = FLOAT
            record.runs = message.floats
            record.dims = [sum(run.count for run in message.floats)]
            record.fields = ["floats"]
            self.tensors[record.address] = record
        if not message.parts:
            return None
        if message.copied < message.frame.end:
            message.parts.append(self.reader.bytes(message.copied, message.frame.end))
        return b"".join(message.parts)


def scan(descriptor: int, size: int, node_limit: int = NODE_LIMIT) -> Scan:
    """Find every tensor of an open ONNX file and build its skeleton."""
    walk = _Walk(Reader(descriptor, size), node_limit)
    skeleton = walk.run()
    return Scan(walk.tensors, skeleton, walk.unknown, walk.sparse)
