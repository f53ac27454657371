"""Matches the arrays of a set to a model's inputs, and says what makes of them what these take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np

from onnxprune.errors import InputError, UnsupportedError, UsageError
from onnxprune.outcomes import ANY, Port
from onnxprune.samples.casting import NUMBERS, Convert, converting, value_type
from onnxprune.samples.pixels import pixels_for
from onnxprune.samples.reading import Reading
from onnxprune.samples.table import REFERENCE, Spec, Table
from onnxprune.types import Array

LABELS = "labels"


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Which array feeds an input, and how.

    Args:
        port: the input.
        array: the array's name.
        convert: makes what the model takes of some rows.
        constant: whether the array goes with every sample as it is.
        whole: whether one row is all that the model takes at once.
        image: whether the array holds pixels that are prepared.
    """

    port: Port
    array: str
    convert: Convert
    constant: bool = False
    whole: bool = False
    image: bool = False


def match(table: Table, reading: Reading, ports: Sequence[Port]) -> list[Match]:
    """Find an array for every input, refusing what does not fit."""
    names = _names(table, reading, ports)
    matches = [_match(table, reading, port, names[port.name]) for port in ports]
    if reading.pixel_options and not any(each.image for each in matches):
        raise UsageError(
            f"{', '.join(reading.pixel_options)} given, but no input is fed images",
            "images are files, or arrays of uint8 for an input of floats",
        )
    return matches


def fixed_batch(matches: Sequence[Match]) -> int | None:
    """Return the batch size that the inputs fix, if any does."""
    fixed = {
        each.port.name: each.port.shape[0]
        for each in matches
        if not (each.constant or each.whole) and each.port.shape
    }
    fixed = {name: size for name, size in fixed.items() if size is not None}
    whole = next((each for each in matches if each.whole), None)
    if whole is not None:
        for name, size in fixed.items():
            if size != 1:
                raise InputError(
                    f"a sample of '{whole.array}' is all that a run takes, but one of '{name}'"
                    f" is only one of {size:,}",
                    "give each sample the whole shape of every input",
                )
        return None
    if len(set(fixed.values())) > 1:
        spelled = ", ".join(f"{size} in '{name}'" for name, size in fixed.items())
        raise InputError(
            f"the model's inputs fix different batch sizes: {spelled}",
            "give each sample the whole shape of every input, with the samples in front",
        )
    return next(iter(fixed.values()), None)


def label_column(table: Table, reading: Reading, matches: Sequence[Match]) -> str | None:
    """Return the name of the array of labels, if there is one."""
    taken = {each.array for each in matches}
    name = reading.labels
    if name is None:
        name = LABELS
        if name not in table.columns or name in taken:
            return None
    elif name not in table.columns:
        raise UsageError(f"--labels {name}: the set has no such array", _near(name, table))
    kind = table.columns[name].dtype
    if kind.kind not in NUMBERS:
        raise InputError(f"labels are whole numbers, '{name}' is {kind}")
    return name


def labels_of(rows: Array) -> Array:
    """Return labels as integers, one per sample."""
    if rows.ndim > 1 and rows.shape[1:] == (1,) * (rows.ndim - 1):
        rows = rows.reshape(rows.shape[0])
    with np.errstate(invalid="ignore"):
        labels = rows.astype(np.int64)
    wrong = np.asarray(labels != rows)
    if wrong.any():
        raise InputError(f"labels are whole numbers, not {rows[wrong].reshape(-1)[0]}")
    return labels


def describe(
    matches: Sequence[Match], table: Table, labels: str | None, reading: Reading
) -> list[str]:
    """Return notes on what is not used."""
    taken = {each.array for each in matches} | {labels}
    notes = [f"array '{name}' is not used" for name in _arrays(table) if name not in taken]
    if reading.shapes and not table.random:
        notes.append("--shape is not used: it is for random samples")
    return notes


def check_shape(port: Port, sample: Sequence[int], whole: bool) -> None:
    """Refuse samples whose shape an input does not take."""
    if port.shape is None:
        return
    wanted = port.shape if whole else port.shape[1:]
    same = len(sample) == len(wanted) and all(
        size in (None, found) for size, found in zip(wanted, sample, strict=True)
    )
    if not same:
        raise InputError(
            f"'{port.name}': samples of shape {_spell(sample)} do not fit the model's input of"
            f" {_spell(wanted)}"
        )


