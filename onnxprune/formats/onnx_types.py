"""The element types of ONNX: names, widths, and the data field each belongs in."""

import math

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.formats.onnx_tensor import TensorRecord

NAMES = [
    "UNDEFINED",
    "FLOAT",
    "UINT8",
    "INT8",
    "UINT16",
    "INT16",
    "INT32",
    "INT64",
    "STRING",
    "BOOL",
    "FLOAT16",
    "DOUBLE",
    "UINT32",
    "UINT64",
    "COMPLEX64",
    "COMPLEX128",
    "BFLOAT16",
    "FLOAT8E4M3FN",
    "FLOAT8E4M3FNUZ",
    "FLOAT8E5M2",
    "FLOAT8E5M2FNUZ",
    "UINT4",
    "INT4",
    "FLOAT4E2M1",
    "FLOAT8E8M0",
    "UINT2",
    "INT2",
]
WIDTHS = [
    "0",
    "32",
    "8",
    "8",
    "16",
    "16",
    "32",
    "64",
    "0",
    "8",
    "16",
    "64",
    "32",
    "64",
    "64",
    "128",
    "16",
    "8",
    "8",
    "8",
    "8",
    "4",
    "4",
    "4",
    "8",
    "2",
    "2",
]
BITS = {name: int(bits) for name, bits in zip(NAMES, WIDTHS, strict=True)}
STORAGE = {
    "FLOAT": "<f4",
    "DOUBLE": "<f8",
    "FLOAT16": "<f2",
    "BFLOAT16": "<u2",
    "INT8": "i1",
    "UINT8": "u1",
}
"""Types whose weights can be pruned, and how numpy reads them."""

FLOATS = {name for name in NAMES if "FLOAT" in name} | {"DOUBLE"}
NUMPY_NAMES = {
    "FLOAT": "float32",
    "DOUBLE": "float64",
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
}
FIELDS = {
    "FLOAT": "float_data",
    "COMPLEX64": "float_data",
    "DOUBLE": "double_data",
    "COMPLEX128": "double_data",
    "INT64": "int64_data",
    "UINT32": "uint64_data",
    "UINT64": "uint64_data",
    "STRING": "string_data",
}
RANK_LIMIT = 64
COUNT_LIMIT = 1 << 62


def type_name(record: TensorRecord) -> str:
    """Return the name of a tensor's element type."""
    if record.data_type == 0:
        raise InputError(f"'{record.name}': data type UNDEFINED")
    if record.data_type >= len(NAMES):
        raise InputError(f"'{record.name}': unknown data type {record.data_type}")
    return NAMES[record.data_type]


def element_count(record: TensorRecord) -> int:
    """Multiply the dimensions, refusing those that no tensor can have."""
    name, dims = record.name, record.dims
    if len(dims) > RANK_LIMIT:
        kind = UnsupportedError if len(dims) < 1024 else InputError
        raise kind(f"'{name}': rank {len(dims):,} (the limit is {RANK_LIMIT})")
    for dim in dims:
        if dim < 0:
            raise InputError(f"'{name}': negative dimension {dim}")
    if math.prod(dim for dim in dims if dim) >= COUNT_LIMIT:
        raise InputError(f"'{name}': dimension product overflows")
    return math.prod(dims)


def check_record(record: TensorRecord) -> None:
    """Check that a tensor's inline data is of the right kind and length."""
    name, kind = record.name, type_name(record)
    count = element_count(record)
    spelled = f"{kind}{record.dims}".replace(" ", "")
    if record.external is not None:
        if record.fields:
            raise InputError(f"'{name}': external and inline data both")
        return
    if len(record.fields) > 1:
        raise InputError(f"'{name}': more than one data field")
    if record.fields:
        _check_field(record, kind, record.fields[0])
        _check_length(record, kind, count, spelled)
    elif count:
        raise InputError(f"'{name}': no data for {count:,} elements")


def _check_field(record: TensorRecord, kind: str, used: str) -> None:
    if kind == "STRING" and used == "raw_data":
        raise InputError(f"'{record.name}': STRING with raw_data")
    if used not in ("raw_data", "floats") and used != FIELDS.get(kind, "int32_data"):
        raise InputError(f"'{record.name}': {kind} data in {used}")


def _check_length(record: TensorRecord, kind: str, count: int, spelled: str) -> None:
    found = sum(run.count for run in record.runs)
    if record.fields == ["raw_data"]:
        needs = needed_bytes(kind, count)
        if found != needs:
            raise InputError(
                f"'{record.name}': raw_data has {found:,} bytes, {spelled} needs {needs:,}"
            )
    elif record.runs:
        per_element = 2 if kind.startswith("COMPLEX") else 1
        if found != count * per_element:
            raise InputError(f"'{record.name}': {found:,} values for {count:,} elements")


def needed_bytes(kind: str, count: int) -> int:
    """Count the bytes of so many elements, packed types rounded up to a byte."""
    return -(-count * BITS[kind] // 8)
