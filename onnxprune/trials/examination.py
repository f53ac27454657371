"""Runs models over a set of samples, batch by batch, and compares what they answer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from statistics import median, quantiles

from onnxprune.errors import InputError, OnnxpruneError, UnsupportedError
from onnxprune.outcomes import DataFacts, Latency, Port
from onnxprune.samples.batch import Batch, Samples
from onnxprune.trials.metrics import Measures
from onnxprune.trials.own_metric import OwnFunction
from onnxprune.trials.runner import Runner
from onnxprune.types import Array

Outputs = Mapping[str, Array]
Answers = Callable[[Batch], Outputs]
"""Gives a model's outputs for a batch, whether it runs now or ran before."""

Progress = Callable[[str, int, int], None]
BATCH = 16
BATCH_BYTES = 1 << 28
TOLERANCE = 1e-3


@dataclass(slots=True, eq=False)
class Examination:
    """One set of samples, and the child process that runs models on them.

    Args:
        runner: holds the sessions.
        samples: what they are fed.
        outputs: of the models.
        task: what the outputs are taken for: `auto`, `classes` or `values`.
        own: the user's own metric.
        batch: how many samples run at once; 0 until that is settled.
        notes: what a user should know.
    """

    runner: Runner
    samples: Samples
    outputs: Sequence[Port]
    task: str = "auto"
    own: OwnFunction | None = None
    batch: int = 0
    notes: list[str] = field(default_factory=list)
    first: dict[str, Array] = field(default_factory=dict)
    seen: int = 0
    labelled: bool = False

    def settle(self, key: str, wanted: int | None) -> None:
        """Find a batch size that the model takes: the one wanted, else a usual one, else 1."""
        size = wanted or BATCH
        batch = self._first_batch(size)
        if wanted is None and batch.count > 1 and not self.samples.fixed:
            row = sum(array.nbytes for array in batch.feeds.values()) // batch.count
            size = max(1, min(size, BATCH_BYTES // max(row, 1)))
            batch = self._first_batch(size)
        self.batch = self.samples.fixed or (1 if self.samples.whole else size)
        try:
            answers = self.answer(key, batch)
        except (InputError, _InseparableError) as error:
            if self.batch == 1 or wanted is not None or self.samples.fixed:
                raise
            self._one_at_a_time(key, error)
            return
        self.first = batch.feeds
        if not self.outputs:
            # What torch runs shows its outputs no earlier.
            self.outputs = [
                Port(name, array.dtype.name, None) for name, array in answers.items()
            ]
        self._compare_references(batch, answers)

    def answer(self, key: str, batch: Batch) -> Outputs:
        """Run one batch, and return one row of each output for each of its samples."""
        outputs = self.runner.run(key, batch.feeds)
        # The last batch of a fixed size repeats samples that do not count.
        fed = 1 if self.samples.whole else self.samples.fixed or batch.count
        return {name: _rows(name, array, fed, batch.count) for name, array in outputs.items()}

    def measure(
        self, dense: Answers, key: str, progress: Progress | None, what: str = "checking"
    ) -> Measures:
        """Compare a model's answers with those of the dense one."""
        measures = Measures(self.outputs, self.task, self.own)
        for batch in self.batches(progress, what):
            answers = self.answer(key, batch)
            measures.update(
                dense(batch), answers, batch.labels, self.counted(batch), batch.start
            )
        return measures

    def counted(self, batch: Batch) -> Outputs:
        """Return what was fed, without the repeated samples of a fixed batch size."""
        if batch.count == (self.samples.fixed or batch.count):
            return batch.feeds
        return {
            name: array[: batch.count]
            if len(array.shape) and len(array) > batch.count
            else array
            for name, array in batch.feeds.items()
        }

    def batches(self, progress: Progress | None, what: str) -> Iterator[Batch]:
        """Go through the samples once."""
        seen = 0
        # Of what a function yields, only the first pass shows how much there is.
        total = self.samples.size or self.seen
        for batch in self.samples.batches(self.batch):
            yield batch
            seen += batch.count
            self.labelled = self.labelled or batch.labels is not None
            if progress is not None:
                progress(what, seen, total)
        self.seen = seen

    def facts(self) -> DataFacts:
        """Say what the models ran on."""
        return DataFacts(
            source=self.samples.source,
            samples=self.seen,
            labelled=self.labelled,
            random=self.samples.random,
            batch=self.batch,
        )

    def latency(self, keys: Sequence[str]) -> Latency:
        """Time one batch in two sessions, in turn."""
        times = self.runner.time(keys, self.first)
        dense, pruned = (times[key] for key in keys)
        low, middle, high = quantiles(dense, n=4)
        spread = (high - low) / middle if middle > 0 else 0.0
        return Latency(middle, median(pruned), len(dense), self.batch, spread)

    def _first_batch(self, size: int) -> Batch:
        for batch in islice(self.samples.batches(size), 1):
            return batch
        raise InputError(f"{self.samples.source}: the set has no samples")

    def _one_at_a_time(self, key: str, error: OnnxpruneError) -> None:
        """Take samples one by one where the model cannot take several after all."""
        batch = self._first_batch(1)
        tried, self.batch = self.batch, 1
        try:
            self._compare_references(batch, self.answer(key, batch))
        except OnnxpruneError:
            raise error from None
        self.first = batch.feeds
        self.notes.append(
            f"the model does not take {tried} samples at once, though its inputs say so:"
            " they ran one by one"
        )

    def _compare_references(self, batch: Batch, answers: Outputs) -> None:
        """Say so where the dense model misses outputs that come with the samples."""
        for name, expected in batch.references.items():
            found = answers.get(name)
            if found is None:
                continue
            found = found.reshape(-1)
            wanted = expected.reshape(-1)
            if found.size != wanted.size:
                self.notes.append(f"the set's reference for '{name}' has another shape")
                continue
            if found.dtype.kind != "f":
                close = bool((found == wanted).all())
            else:
                largest = float(abs(wanted).max(initial=0.0))
                close = float(abs(found - wanted).max(initial=0.0)) <= TOLERANCE * largest
            if not close:
                self.notes.append(
                    f"the dense model's '{name}' is not what the set has as its reference"
                )


class _InseparableError(UnsupportedError):
    """An output that cannot be told apart into samples."""


def _rows(name: str, array: Array, fed: int, count: int) -> Array:
    if fed == 1:
        return array if array.shape[:1] == (1,) else array[None]
    if array.shape[:1] != (fed,):
        raise _InseparableError(
            f"output '{name}' of shape {list(array.shape)} cannot be told apart into"
            f" {fed} samples",
            "--batch 1 runs them one by one",
        )
    return array[:count]
