"""Brings back what each layer gives, one layer after the other, without gradients.

Every layer is looked at as the model is by then: what was fitted before it counts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.onnx_biases import Surroundings
from onnxprune.least_squares import Gram, reconstruct, refit
from onnxprune.recover.pool import Pool
from onnxprune.recover.state import State
from onnxprune.statistics.feeding import Fed
from onnxprune.statistics.measurement import Module
from onnxprune.statistics.moments import Gathering, OutputSums, gram_bytes
from onnxprune.types import Array

FLOOR = 1e-8
"""What a standard deviation is at least."""

MOST = 100.0
"""By how much a channel is made larger at most."""

DAMP = 0.01
"""What is added to the diagonal of a Gram matrix, as a share of its mean."""

Told = Callable[[str, int, int], None]
"""(which tensor, how many are done, how many there are)."""


@dataclass(slots=True, eq=False)
class Layers:
    """The layers of a model, and the samples that go through them.

    Args:
        module: the model.
        state: its values.
        pool: the samples; those that are not held out are used.
        batch: of them at once.
        limit: how many of them.
        paths: the pruned weights in the order of the graph.
        surroundings: what is added to their outputs, where that is known.
        constant: reads a tensor of the file.
        told: is told how far a step is.
        notes: what a user should know of layers that were left out.
    """

    module: Module
    state: State
    pool: Pool
    batch: int
    limit: int
    paths: Sequence[str]
    surroundings: Mapping[str, Surroundings]
    constant: Callable[[str], Array]
    told: Told = lambda path, done, total: None
    notes: list[str] = field(default_factory=list)

    def refit(self) -> None:
        """Fit what is kept to what the dense layer gives, by least squares."""
        self._fit(lambda matrix, kept, gram: refit(matrix, kept, gram, DAMP))

    def reconstruct(self) -> None:
        """Let what is kept make up for what fell, column by column, as SparseGPT does."""
        self._fit(lambda matrix, kept, gram: reconstruct(matrix, kept, gram, DAMP), False)

    def correct(self, scaled: bool) -> None:
        """Give outputs the dense layer's mean, channel by channel, and if wanted its spread.

        Args:
            scaled: whether the standard deviation is matched, too.
        """
        paths = [path for path in self.paths if self._place(path) is not None]
        for number, path in enumerate(paths):
            self.told(path, number, len(paths))
            sums = self._gather(path)
            if sums is not None:
                self._shift(path, sums, scaled)
        self.told("", len(paths), len(paths))

    def _fit(
        self, fit: Callable[[Array, Array, Gram], Array], beside_dense: bool = True
    ) -> None:
        for number, path in enumerate(self.paths):
            self.told(path, number, len(self.paths))
            try:
                gram_bytes(path, self.state.layouts[path])
            except OnnxpruneError as error:
                self.notes.append(f"{error.message}: it is not fitted")
                continue
            gathering = Gathering(self.state.layouts, [path])
            for fed in self._samples():
                dense = self.state.dense if beside_dense else None
                gathering.add(self.module, fed, self.state.current(), dense)
            found = gathering.result().get(path)
            if found is not None:
                matrix, kept = self.state.matrix(path, dense=True), self.state.kept(path)
                self.state.put_matrix(path, fit(matrix, kept, found))
        self.told("", len(self.paths), len(self.paths))

    def _gather(self, path: str) -> OutputSums | None:
        """Add up what a layer gives, in the model as it is and in the dense one."""
        state = self.state
        matrices = state.matrix(path), state.matrix(path, dense=True)
        sums = OutputSums(path, state.layouts[path], *matrices)
        for fed in self._samples():
            sums.add(self.module, fed, state.current(), state.dense)
        return sums if sums.count.all() else None

    def _shift(self, path: str, sums: OutputSums, scaled: bool) -> None:
        """Change what is added to a layer's outputs, and what they are multiplied with."""
        place = self._place(path)
        assert place is not None
        mean, dense_mean = sums.means()
        factor = np.ones_like(mean)
        if scaled:
            spread, dense_spread = sums.spreads()
            known = (spread > FLOOR) & (dense_spread > FLOOR)
            factor = np.where(known, dense_spread / np.maximum(spread, FLOOR), 1.0)
            # Where next to nothing is left, no factor makes it what it was.
            factor = np.where(factor > MOST, 1.0, factor)
        norm = place.normalisation
        if norm is None:
            assert place.bias is not None
            if scaled:
                self.state.put_matrix(path, self.state.matrix(path) * factor[:, None])
            dense = self._read(place.bias, dense=True)
            self.state.put(place.bias, dense + (dense_mean - factor * mean) / place.scale)
            return
        deviation = np.sqrt(self.constant(norm.variance) + norm.epsilon)
        scale = self._read(norm.scale)
        if scaled:
            scale = self._read(norm.scale, dense=True) * factor
            self.state.put(norm.scale, scale)
        before = self._read(norm.scale, dense=True) * self._centred(
            place, dense_mean, dense=True
        )
        now = scale * self._centred(place, mean)
        shift = (before - now) / deviation
        self.state.put(norm.bias, self._read(norm.bias, dense=True) + shift)

    def _centred(self, place: Surroundings, mean: Array, dense: bool = False) -> Array:
        """Return what a normalisation makes of a mean before it divides and scales."""
        assert place.normalisation is not None
        centred = mean - self.constant(place.normalisation.mean)
        if place.bias is None:
            return centred
        return np.asarray(centred + place.scale * self._read(place.bias, dense))

    def _place(self, path: str) -> Surroundings | None:
        """Return where a layer's outputs can be changed, if they can."""
        found = self.surroundings.get(path)
        if found is None:
            return None
        norm = found.normalisation
        if norm is not None:
            return found if {norm.scale, norm.bias} <= self.state.free else None
        return found if found.bias in self.state.free else None

    def _read(self, path: str, dense: bool = False) -> Array:
        """Return a vector's values as they are, or as they were, in double precision."""
        tensor = self.state.dense[path] if dense else self.state.values[path].detach()
        return tensor.double().cpu().numpy().reshape(-1)

    def _samples(self) -> Iterator[Fed]:
        numbers = self.pool.some(self.pool.trained, self.limit)
        with torch.no_grad():
            yield from self.pool.fed(numbers, self.batch)
