"""How close two models' output values are, as numbers of whatever meaning."""

import math
from dataclasses import dataclass

import numpy as np

from onnxprune.types import Array

PIECE = 1 << 20
"""How many values are worked on at a time."""


@dataclass(slots=True)
class ValueMeasure:
    """The angle, the noise and the largest difference between outputs, batch by batch.

    Equal infinities differ by nothing and are left out of angle and noise; an infinity beside
    anything else is an infinite noise, and its sample has no direction in common.

    Args:
        max_abs: the largest difference so far.
    """

    max_abs: float = 0.0
    _samples: int = 0
    _cosines: float = 0.0
    _signal: float = 0.0
    _noise: float = 0.0

    def update(self, dense: Array, pruned: Array) -> None:
        """Measure one batch, of which the first dimension counts samples."""
        self._samples += len(dense)
        rows, others = dense.reshape(len(dense), -1), pruned.reshape(len(pruned), -1)
        step = max(1, PIECE // max(1, rows.shape[1]))
        for start in range(0, len(rows), step):
            self._add(rows[start : start + step], others[start : start + step])

    def cosine(self) -> float | None:
        """Return the mean over samples of the cosine between both models' values."""
        return self._cosines / self._samples if self._samples else None

    def sqnr(self) -> float | None:
        """Return signal over noise in decibels, or None without signal or noise."""
        if not self._signal or not self._noise:
            return None
        if np.isinf(self._noise):
            return -math.inf
        # As a difference, because the ratio itself may be out of range.
        return float(10 * (np.log10(self._signal) - np.log10(self._noise)))

    def _add(self, dense: Array, pruned: Array) -> None:
        # The squares of double precision need a wider range than it has.
        wide = np.longdouble if np.result_type(dense, pruned).itemsize == 8 else np.float64
        sums = np.zeros((4, len(dense)), dtype=wide)
        broken = np.zeros(len(dense), dtype=bool)
        for start in range(0, dense.shape[1], PIECE):
            piece = (slice(None), slice(start, start + PIECE))
            left: Array = dense[piece].astype(wide)
            right: Array = pruned[piece].astype(wide)
            infinite = np.isinf(left) | np.isinf(right)
            if infinite.any():
                broken |= np.any(infinite & (left != right), axis=1)
                left[infinite] = 0
                right[infinite] = 0
            difference = left - right
            self.max_abs = max(self.max_abs, float(np.abs(difference).max(initial=0)))
            for total, one, other in zip(
                sums,
                (left, right, left, difference),
                (left, right, right, difference),
                strict=True,
            ):
                total += np.einsum("ij,ij->i", one, other)
        signal, power, product, noise = sums
        self._cosines += float(_cosines(signal, power, product, broken).sum())
        self._signal += signal.sum()
        self._noise += math.inf if broken.any() else noise.sum()
        if broken.any():
            self.max_abs = math.inf


def _cosines(signal: Array, power: Array, product: Array, broken: Array) -> Array:
    """Return each sample's cosine: 1 where both are zero, 0 where one is."""
    # One root of the product, so that equal values give exactly 1.
    norms = np.sqrt(signal * power)
    found = np.divide(product, norms, out=np.zeros_like(product), where=norms > 0)
    found = np.where((signal == 0) & (power == 0), 1, found.clip(-1, 1))
    return np.where(broken, 0, found)