def _arrays(table: Table) -> list[str]:
    """Return the names of what a user gave."""
    names = [*table.columns, *table.constants]
    return [name for name in names if not name.startswith(REFERENCE)]


def _names(table: Table, reading: Reading, ports: Sequence[Port]) -> dict[str, str]:
    """Return the array's name for each input."""
    arrays = _arrays(table)
    known = [port.name for port in ports]
    for array, wanted in reading.inputs.items():
        if array not in arrays:
            raise UsageError(
                f"--input {array}={wanted}: the set has no array '{array}'",
                _near(array, table),
            )
        if wanted not in known:
            near = get_close_matches(wanted, known, 1)
            raise UsageError(
                f"--input {array}={wanted}: the model has no input '{wanted}'",
                f"did you mean {near[0]}?" if near else f"its inputs are {', '.join(known)}",
            )
    if len(set(reading.inputs.values())) < len(reading.inputs):
        raise UsageError("--input names one input twice")
    given: Mapping[str, str] = {port: array for array, port in reading.inputs.items()}
    names = {}
    for port in known:
        name = given.get(port, port)
        if name not in arrays:
            found = ", ".join(f"'{array}'" for array in arrays) or "none"
            likely = next((array for array in arrays if array != LABELS), "ARRAY")
            raise InputError(
                f"no array for the model's input '{port}'; the set has {found}",
                f"--input {likely}={port} names one",
            )
        names[port] = name
    return names


def _near(name: str, table: Table) -> str:
    arrays = _arrays(table)
    near = get_close_matches(name, arrays, 1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(arrays)}"


def _match(table: Table, reading: Reading, port: Port, name: str) -> Match:
    if port.dtype is None:
        raise UnsupportedError(
            f"the model's input '{port.name}' is no tensor that numpy knows"
        )
    if port.dtype == "bfloat16":
        raise UnsupportedError(
            f"the model's input '{port.name}' takes bfloat16, which numpy lacks"
        )
    if name in table.constants:
        return _constant(table.constants[name], reading, port, name)
    spec = table.columns[name]
    if port.dtype == ANY:
        # Pixels that are prepared are floats; whatever else there is stays as it is.
        pixels = spec.dtype == np.uint8 and (name == table.images or reading.pixel_options)
        taken = "float32" if pixels else spec.dtype.newbyteorder("=").name
        port = replace(port, dtype=taken)
    rank = None if port.shape is None else len(port.shape)
    image = _is_image(table, spec, reading, port, name)
    whole = table.whole or (rank is not None and len(spec.shape) == rank + 1)
    sample = spec.shape[1:]
    if not image:
        convert = converting(spec.dtype, reading, port, name)
    elif whole:
        inner, made = pixels_for(sample[1:], port, reading)
        convert, sample = (lambda rows: inner(rows[0])[None]), (sample[0], *made)
    else:
        convert, sample = pixels_for(sample, port, reading)
    check_shape(port, sample, whole)
    return Match(port, name, convert, whole=whole, image=image)


def _is_image(table: Table, spec: Spec, reading: Reading, port: Port, name: str) -> bool:
    """Tell whether an array holds pixels that have to be prepared."""
    wanted = value_type(port)
    if spec.dtype != np.uint8 or not (wanted.kind == "f" or wanted == np.uint8):
        return False
    return name == table.images or bool(reading.pixel_options)


def _constant(array: Array, reading: Reading, port: Port, name: str) -> Match:
    if port.shape is not None and any(size not in (1, None) for size in port.shape):
        raise InputError(
            f"'{name}' is one value, the model's input '{port.name}' takes"
            f" {_spell(port.shape)}"
        )
    if port.dtype == ANY:
        port = replace(port, dtype=array.dtype.newbyteorder("=").name)
    made = converting(array.dtype, reading, port, name)(array)
    made = np.asarray(made).reshape((1,) * len(port.shape or ()))
    return Match(port, name, lambda _: made, constant=True)


def _spell(shape: Sequence[int | None]) -> str:
    return "x".join("?" if size is None else str(size) for size in shape) or "one value"
