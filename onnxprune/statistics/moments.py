"""Sums over what a weight is multiplied with: squares of inputs, and their Gram matrix."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from onnxprune.errors import LimitError
from onnxprune.least_squares import Gram, Part
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.inputs import Enough, Use, watch
from onnxprune.statistics.measurement import Measurement, Module, Tensors, failures_named
from onnxprune.statistics.ranks import Part as Share
from onnxprune.types import Array, Layout

MEMORY = 1 << 29
"""Bytes of Gram matrices that are held at once; at least those of one tensor."""

WIDEST = 1 << 14
"""Inputs of one row; a Gram matrix of more takes over 2 GiB."""


def input_norm(measurement: Measurement) -> Tensors:
    """Return, for each weight, the norm of the input that it is multiplied with."""
    layouts = measurement.layouts

    def add_up(fed: Fed) -> Share:
        sums = {
            path: torch.zeros(_matrix_shape(layout), dtype=torch.float64)
            for path, layout in layouts.items()
        }

        def see(use: Use) -> None:
            squares = sum(chunk.double().square().sum(1) for chunk in use.chunks())
            area = np.ix_(use.rows, use.columns)
            sums[use.path][area] += torch.as_tensor(squares).cpu()

        watch(measurement.module, fed.feeds, measurement.tensors, layouts, see)
        stored = {
            path: torch.from_numpy(layouts[path].flat(sums[path].numpy())).reshape(each.shape)
            for path, each in measurement.tensors.items()
        }
        return Share(fed.count, 0.0, stored)

    total = measurement.total(add_up)
    return {path: each.sqrt() for path, each in total.items() if bool(each.any())}


@dataclass(slots=True, eq=False)
class Sums:
    """What is added up of the inputs of some rows, and of the dense model's at the same time."""

    gram: Array
    cross: Array
    total: Array
    dense_total: Array
    count: int = 0

    @classmethod
    def empty(cls, width: int) -> "Sums":
        """Return sums of nothing."""
        square, line = np.zeros((width, width)), np.zeros(width)
        return cls(square, square.copy(), line, line.copy())

    def add(self, use: Use, dense: Use) -> None:
        """Add the inputs of one product; `dense` is the same one in the dense model."""
        columns = use.columns
        area = np.ix_(columns, columns)
        same = dense is use
        pairs: Iterable[tuple[Tensor, Tensor]]
        if same:
            pairs = ((chunk, chunk) for chunk in use.chunks())
        else:
            pairs = zip(use.chunks(), dense.chunks(), strict=True)
        for here, there in pairs:
            # A piece is short enough for its own precision; pieces are added up in double.
            square = (here @ here.T).double().cpu().numpy()
            self.gram[area] += square
            self.cross[area] += square if same else (here @ there.T).double().cpu().numpy()
            self.total[columns] += here.double().sum(1).cpu().numpy()
            self.dense_total[columns] += there.double().sum(1).cpu().numpy()
            self.count += here.shape[1]


@dataclass(slots=True, eq=False)
class Runs:
    """Runs a model as far as is needed to see the uses of some weights.

    Args:
        count: how many uses there are in a run; None until the first one is done.
        shapes: of the inputs that this holds for.
    """

    count: int | None = None
    shapes: object = None

    def uses(
        self,
        module: Module,
        fed: Fed,
        tensors: Tensors,
        layouts: Mapping[str, Layout],
        names: Sequence[str],
    ) -> list[Use]:
        """Return the uses of some weights while some samples go through the model."""
        found: list[Use] = []

        def see(use: Use) -> None:
            found.append(use)
            if len(found) == self.count:
                raise Enough

        shapes = tuple(
            (name, tuple(each.shape) if isinstance(each, Tensor) else None)
            for name, each in fed.feeds.items()
        )
        if shapes != self.shapes:
            # Samples of another length may go through a loop more often.
            self.count, self.shapes = None, shapes
        watch(module, fed.feeds, tensors, layouts, see, names)
        self.count = len(found)
        return found


@dataclass(slots=True, eq=False)
class Gathering:
    """Adds up the inputs of some weights, run by run.

    Args:
        layouts: of the weights.
        names: those whose inputs are wanted.
    """

    layouts: Mapping[str, Layout]
    names: Sequence[str]
    _sums: dict[str, dict[bytes, Sums]] = field(default_factory=dict)
    _runs: Runs = field(default_factory=Runs)

    def add(
        self, module: Module, fed: Fed, tensors: Tensors, dense: Tensors | None = None
    ) -> None:
        """Add what some samples give; with `dense`, beside the model with those tensors."""
        with failures_named(fed.label):
            uses = self._runs.uses(module, fed, tensors, self.layouts, self.names)
            others = uses
            if dense is not None:
                others = self._runs.uses(module, fed, dense, self.layouts, self.names)
        for use, other in zip(uses, others, strict=True):
            sums = self._sums.setdefault(use.path, {})
            key = use.rows.astype(np.int64).tobytes()
            if key not in sums:
                sums[key] = Sums.empty(_matrix_shape(self.layouts[use.path])[1])
            sums[key].add(use, other)

    def result(self) -> dict[str, Gram]:
        """Return the Gram matrices of all weights that are multiplied with something."""
        return {
            path: Gram(
                tuple(
                    Part(
                        np.frombuffer(rows, np.int64),
                        sums.gram,
                        sums.cross,
                        sums.count,
                        sums.total,
                        sums.dense_total,
                    )
                    for rows, sums in found.items()
                )
            )
            for path, found in self._sums.items()
        }


