"""The nouns of checks as values that JSON can hold, and back; nothing of their look."""

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from fractions import Fraction
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin

from onnxprune.errors import InputError
from onnxprune.outcomes import Accuracy, Latency, OutputCheck
from onnxprune.points import Point

Noun = TypeVar("Noun")
NAMES = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}
DERIVED: dict[type, tuple[str, ...]] = {
    Accuracy: ("drop",),
    OutputCheck: ("agreement",),
    Latency: ("ratio",),
    Point: ("value",),
}
"""What follows from a noun's fields and is written for those who read the file."""


def encode(value: Any) -> Any:
    """Return a noun as plain values; numbers that JSON has no word for become None."""
    if is_dataclass(value):
        names = [field.name for field in fields(value)]
        names += DERIVED.get(type(value), ())
        return {name: encode(_derived(value, name)) for name in names}
    if isinstance(value, tuple | list):
        return [encode(each) for each in value]
    if isinstance(value, Fraction):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def decode(kind: type[Noun], value: Any, name: str) -> Noun:
    """Make a noun of plain values; `name` says in errors where they are in the file."""
    return _decode(kind, value, name)  # type: ignore[no-any-return]


def parse_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object, without the words for numbers that JSON does not have."""
    try:
        value = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InputError("not JSON") from error
    if not isinstance(value, dict):
        raise InputError("not a JSON object")
    return value


def _derived(value: Any, name: str) -> Any:
    # A time of nothing has no ratio.
    if isinstance(value, Latency) and name == "ratio" and not value.dense:
        return None
    return getattr(value, name)


def _decode(kind: Any, value: Any, name: str) -> Any:
    if isinstance(kind, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        return _decode(next(k for k in get_args(kind) if k is not NoneType), value, name)
    if get_origin(kind) is tuple:
        return _decode_tuple(get_args(kind), value, name)
    if is_dataclass(kind):
        return _decode_fields(kind, value, name)
    if kind is float:
        return _decode_number(value, name)
    if type(value) is not kind:
        raise InputError(f"{name} is not {NAMES[kind]}")
    return value


def _decode_fields(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{name} is not an object")
    found = {}
    for field in fields(kind):
        path = f"{name}.{field.name}"
        if field.name in value:
            found[field.name] = _decode(field.type, value[field.name], path)
        elif field.default is MISSING:
            raise InputError(f"{path} is missing")
    return kind(**found)


def _decode_tuple(kinds: tuple[Any, ...], value: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise InputError(f"{name} is not a list")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(value)
    if len(kinds) != len(value):
        raise InputError(f"{name} has {len(value)} values, not {len(kinds)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_decode(kind, each, f"{name}[{at}]") for at, (kind, each) in enumerate(pairs))


def _decode_number(value: Any, name: str) -> float:
    if value is None:
        return math.nan  # what a number is written as that JSON has no word for
    if type(value) not in (int, float):
        raise InputError(f"{name} is not {NAMES[float]}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{name} is too large a number")
    return number


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not JSON")
