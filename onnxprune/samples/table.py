"""Sets of samples as tables: columns of arrays, one row per sample, read in pieces."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from onnxprune.errors import InputError, about
from onnxprune.samples.files import hash_files
from onnxprune.types import Array

Rows = dict[str, Array]
"""Some rows of every column."""

REFERENCE = "expected output: "
"""Begins the names of the columns that hold expected outputs."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A column's element type and the shape of its whole array."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, array: Array) -> "Spec":
        """Describe an array."""
        return cls(array.dtype, array.shape)

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return prod(self.shape[1:]) * self.dtype.itemsize


class Table(ABC):
    """Columns of samples.

    Args:
        source: what it was made from; `path`: the file or folder, if it was one.
        columns: the columns with one row per sample, by name.
        constants: arrays without dimensions, that go with every sample.
        size: rows, known once columns are taken; None where only going through tells.
        random: whether it is random numbers.
        whole: whether each row is all that a model is fed at once, its batch dimension included.
        images: the column that holds decoded image files, if one does.
        notes: what a user should know.
    """

    source: str
    path: Path | None = None
    columns: Mapping[str, Spec]
    constants: Mapping[str, Array]
    size: int | None = None
    random = False
    whole = False
    images: str | None = None
    notes: tuple[str, ...] = ()

    def take(self, names: Collection[str]) -> None:
        """Go on with these columns only, which must have equally many rows."""
        self.columns = {name: spec for name, spec in self.columns.items() if name in names}
        self.size = common_size(self.columns)

    @abstractmethod
    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""

    @abstractmethod
    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""

    def close(self) -> None:
        """Close what was opened."""
        return


class Arrays(Table):
    """Arrays in memory, or mapped into it.

    Args:
        source: what they come from.
        arrays: by name.
        files: those they are mapped from, by array.
    """

    def __init__(
        self,
        source: str,
        arrays: Mapping[str, Array],
        files: Mapping[str, Path] | None = None,
    ) -> None:
        self.source = source
        self._files = files
        given = {str(name): plain_array(name, array) for name, array in arrays.items()}
        self.constants = {name: array for name, array in given.items() if array.ndim == 0}
        self._arrays = {name: array for name, array in given.items() if array.ndim}
        self.columns = {name: Spec.of(array) for name, array in self._arrays.items()}

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        for start in range(0, self.size or 0, size):
            yield {name: self._arrays[name][start : start + size] for name in self.columns}

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        if self._files is not None:
            return hash_files(sorted(self._files.items()))
        total = hashlib.sha256()
        for name, array in sorted({**self._arrays, **self.constants}.items()):
            total.update(repr((name, array.dtype.str, array.shape)).encode())
            if array.nbytes:
                total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        return total.hexdigest()


class Chain(Table):
    """Several tables of the same columns, one after the other."""

    def __init__(self, source: str, tables: Sequence[Table]) -> None:
        self.source = source
        self._tables = tables
        self.columns = tables[0].columns
        self.constants = tables[0].constants

    def take(self, names: Collection[str]) -> None:
        """Go on with these columns only, which must be alike in all tables."""
        for table in self._tables:
            with about(_name(table)):
                table.take(names)
            self._check_alike(table)
        self.size = sum(table.size or 0 for table in self._tables)
        self.columns = {
            name: Spec(spec.dtype, (self.size, *spec.shape[1:]))
            for name, spec in self._tables[0].columns.items()
        }

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        for table in self._tables:
            with about(_name(table)):
                yield from table.pieces(size)

    def digest(self) -> str:
        """Return a SHA-256 sum of all that the rows come from."""
        sums = [table.digest() for table in self._tables]
        return hashlib.sha256(" ".join(sums).encode()).hexdigest()

    def _check_alike(self, other: Table) -> None:
        first = self._tables[0]
        for name in sorted({*first.columns, *other.columns}):
            pair = [table.columns.get(name) for table in (first, other)]
            kinds = [None if spec is None else (spec.dtype, spec.shape[1:]) for spec in pair]
            if kinds[0] != kinds[1]:
                raise self._differ(name, other)
        for name in sorted({*first.constants, *other.constants}):
            values = [table.constants.get(name) for table in (first, other)]
            if not same_constant(*values):
                raise self._differ(name, other)

    def _differ(self, name: str, other: Table) -> InputError:
        return InputError(
            f"{_name(other)} has another '{name}' than {_name(self._tables[0])}",
            "all files of a folder make one set: same arrays, types and sample shapes",
        )


def common_size(columns: Mapping[str, Spec]) -> int:
    """Return how many rows all columns have, refusing those without any."""
    size = equal_size(columns)
    if size == 0:
        raise InputError("the set has no samples")
    if not any(each.row_bytes for each in columns.values()):
        raise InputError("the samples hold no values")
    return size


def equal_size(columns: Mapping[str, Spec]) -> int:
    """Return how many rows all columns have, refusing those that differ."""
    if not columns:
        raise InputError("the set has no arrays with samples")
    (first, spec), *rest = columns.items()
    for name, other in rest:
        if other.shape[0] != spec.shape[0]:
            raise InputError(
                f"{spec.shape[0]:,} samples of '{first}', but {other.shape[0]:,} of '{name}'",
                "what goes with every sample is an array without dimensions",
            )
    return spec.shape[0]


def plain_array(name: str, value: object) -> Array:
    """Return what a user gave as an array of numbers or text."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"'{name}' cannot be made an array: {said}") from error
    if array.dtype == object and all(isinstance(each, str) for each in array.flat):
        return array.astype(np.str_)
    if array.dtype.hasobject:
        raise InputError(f"'{name}' holds Python objects, not numbers")
    return array


def same_constant(one: Array | None, other: Array | None) -> bool:
    """Tell whether two constants are the same, NaN included."""
    if one is None or other is None:
        return one is other
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def _name(table: Table) -> Path:
    return Path(Path(table.source).name)
