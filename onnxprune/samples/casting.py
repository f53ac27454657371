"""Converts an array's values to the type that an input takes, if that changes none of them."""

from collections.abc import Callable

import numpy as np

from onnxprune.errors import InputError
from onnxprune.outcomes import Port
from onnxprune.samples.reading import Reading
from onnxprune.types import Array

Convert = Callable[[Array], Array]
Type = np.dtype[np.generic]
NUMBERS = "biuf"


def value_type(port: Port) -> Type:
    """Return numpy's type of an input's values."""
    return np.dtype(np.str_ if port.dtype == "str" else port.dtype)


def converting(found: Type, reading: Reading, port: Port, name: str) -> Convert:
    """Return what makes an array's values the input's type, refusing what is no number."""
    wanted = value_type(port)
    if found.kind == wanted.kind == "U":
        return lambda rows: rows.astype(rows.dtype.newbyteorder("="), copy=False)
    if found.newbyteorder("=") == wanted:
        return lambda rows: rows.astype(wanted, copy=False)
    castable = found.kind in NUMBERS and wanted.kind in NUMBERS
    if not castable or not reading.cast:
        hint = "--cast converts it" if castable else None
        if castable and found == np.uint8 and wanted.kind == "f":
            hint = "--mean, --std or --layout prepare pixels, --cast takes the numbers as they are"
        raise InputError(
            f"'{name}' is {found}, the model's input '{port.name}' takes {port.dtype}", hint
        )
    return lambda rows: _cast(rows, wanted, name)


def _cast(rows: Array, wanted: Type, name: str) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        made = rows.astype(wanted)
        changed = _changed(rows, made)
    if changed.any():
        value = rows[changed].reshape(-1)[0]
        raise InputError(f"--cast would change values of '{name}': {value} cannot be {wanted}")
    return made


def _changed(rows: Array, made: Array) -> Array:
    """Mark values that are not the same any more; rounding of floats does not count."""
    if rows.dtype.kind == made.dtype.kind == "f":
        return np.asarray(np.isinf(made) & ~np.isinf(rows))
    # Both ways: -1 as uint8 goes back to -1, and float64 compares with int64 inexactly.
    return np.asarray((made != rows) | (made.astype(rows.dtype) != rows))
