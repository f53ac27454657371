"""Tiny ONNX files made by hand, with every way to store a tensor.

No byte here is written or read by the package: `prune` alone calls it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from onnxprune.types import Report

Array = NDArray[Any]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FLOAT, UINT8, INT8, FLOAT16, DOUBLE, BFLOAT16 = 1, 2, 3, 10, 11, 16
NAMES = {
    FLOAT: "fp32",
    DOUBLE: "fp64",
    FLOAT16: "fp16",
    BFLOAT16: "bf16",
    INT8: "int8",
    UINT8: "uint8",
}
STORED = {
    FLOAT: "<f4",
    DOUBLE: "<f8",
    FLOAT16: "<f2",
    BFLOAT16: "<u2",
    INT8: "i1",
    UINT8: "u1",
}
FIELD = {FLOAT: (4, FIXED32), DOUBLE: (10, FIXED64)}
INT32_DATA = (5, VARINT)


def varint(number: int, width: int = 1) -> bytes:
    """Write a number in at least so many bytes; negative ones take ten."""
    number &= (1 << 64) - 1
    out = []
    while number > 0x7F or len(out) < width - 1:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3 | VARINT) + varint(value)


def pieces(kind: int, values: Array, before: Array | None = None) -> list[bytes]:
    """Write each value; as a varint it is at least as wide as the value before it was."""
    if kind in FIELD:
        return [value.tobytes() for value in values.reshape(-1).astype(STORED[kind])]
    numbers = _numbers(kind, values)
    old = numbers if before is None else _numbers(kind, before)
    return [varint(new, len(varint(was))) for new, was in zip(numbers, old, strict=True)]


def _numbers(kind: int, values: Array) -> list[int]:
    flat = np.ascontiguousarray(values).reshape(-1)
    return [int(n) for n in (flat.view("<u2") if kind == FLOAT16 else flat)]


def packed(number: int, wire: int, parts: list[bytes]) -> bytes:
    return field(number, b"".join(parts))


def split(number: int, wire: int, parts: list[bytes]) -> bytes:
    chunks = (parts[:3], [], parts[3:-2], parts[-2:])
    return b"".join(field(number, b"".join(chunk)) for chunk in chunks)


def unpacked(number: int, wire: int, parts: list[bytes]) -> bytes:
    return b"".join(varint(number << 3 | wire) + part for part in parts)


def mixed(number: int, wire: int, parts: list[bytes]) -> bytes:
    middle = len(parts) // 3
    return (
        unpacked(number, wire, parts[:2])
        + packed(number, wire, parts[2:middle])
        + unpacked(number, wire, parts[middle:-1])
        + packed(number, wire, parts[-1:])
    )


def wide_tags(number: int, wire: int, parts: list[bytes]) -> bytes:
    return b"".join(varint(number << 3 | wire, 3) + part for part in parts)


TYPED: dict[str, Callable[[int, int, list[bytes]], bytes]] = {
    "packed": packed,
    "split": split,
    "unpacked": unpacked,
    "mixed": mixed,
    "wide tags": wide_tags,
}
ENCODINGS = ("raw", *TYPED)


def data(kind: int, values: Array, encoding: str, before: Array | None = None) -> bytes:
    """Write the data field of a tensor."""
    if encoding == "raw":
        return field(9, np.ascontiguousarray(values).tobytes())
    return TYPED[encoding](*FIELD.get(kind, INT32_DATA), pieces(kind, values, before))


def tensor(
    name: str, kind: int, values: Array, encoding: str = "raw", before: Array | None = None
) -> bytes:
    """Write a TensorProto."""
    dims = b"".join(number_field(1, size) for size in values.shape)
    content = data(kind, values, encoding, before)
    return dims + number_field(2, kind) + content + field(8, name.encode())


def outside(name: str, kind: int, shape: Sequence[int], **entries: object) -> bytes:
    """Write a TensorProto whose data lies in another file."""
    proto = TensorProto(
        name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL
    )
    for key, value in entries.items():
        proto.external_data.add(key=key, value=str(value))
    return bytes(proto.SerializeToString())


def some(kind: int, shape: tuple[int, ...], seed: int = 0) -> Array:
    """Make values as they are stored, zeros of both signs among them."""
    random = np.random.default_rng([seed, kind])
    if kind in (INT8, UINT8):
        limits = np.iinfo(STORED[kind])
        return random.integers(limits.min, limits.max, shape, STORED[kind], True)
    values = random.standard_normal(shape)
    values.reshape(-1)[[1, 4]] = 0.0, -0.0
    if kind == BFLOAT16:
        return (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    return values.astype(STORED[kind])


def real(kind: int, stored: Array) -> Array:
    """Return what stored values mean."""
    if kind == BFLOAT16:
        stored = (stored.astype(np.uint32) << 16).view(np.float32)
    return stored.astype(np.float64)


def zeroed(stored: Array, magnitude: Array, sparsity: float, zero: Any = 0) -> Array:
    """Return the values with the smallest gone; among equal ones, the first go first."""
    result = stored.copy()
    count = round(sparsity * stored.size)
    order = np.argsort(magnitude, axis=None, kind="stable")[:count]
    result.reshape(-1)[order] = np.broadcast_to(zero, stored.shape).reshape(-1)[order]
    return result


def model_of(tensors: Sequence[bytes], graph: onnx.GraphProto) -> bytes:
    """Write a model file whose graph holds initializers that were made by hand."""
    body = graph.SerializeToString() + b"".join(field(5, part) for part in tensors)
    head = number_field(1, 10) + field(2, b"by hand")
    return head + field(7, body) + field(8, number_field(2, 21))


def graph_of(
    kind: int, shape: Sequence[int], names: Sequence[str] = ("w",)
) -> onnx.GraphProto:
    """Multiply an input by each weight; what is quantised goes through DequantizeLinear."""
    outer = FLOAT if kind in (INT8, UINT8) else kind
    nodes = []
    for name in names:
        source = name
        if kind in (INT8, UINT8):
            source = f"{name}_real"
            inputs = [name, "scale", "zero"]
            nodes.append(helper.make_node("DequantizeLinear", inputs, [source], axis=1))
        nodes.append(helper.make_node("MatMul", ["x", source], [f"{name}_y"]))
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", outer, [2, shape[0]])],
        [helper.make_tensor_value_info(f"{name}_y", outer, [2, shape[1]]) for name in names],
    )


def one_weight(kind: int, content: bytes, shape: Sequence[int], *others: bytes) -> bytes:
    """Write a model with the weight `w`, and what other tensors it takes."""
    return model_of([content, *others], graph_of(kind, shape))


def scaling(kind: int, zero: Array, scale: Array) -> tuple[bytes, bytes]:
    """Write the scale and the zero point of a quantised weight."""
    points = tensor("zero", kind, zero.astype(STORED[kind]))
    return tensor("scale", FLOAT, scale.astype("<f4")), points


def prune(path: Path, output: Path, sparsity: float = 0.5, **settings: Any) -> Report:
    """Prune a file by global magnitude, without asking the libraries."""
    fields = {"sparsity": sparsity, "method": "global"}
    return prune_file(
        path, make_recipe(fields), Settings(output=output, verify=False, **settings)
    )


def read(path: Path, name: str = "w") -> Array:
    """Read an initializer with the onnx package, as it is stored."""
    model = onnx.load(path)
    found = next(each for each in model.graph.initializer if each.name == name)
    values = numpy_helper.to_array(found)
    return values.view(np.uint16) if found.data_type == BFLOAT16 else values
