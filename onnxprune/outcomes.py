"""The nouns of a check: what ran, on what data, and what two models' outputs have in common."""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of the model's files, and what they compress to; None where not known."""

    before: int
    after: int | None = None
    compressed_before: int | None = None
    compressed_after: int | None = None
    estimated: bool = True


ANY = "any"
"""The element type of an input that takes what it is given."""


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model.

    Args:
        name: as the graph has it.
        dtype: numpy's name of the element type, or `any`; None where it is no tensor numpy
            knows.
        shape: None in it is a free dimension; None for all of it is an unknown rank.
    """

    name: str
    dtype: str | None
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a report says of the data that a check ran on.

    Args:
        source: the file, folder or function.
        samples: how many samples were run.
        labelled: whether they have labels.
        random: whether they are random numbers, which say nothing of accuracy.
        batch: how many samples ran at once.
    """

    source: str
    samples: int
    labelled: bool
    random: bool = False
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where models ran.

    Args:
        provider: ONNX Runtime's name of what really ran them.
        threads: of the processor, that the runtime was given.
        runtime: the version of what ran them; `engine`: its name.
    """

    provider: str
    threads: int
    runtime: str
    engine: str = "ONNX Runtime"


@dataclass(frozen=True, slots=True)
class Calibration:
    """How a model was measured by the method that scored its weights.

    Args:
        statistics: what was measured of each weight.
        steps: how often; `schedule`: how the zeros grew from one step to the next.
        source: where the samples are from; None where none were needed.
        samples: how many each step measured; `batch`: how many of them at once.
        loss: what the gradients are of, and what it was of the dense model, in the first step,
            and of what was left in the last.
        dense_loss: see above; None where the first step was done by an earlier run.
        last_loss: see above.
        precision: what was computed in; `device`: where, with `threads` of the processor in
            each of `processes`.
        torch: the version.
        error: how far the imported model was from ONNX Runtime, over its largest output; None
            where nothing could be compared. `allowed` is what it may be.
        native: whether torch ran the file itself, so that there is nothing to compare.
    """

    statistics: tuple[str, ...]
    steps: int
    schedule: str
    precision: str
    device: str
    threads: int
    processes: int
    torch: str
    source: str | None = None
    samples: int = 0
    batch: int = 0
    loss: str | None = None
    dense_loss: float | None = None
    last_loss: float | None = None
    error: float | None = None
    allowed: float | None = None
    native: bool = False


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Right answers of two models on the same samples.

    Args:
        total: answers that were asked for.
        dense: right ones of the dense model; `pruned`: of the pruned one.
        lost: those that only the dense model has right; `won`: only the pruned one.
    """

    total: int
    dense: int
    pruned: int
    lost: int
    won: int

    @property
    def drop(self) -> Fraction:
        """How much accuracy was lost, exactly."""
        return Fraction(self.dense - self.pruned, self.total)


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """One output of two models beside each other.

    Args:
        name: the output.
        kind: `scores` of classes, `classes` themselves, or other `values`.
        identical: whether every value is the same, bit by bit.
        top1: right answers, where there are labels.
        top5: the same for the five highest scores, where there are more than five classes.
        agreed: how many of `answers` decisions are the same in both models.
        answers: decisions on classes; 0 where the output makes none.
        kl: mean Kullback-Leibler divergence from the dense model's class probabilities.
        cosine: cosine of the angle between the outputs, the mean over samples.
        sqnr: signal to noise in decibels; None where there is no noise, or no signal.
        max_abs: the largest difference of any value.
    """

    name: str
    kind: str
    identical: bool
    top1: Accuracy | None = None
    top5: Accuracy | None = None
    agreed: int = 0
    answers: int = 0
    kl: float | None = None
    cosine: float | None = None
    sqnr: float | None = None
    max_abs: float | None = None

    @property
    def agreement(self) -> Fraction | None:
        """The share of decisions that are the same in both models."""
        return Fraction(self.agreed, self.answers) if self.answers else None


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """A user's own measure of two models; more is better."""

    name: str
    dense: float
    pruned: float


@dataclass(frozen=True, slots=True)
class Measured:
    """All that was measured of two models on one set of samples."""

    outputs: tuple[OutputCheck, ...]
    own: OwnMetric | None = None

    @property
    def accuracy(self) -> Accuracy | None:
        """Right answers by the first output that the labels fit."""
        return next((each.top1 for each in self.outputs if each.top1 is not None), None)

    @property
    def headline(self) -> tuple[str, float, float]:
        """What is plotted and compared: its name, the dense and the pruned model's figure."""
        if self.own is not None:
            return self.own.name, self.own.dense, self.own.pruned
        if self.accuracy is not None:
            total = self.accuracy.total
            return "accuracy", self.accuracy.dense / total, self.accuracy.pruned / total
        for each in self.outputs:
            if each.agreement is not None:
                return "agreement", 1.0, float(each.agreement)
        found = [each.cosine for each in self.outputs if each.cosine is not None]
        return "cosine", 1.0, min(found, default=1.0)


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a gate.

    Args:
        option: the option that set it.
        limit: what was allowed; `found`: what was measured.
        passed: whether it holds.
        sentence: by how much it holds or fails.
    """

    option: str
    limit: float
    found: float
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class Latency:
    """Time of one batch in both models, run in turn.

    Args:
        dense: the median of the dense model's runs, in seconds; `pruned`: of the other's.
        runs: of each model.
        batch: samples in it.
        spread: the middle half of the dense model's times, as a share of their median.
    """

    dense: float
    pruned: float
    runs: int
    batch: int
    spread: float = 0.0

    @property
    def ratio(self) -> float:
        """Time of the pruned model over that of the dense one."""
        return self.pruned / self.dense


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What running two models side by side showed."""

    data: DataFacts
    place: Place
    measured: Measured
    interval: tuple[float, float] | None = None
    conditions: tuple[Condition, ...] = ()
    latency: Latency | None = None
    warnings: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all conditions of the gate hold."""
        return all(condition.passed for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `onnxprune check` found.

    Args:
        dense: the first model's file, `dense_sha256` its sum; `pruned`: the second's.
        result: what was measured.
        sizes: bytes of the files of both.
        zeros: zeros over prunable weights of the dense and of the pruned model.
        seconds: the time it took.
    """

    dense: str
    dense_sha256: str
    pruned: str
    pruned_sha256: str
    result: CheckResult
    sizes: Sizes
    zeros: tuple[float, float]
    seconds: float
