"""Samples that a user's function yields: calling it, holding it to its contract."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

from onnxprune.errors import InputError, OnnxpruneError, UsageError
from onnxprune.foreign import said
from onnxprune.samples.table import Rows, Spec, Table, equal_size, plain_array, same_constant

Yielding = Callable[[], Iterable[Mapping[str, Any]]]


class Calls(Table):
    """What a function yields, called anew each time the samples are gone through."""

    def __init__(self, source: str, function: Yielding) -> None:
        self.source = source
        self._function = function
        self._counted: int | None = None
        with closing(self._parts()) as parts:
            first = next(parts, None)
        if first is None:
            raise InputError(f"{source}: the set has no samples")
        self.constants = {name: array for name, array in first.items() if array.ndim == 0}
        self.columns = {name: Spec.of(array) for name, array in first.items() if array.ndim}

    def take(self, names: Collection[str]) -> None:
        """Go on with these columns only; how many rows they have is not known."""
        self.columns = {name: spec for name, spec in self.columns.items() if name in names}
        equal_size(self.columns)

    def pieces(self, size: int) -> Iterator[Rows]:
        """Go through all rows in order, at most so many at a time."""
        total = 0
        for part in self._parts():
            self._check(part)
            rows = {name: part[name] for name in self.columns}
            count = equal_size({name: Spec.of(array) for name, array in rows.items()})
            for start in range(0, count, size):
                yield {name: array[start : start + size] for name, array in rows.items()}
            total += count
        if total == 0:
            raise InputError(f"{self.source}: the set has no samples")
        if self._counted not in (None, total):
            raise InputError(
                f"{self.source} yielded {self._counted:,} samples at first, {total:,} now",
                "it is called for each pass and has to yield the same each time",
            )
        self._counted = total

    def digest(self) -> str:
        """Refuse: only its results could be hashed."""
        raise UsageError(
            f"the samples of the function {self.source} have no sum to keep outputs by",
            "--cache goes with files",
        )

    def _parts(self) -> Generator[Rows, None, None]:
        """Call the function, and make arrays of what it yields."""
        try:
            for part in self._function():
                yield self._arrays(part)
        except (OnnxpruneError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise UsageError(f"data function {self.source} failed: {said(error)}") from error

    def _arrays(self, part: object) -> Rows:
        if not isinstance(part, Mapping):
            kind = type(part).__name__
            raise UsageError(f"{self.source} has to yield dictionaries, not {kind}")
        return {str(name): plain_array(str(name), array) for name, array in part.items()}

    def _check(self, part: Rows) -> None:
        """Refuse arrays that are not like those of the first call."""
        for name, spec in self.columns.items():
            found = part.get(name)
            if found is None or (found.dtype, found.ndim) != (spec.dtype, len(spec.shape)):
                kind = "none" if found is None else _kind(Spec.of(found))
                raise InputError(
                    f"{self.source} yields {kind} for '{name}', at first {_kind(spec)}"
                )
        for name, constant in self.constants.items():
            if not same_constant(constant, part.get(name)):
                raise InputError(
                    f"{self.source} changes '{name}', which has no dimension of samples",
                    f"yield '{name}' with one row per sample",
                )


def _kind(spec: Spec) -> str:
    return f"{spec.dtype} of {len(spec.shape)} dimensions"
