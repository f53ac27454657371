"""Scores one tensor with a method, and holds the method to its contract."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from onnxprune.errors import InputError, OnnxpruneError, UsageError
from onnxprune.patterns.pattern import UNSTRUCTURED, Pattern
from onnxprune.registry import Entry
from onnxprune.selection import CHUNK, GONE, KEEP_SCORES, Ranking
from onnxprune.types import Array, Layout, Weight

Values = Callable[[str, int, int], Array]
"""(path, start, stop) -> the real values of a weight."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What a method is given of the model besides the weights.

    Args:
        statistics: by name and tensor, in stored order.
        gone: which weights have fallen already, by tensor, in stored order.
        zeros: how many weights of a tensor go, once that is decided.
        pattern: which weights go together.
    """

    statistics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    gone: Mapping[str, Array] = field(default_factory=dict)
    zeros: Mapping[str, int] = field(default_factory=dict)
    pattern: Pattern = UNSTRUCTURED

    def arranged(self, name: str, weight: Weight) -> Any:
        """Return a statistic of a tensor, what is one number per weight as the matrix."""
        found = self.statistics[name][weight.path]
        return weight.layout.matrix(found) if isinstance(found, np.ndarray) else found


def rank(  # noqa: PLR0913 - all that a score depends on
    weight: Weight,
    values: Values,
    score: Entry,
    options: dict[str, Any],
    seed: int,
    given: Given | None = None,
    group: str = "tensor",
) -> Ranking:
    """Rank a tensor's weights by a method's scores.

    Args:
        weight: the tensor.
        values: reads its values.
        score: the method.
        options: the method's own options.
        seed: where random numbers start.
        given: what was measured of the model.
        group: among what scores are compared, `tensor` or `row`.
    """
    source = _Scores(weight, values, score, options, seed, group == "row")
    source.given = given or source.given
    return Ranking(weight.path, weight.shape, source.read, source.of)


class _Scores:
    """The scores of one tensor, made by a method from its values."""

    def __init__(  # noqa: PLR0913 - all that a score depends on
        self,
        weight: Weight,
        values: Values,
        score: Entry,
        options: dict[str, Any],
        seed: int,
        by_row: bool,
    ) -> None:
        self.weight = weight
        self.values = values
        self.score = score
        self.options = options
        self.seed = seed
        self.given = Given()
        self.by_row = by_row
        self._rng: np.random.Generator | None = None
        self._whole: Array | None = None

    def read(self, start: int, stop: int) -> Array:
        """Score a range of positions; ranges are asked for in order."""
        if self._by_piece:
            return self.of(start, self.values(self.weight.path, start, stop))
        if self._whole is None or start == 0:
            self._whole = self._score_whole()
        piece = self._whole[start:stop]
        if stop == self.weight.size and self.weight.size > KEEP_SCORES:
            self._whole = None
        return piece

    def of(self, start: int, values: Array) -> Array:
        """Score values that have been read already."""
        if not self._by_piece:
            return self.read(start, start + values.size)
        return self._call(values, start)

    @property
    def _by_piece(self) -> bool:
        """Whether a score depends on its own weight alone."""
        return self.score.elementwise and not self.by_row

    def _score_whole(self) -> Array:
        if self._whole is not None and self._whole.size <= KEEP_SCORES:
            return self._whole
        size, layout = self.weight.size, self.weight.layout
        parts = [
            self.values(self.weight.path, start, min(start + CHUNK, size))
            for start in range(0, size, CHUNK)
        ]
        flat = np.concatenate(parts)
        if self.score.elementwise:
            scores = self._call(flat, 0)
        else:
            scores = layout.flat(self._call(layout.matrix(flat), 0))
        gone = self.given.gone.get(self.weight.path)
        if gone is not None and gone.any():
            scores = np.where(gone, GONE, scores.astype(np.float64))
        return _places(scores, layout) if self.by_row else scores

    def _call(self, values: Array, start: int) -> Array:
        needs: dict[str, Any] = {}
        if "rng" in self.score.needs:
            if start == 0 or self._rng is None:
                own = zlib.crc32(self.weight.path.encode())
                self._rng = np.random.default_rng([self.seed, own])
            needs["rng"] = self._rng
        if self.score.measured:
            # Statistics are in double precision; a square of a weight should be, too.
            values = values.astype(np.float64)
        for name in self.score.measured:
            needs[name] = self.given.arranged(name, self.weight)
        if "zeros" in self.score.needs:
            needs["zeros"] = self.given.zeros[self.weight.path]
        if "pattern" in self.score.needs:
            needs["pattern"] = self.given.pattern
        try:
            scores = self.score.function(values, **needs, **self.options)
            return self._checked(scores, values)
        except (OnnxpruneError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            if self.score.function.__module__.startswith("onnxprune."):
                raise
            what = f"{type(error).__name__}: {error}"
            raise UsageError(
                f"method {self.score.name} failed on '{self.weight.path}': {what}"
            ) from error

    def _checked(self, scores: Any, values: Array) -> Array:
        """Hold the scores to the contract: an array of real numbers, one per weight."""
        name, path = self.score.name, self.weight.path
        if not isinstance(scores, np.ndarray) or scores.shape != values.shape:
            shape = getattr(scores, "shape", type(scores).__name__)
            raise UsageError(
                f"method {name} returned {shape} for '{path}',"
                f" wanted scores of shape {values.shape}"
            )
        if scores.dtype.kind not in "fiub":
            raise UsageError(
                f"method {name} returned scores of type {scores.dtype} for '{path}'"
            )
        if scores.dtype not in (np.float32, np.float64):
            scores = scores.astype(np.float64)
        # What is no number in the file itself is named as such where scores are counted.
        if name != "magnitude" and not np.isfinite(scores).all() and np.isfinite(values).all():
            raise InputError(f"method {name} scored '{path}' with NaN or Inf")
        checked: Array = scores
        return checked


def _places(scores: Array, layout: Layout) -> Array:
    """Replace each score by its place among those of its row, the lowest and first being 0.

    A cut through these takes the same number of each row, and one more of the first rows.
    """
    position = layout.matrix(np.arange(scores.size))
    order = np.lexsort((position, layout.matrix(scores)), axis=1)
    places = np.empty(order.shape)
    np.put_along_axis(places, order, np.arange(order.shape[1], dtype=np.float64)[None], 1)
    return layout.flat(places)
