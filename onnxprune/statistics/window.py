"""Which batches of a set each step measures: the next ones, from the start again at the end."""

from collections.abc import Iterator

from onnxprune.errors import InputError
from onnxprune.samples.batch import Batch, Samples


class Window:
    """The batches of a set, some per step, each step after the one before.

    Batches are numbered and cut before anything is shared out, so that which samples a step
    measures depends on the set, the batch and the step alone.

    Args:
        samples: the set.
        size: samples in a batch.
        width: batches per step; all of the set's where it has fewer.
    """

    def __init__(self, samples: Samples, size: int, width: int) -> None:
        self._samples = samples
        self._size = size
        self._width = width
        self._count: int | None = None
        self._position = 0
        self._open: Iterator[Batch] | None = None

    def first(self) -> Batch:
        """Return the first batch of the set."""
        for batch in self._samples.batches(self._size):
            return batch
        raise InputError(f"{self._samples.source}: the set has no samples")

    def batches(self, step: int) -> Iterator[Batch]:
        """Go through the batches of a step, the first of which is 1."""
        self._go_to(step)
        for number in range(self._width):
            if self._count is not None and number >= self._count:
                return
            batch = self._next()
            if batch is None:
                # The set ends here: it goes on with its start, but for what has been seen.
                if number == self._count:
                    return
                batch = self._next()
            assert batch is not None
            yield batch

    def _go_to(self, step: int) -> None:
        """Read on until the first batch of a step comes next."""
        while True:
            width = self._width if self._count is None else min(self._width, self._count)
            wanted = width * (step - 1)
            if self._count is not None:
                wanted %= self._count
            if wanted == self._position:
                return
            if wanted < self._position:
                self._close()
            else:
                self._next()

    def _next(self) -> Batch | None:
        """Return the next batch, or None once at the end."""
        if self._open is None:
            self._open = self._samples.batches(self._size)
        batch = next(self._open, None)
        if batch is None:
            if self._position == 0:
                raise InputError(f"{self._samples.source}: the set has no samples")
            self._count = self._position
            self._close()
            return None
        self._position += 1
        return batch

    def _close(self) -> None:
        self._open = None
        self._position = 0
