"""Measurements that one process orders and all of them take part in."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from onnxprune.errors import LibraryError
from onnxprune.ranked import HINT, Company
from onnxprune.statistics.collecting import Collector
from onnxprune.types import Array

Packed = dict[str, tuple[Array, int]]
"""Masks as bits, and how many, by tensor."""


class Shared:
    """Measures a model together with the other processes, which do as they are told.

    Args:
        collector: measures this one's part.
        company: all of the processes.
    """

    def __init__(self, collector: Collector, company: Company) -> None:
        self.loss = float("nan")
        self.notes: list[str] = []
        self._collector = collector
        self._company = company

    def collect(
        self, names: Collection[str], masks: Mapping[str, Array] | None, step: int
    ) -> dict[str, Mapping[str, Any]]:
        """Return statistics by name and tensor, in stored order."""
        collector = self._collector
        if "gram" in names:
            # These are made when they are asked for, by the process that asks.
            return collector.collect(names, masks, step)
        self._company.order((list(names), step))
        try:
            collector.ranks.share(pack_masks(masks or {}))
            found = collector.collect(names, masks, step)
        except LibraryError as error:
            # The other one's own words say more than a lost connection.
            self._company.refuse_failed()
            ended = "another process of this run has ended, or does not answer"
            raise LibraryError(ended, HINT) from error
        self.loss, self.notes = collector.loss, collector.notes
        return found


def measure_ordered(collector: Collector, company: Company) -> None:
    """Measure what the leading process orders, until it needs nothing more."""
    for names, step in company.orders():
        masks = unpack_masks(collector.ranks.share(None))
        collector.collect(names, masks, step)


def pack_masks(masks: Mapping[str, Array]) -> Packed:
    """Return masks as bits."""
    return {path: (np.packbits(mask), mask.size) for path, mask in masks.items()}


def unpack_masks(packed: Packed) -> dict[str, Array]:
    """Return masks from bits."""
    return {
        path: np.unpackbits(bits, count=size).astype(bool)
        for path, (bits, size) in packed.items()
    }
