"""Samples as a model takes them: matched, converted, in batches, always the same ones."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from onnxprune.errors import UsageError, about
from onnxprune.outcomes import Port
from onnxprune.samples.matching import (
    Match,
    check_shape,
    describe,
    fixed_batch,
    label_column,
    labels_of,
    match,
)
from onnxprune.samples.reading import Reading
from onnxprune.samples.table import REFERENCE, Rows, Table
from onnxprune.types import Array


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some samples, ready to run.

    Args:
        start: the number of the first one.
        count: how many there are.
        feeds: arrays by input; where the model fixes the batch size, the last batch repeats
            its last sample and so holds more rows than it counts.
        labels: one per sample, if there are any.
        references: expected outputs by name, where the set has them.
    """

    start: int
    count: int
    feeds: dict[str, Array]
    labels: Array | None
    references: dict[str, Array]


class Samples:
    """A set of samples for a model.

    Args:
        table: the rows.
        reading: how they are read.
        ports: the inputs that need an array.
    """

    def __init__(self, table: Table, reading: Reading, ports: Sequence[Port]) -> None:
        self._table = table
        self._reading = reading
        self._matches = match(table, reading, ports)
        self._labels = label_column(table, reading, self._matches)
        self.source = table.source
        self.random = table.random
        self.constants = {each.port.name for each in self._matches if each.constant}
        self.images = {each.port.name for each in self._matches if each.image}
        self.whole = any(each.whole for each in self._matches)
        self.fixed = fixed_batch(self._matches)
        self.labelled = self._labels is not None
        notes = [*table.notes, *describe(self._matches, table, self._labels, reading)]
        references = {name for name in table.columns if name.startswith(REFERENCE)}
        table.take(references | {each.array for each in self._matches} | {self._labels or ""})
        self.size = table.size
        limit = reading.limit
        if limit is not None and table.size is not None:
            if limit > table.size:
                notes.append(
                    f"the set has {table.size:,} samples, --samples asks for {limit:,}"
                )
            self.size = min(limit, table.size)
        self.notes = tuple(notes)

    def batch_size(self, size: int) -> int:
        """Return how many samples go at once; what the model fixes overrules the size."""
        return 1 if self.whole else self.fixed or size

    def batches(self, size: int) -> Iterator[Batch]:
        """Go through all samples in order; what the model fixes overrules the size."""
        if size < 1:
            raise UsageError(f"a batch has at least 1 sample, not {size}")
        size = self.batch_size(size)
        start = 0
        limit = self._reading.limit
        path = self._table.path
        with contextlib.nullcontext() if path is None else about(path):
            for rows in self._table.pieces(size):
                count = len(next(iter(rows.values())))
                if limit is not None and start + count > limit:
                    count = limit - start
                    rows = {name: array[:count] for name, array in rows.items()}
                yield self._batch(rows, start, count)
                start += count
                if start == limit:
                    return

    def digest(self) -> str:
        """Return a SHA-256 sum of the samples and of how they are read."""
        path = self._table.path
        with contextlib.nullcontext() if path is None else about(path):
            total = self._table.digest()
        given = {
            each.name: _in_order(getattr(self._reading, each.name))
            for each in fields(self._reading)
        }
        return hashlib.sha256(f"{total} {given}".encode(errors="surrogateescape")).hexdigest()

    def close(self) -> None:
        """Close what was opened."""
        self._table.close()

    def __enter__(self) -> "Samples":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batch(self, rows: Rows, start: int, count: int) -> Batch:
        return Batch(
            start,
            count,
            feeds={each.port.name: self._feed(each, rows, count) for each in self._matches},
            labels=labels_of(rows[self._labels]) if self._labels is not None else None,
            references={
                name.removeprefix(REFERENCE): array[0]
                for name, array in rows.items()
                if self._table.whole and name.startswith(REFERENCE)
            },
        )

    def _feed(self, each: Match, rows: Rows, count: int) -> Array:
        if each.constant:
            return each.convert(self._table.constants[each.array])
        values = each.convert(rows[each.array])
        # Samples may differ in the dimensions that the model leaves free.
        check_shape(each.port, values.shape[1:], each.whole)
        if each.whole:
            values = values[0]
        elif self.fixed is not None and count < self.fixed:
            values = np.concatenate([values, np.repeat(values[-1:], self.fixed - count, 0)])
        # A scalar stays one: `ascontiguousarray` would give it a dimension.
        return np.require(np.asarray(values), requirements=["C", "ALIGNED"])


def _in_order(value: Any) -> Any:
    return sorted(value.items()) if isinstance(value, Mapping) else value
