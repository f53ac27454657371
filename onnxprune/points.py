"""The nouns of studies: variants of a model that were run, and what was learnt from them."""

from dataclasses import dataclass
from functools import cached_property

from onnxprune.outcomes import CheckResult, DataFacts, Latency, Measured, Place, Sizes


@dataclass(frozen=True, slots=True)
class Point:
    """One variant of a model that was run.

    Args:
        method: what pruned it, as asked; the tensor's path in a sensitivity.
        sparsity: as asked; `zeros` of `size` weights went.
        measured: None where it could not be measured.
        failure: why not.
        seconds: the time it took.
    """

    method: str
    sparsity: float
    zeros: int
    size: int
    measured: Measured | None
    failure: str | None = None
    seconds: float = 0.0

    @property
    def value(self) -> float | None:
        """The figure that is plotted."""
        return self.measured.headline[2] if self.measured is not None else None


@dataclass(frozen=True)
class Study:
    """Many variants of one model, run on the same data: a sweep, a search, a sensitivity.

    Args:
        kind: `sweep`, `search` or `sensitivity`.
        model: the file, `sha256` its sum.
        sha256: see above.
        data: what it ran on.
        place: where it ran.
        measure: the name of the figure that is plotted; `dense`: the dense model's.
        dense: see above.
        points: in the order they were run.
        warnings: what a user should know.
        latency: the dense model against the sparsest point.
        sizes: bytes of the dense model.
        seconds: the time it took.
    """

    kind: str
    model: str
    sha256: str
    data: DataFacts
    place: Place
    measure: str
    dense: float
    points: tuple[Point, ...]
    warnings: tuple[str, ...] = ()
    latency: Latency | None = None
    sizes: Sizes | None = None
    seconds: float = 0.0

    @cached_property
    def methods(self) -> tuple[str, ...]:
        """The methods, or tensors, in the order of their first point."""
        return tuple(dict.fromkeys(point.method for point in self.points))

    @cached_property
    def sparsities(self) -> tuple[float, ...]:
        """All sparsities that were asked for, in order."""
        return tuple(sorted({point.sparsity for point in self.points}))

    def point(self, method: str, sparsity: float) -> Point | None:
        """Return the point of a method at a sparsity."""
        found = (p for p in self.points if (p.method, p.sparsity) == (method, sparsity))
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Search:
    """What a search tried, and what it found.

    Args:
        study: all points, in the order they were tried.
        over: what was searched: `sparsity` or `min-kept`.
        budget: the conditions that a point had to meet, as options; empty where the best wins.
        settings: what each point tried of it.
        accepted: whether each point met the conditions.
        chosen: the number of the point that won.
        result: all that was measured of that point.
        sentences: what decides, and how sure that is.
    """

    study: Study
    over: str
    budget: tuple[str, ...]
    settings: tuple[float, ...]
    accepted: tuple[bool, ...]
    chosen: int
    result: CheckResult
    sentences: tuple[str, ...] = ()

    @property
    def setting(self) -> float:
        """The setting that won."""
        return self.settings[self.chosen]