class OutputSums:
    """What a layer gives, row by row, added up over positions: without what is added to it.

    Args:
        path: the weight.
        layout: how it is a matrix.
        matrix: its values as they are; `dense`: as they were.
    """

    def __init__(self, path: str, layout: Layout, matrix: Array, dense: Array) -> None:
        self.path = path
        self.layouts = {path: layout}
        self.matrices = (matrix, dense)
        self.count = np.zeros(len(matrix))
        self.sums = np.zeros((2, 2, len(matrix)))
        self._runs = Runs()

    def add(self, module: Module, fed: Fed, tensors: Tensors, dense: Tensors) -> None:
        """Add what some samples give, with the values as they are and as they were."""
        for side, given in enumerate((tensors, dense)):
            with failures_named(fed.label):
                uses = self._runs.uses(module, fed, given, self.layouts, [self.path])
            for use in uses:
                self._add(use, side)

    def _add(self, use: Use, side: int) -> None:
        part = torch.from_numpy(self.matrices[side][np.ix_(use.rows, use.columns)])
        for chunk in use.chunks():
            given = part.to(chunk.device, chunk.dtype) @ chunk
            self.sums[side, 0, use.rows] += given.double().sum(1).cpu().numpy()
            self.sums[side, 1, use.rows] += given.double().square().sum(1).cpu().numpy()
            if side == 0:
                self.count[use.rows] += given.shape[1]

    def means(self) -> tuple[Array, Array]:
        """Return the mean of every row's outputs: as it is, and in the dense model."""
        now, before = self.sums[:, 0] / self.count
        return now, before

    def spreads(self) -> tuple[Array, Array]:
        """Return the standard deviation of every row's outputs, likewise."""
        squares = self.sums[:, 1] / self.count - (self.sums[:, 0] / self.count) ** 2
        now, before = np.sqrt(np.maximum(squares, 0.0))
        return now, before


class Grams(Mapping[str, Gram]):
    """The Gram matrices of a model's weights, made when they are asked for.

    Those of the next weights are made in the same runs, as many as memory is given for, so that
    a model of any depth can be gone through in order.

    Args:
        measurement: the model at a mask, and the samples.
    """

    def __init__(self, measurement: Measurement) -> None:
        self._measurement = measurement
        self._paths = list(measurement.tensors)
        self._made: dict[str, Gram] = {}
        self._lock = Lock()

    def __getitem__(self, path: str) -> Gram:
        # Tensors are scored by several threads, and the samples are gone through by one.
        with self._lock:
            if path not in self._made:
                self._make(path)
            return self._made[path]

    def __contains__(self, path: object) -> bool:
        return path in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def _make(self, first: str) -> None:
        measurement = self._measurement
        gathering = Gathering(measurement.layouts, self._neighbours(first))
        with torch.no_grad():
            for batch in measurement.batches():
                fed = measurement.bare(batch)
                gathering.add(measurement.module, fed, measurement.tensors)
        made = gathering.result()
        self._made = {path: made.get(path, Gram(())) for path in gathering.names}

    def _neighbours(self, first: str) -> list[str]:
        """Return a tensor and those behind it whose matrices are held together."""
        names: list[str] = []
        taken = 0
        for path in self._paths[self._paths.index(first) :]:
            taken += gram_bytes(path, self._measurement.layouts[path])
            if names and taken > MEMORY:
                break
            names.append(path)
        return names


def gram_bytes(path: str, layout: Layout) -> int:
    """Return what the Gram matrices of a weight may take, refusing what is too wide."""
    width = _matrix_shape(layout)[1]
    if width > WIDEST:
        raise LimitError(
            f"'{path}': each output has {width:,} inputs, and a Gram matrix is made for up to"
            f" {WIDEST:,}",
            f"--exclude '{path}' leaves it alone",
        )
    return 2 * 8 * width * width


def _matrix_shape(layout: Layout) -> tuple[int, int]:
    rows = layout.output_count
    return rows, int(np.prod(layout.shape)) // max(rows, 1)
