"""The nouns of a removal: channels before and after, and why others had to stay."""

from dataclasses import dataclass

from onnxprune.outcomes import Latency, Place, Sizes


@dataclass(frozen=True, slots=True)
class Follower:
    """A constant that is added to channels, or scales them, and goes with them.

    Args:
        path: the constant.
        shape: as stored.
        axis: along which its positions are channels.
        units: for each position the number of its unit; -1 where it is of none.
    """

    path: str
    shape: tuple[int, ...]
    axis: int
    units: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RemovedChannels:
    """What became of the channels that some weights make together.

    Args:
        producers: the weights whose outputs they are.
        before: how many units there were; a unit lives or dies as a whole.
        after: how many are left.
        zeros: those left that these weights make nothing but zeros of.
        reason: why they, or all, had to stay; None where there is nothing to explain.
    """

    producers: tuple[str, ...]
    before: int
    after: int
    zeros: int = 0
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Sameness:
    """How close a model without channels is to the model with them.

    Args:
        samples: how many were run; `source`: where they are from; `batch`: how many at once.
        largest: the largest difference of an output, over the largest value of that output.
        allowed: what it may be.
        place: where both ran.
        source: see above.
        batch: see above.
    """

    samples: int
    largest: float
    allowed: float
    place: Place
    source: str = "random"
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Removal:
    """What `onnxprune shrink` found and did.

    Args:
        model: the model file, with its SHA-256 sum.
        sha256: see above.
        output: the file that was written, if one was; `files`: all files of it.
        files: see above.
        groups: the channels, by the weights that make them.
        parameters: elements of all float and prunable tensors, before and after.
        macs: multiply-accumulates per sample, before and after, where they are known.
        sizes: bytes.
        same: the comparison of both models; None where it was not wanted.
        latency: time of a batch in both, if it was measured.
        verified: what onnx.checker and ONNX Runtime said of the result.
        warnings: what a user should know.
        seconds: the time it took.
    """

    model: str
    sha256: str
    output: str | None
    files: tuple[str, ...]
    groups: tuple[RemovedChannels, ...]
    parameters: tuple[int, int]
    macs: tuple[int, int] | None
    sizes: Sizes
    same: Sameness | None
    latency: Latency | None
    verified: str | None
    warnings: tuple[str, ...]
    seconds: float

    @property
    def before(self) -> int:
        """The number of channels before."""
        return sum(group.before for group in self.groups)

    @property
    def removed(self) -> int:
        """The number of channels that went."""
        return sum(group.before - group.after for group in self.groups)
