"""Labels of channel positions: which are the same channel, and which cannot go."""

import numpy as np

from onnxprune.types import Array


class Labels:
    """Sets of labels that live or die together; a frozen set stays, for a reason."""

    def __init__(self) -> None:
        self._parent: list[int] = []
        self._reasons: dict[int, str] = {}

    def fresh(self, count: int) -> Array:
        """Make new labels, each of them a channel of its own."""
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, label: int) -> int:
        """Return the label that stands for all that are the same channel."""
        parent = self._parent
        while parent[label] != label:
            parent[label] = parent[parent[label]]
            label = parent[label]
        return label

    def roots(self, labels: Array) -> Array:
        """Return what stands for each of some labels, in their shape."""
        found = [self.root(label) for label in labels.ravel().tolist()]
        return np.array(found, np.int64).reshape(labels.shape)

    def unite(self, first: Array, second: Array) -> None:
        """Make labels the same channels, one by one."""
        for one, other in zip(first.ravel().tolist(), second.ravel().tolist(), strict=True):
            into, gone = self.root(one), self.root(other)
            if into == gone:
                continue
            into, gone = min(into, gone), max(into, gone)
            self._parent[gone] = into
            reason = self._reasons.pop(gone, None)
            if reason is not None:
                self._reasons.setdefault(into, reason)

    def freeze(self, labels: Array, reason: str) -> None:
        """Let channels stay whatever their values are; the first reason is kept."""
        for label in labels.ravel().tolist():
            self._reasons.setdefault(self.root(label), reason)

    def reason(self, label: int) -> str | None:
        """Return why a channel stays, or None if it may go."""
        return self._reasons.get(self.root(label))
