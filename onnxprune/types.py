"""The nouns that the layers pass to each other."""

import math
from dataclasses import dataclass, field
from typing import Any

from onnxprune.layout import Array as Array
from onnxprune.layout import Layout as Layout
from onnxprune.outcomes import Calibration, CheckResult, Sizes
from onnxprune.points import Search
from onnxprune.recoveries import Recovery
from onnxprune.removals import Follower, Removal
from onnxprune.storage import Storage


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that can be pruned.

    Args:
        path: its name in the main graph, `node.branch/name` or `function:name/…` elsewhere.
        op: the operator it is a weight of; `node`: that node's name.
        shape: as stored.
        dtype: the stored element type, such as `float32` or `int8`.
        size: number of elements.
        layout: how operators read it.
        macs: multiply-accumulates per sample, or None where a shape is unknown.
        embedding: whether it is a lookup table.
        held: why none of its outputs may vanish as a whole; empty where they may.
        units: for each of its outputs the number of its unit in the model: outputs of the same
            number, here or of other weights, stay or fall together. Empty where each is a unit.
        followers: constants that lose values with these units.
    """

    path: str
    op: str
    node: str
    shape: tuple[int, ...]
    dtype: str
    size: int
    layout: Layout
    macs: int | None = None
    embedding: bool = False
    held: str = ""
    units: tuple[int, ...] = ()
    followers: tuple[Follower, ...] = ()


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is left alone, and why."""

    name: str
    reason: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Tally:
    """Zeros of a tensor, before and after, and how much of it went.

    Args:
        zeros_before: zeros it held already; `zeros`: those it holds now.
        squares: the sum of its squares before; `removed`: of those that went.
    """

    zeros_before: int = 0
    zeros: int = 0
    squares: float = 0.0
    removed: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.zeros_before + other.zeros_before,
            self.zeros + other.zeros,
            self.squares + other.squares,
            self.removed + other.removed,
        )


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to prune, and how: the same fields as the command's options.

    Args:
        sparsity: zeros over prunable weights, in [0, 1); None takes the total of `from:FILE`.
        method: a method's or an allocation's name, or a Python file.
        allocation: how zeros are divided among tensors, if not as the method says.
        options: the method's and the allocation's own options.
        include: prune only what one of these globs matches; `exclude`: leave these alone.
        layer: the sparsity of the tensors that a glob matches.
        max_layer_sparsity: no tensor gets sparser than this.
        min_kept: every tensor keeps at least so many weights.
        min_size: tensors with fewer elements are left alone.
        include_embeddings: whether lookup tables are pruned, too.
        seed: where random numbers start.
        steps: in how many steps a method that measures prunes; None leaves it to the method.
        schedule: how the zeros grow over the steps, `exponential` or `linear`.
        batches_per_step: how many batches are measured in each step; None leaves it to the
            method.
        precision: of what is measured, `float32` or `float64`.
        loss: `cross-entropy`, `mse`, or where a function is.
        bn: normalisation by the file's statistics, `eval`, or by each batch's, `batch`.
        curvature: `exact`, `mc` (drawn) or `empirical` (by the labels).
        group: among what scores are compared, `tensor` or `row`; None leaves it to the method.
        pattern: which weights go together, `unstructured`, N:M such as `2:4`, `block:RxC` or
            `filters`.
        channel_multiple: with filters, what a tensor keeps is a multiple of so many.
        remove: whether channels that fall are taken out of the model.
        recover: what is tried to win accuracy back.
        epochs: how often distillation goes through the samples; None leaves it to it.
        time_budget: seconds that distillation may take; None for as long as the epochs take.
        lr: its largest step, as a share of a tensor's values.
        optimizer: `adamw` or `sgd`.
        augment: how it changes samples; None does what is right for them.
        match: values inside the graph that are matched besides the outputs, as globs.
        label_weight: what labels count; None for nothing, or for a half where `--labels` names
            them.
        held_out: the share of the samples that recovery is judged by.
        rewind: a model file whose values the kept weights take.
    """

    sparsity: float | None = None
    method: str = "lamp"
    allocation: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    layer: dict[str, float] = field(default_factory=dict)
    max_layer_sparsity: float = 1.0
    min_kept: int = 0
    min_size: int = 0
    include_embeddings: bool = False
    seed: int = 0
    steps: int | None = None
    schedule: str | None = None
    batches_per_step: int | None = None
    precision: str = "float32"
    loss: str = "cross-entropy"
    bn: str = "eval"
    curvature: str = "exact"
    group: str | None = None
    pattern: str = "unstructured"
    channel_multiple: int = 1
    remove: bool = False
    recover: tuple[str, ...] = ()
    epochs: int | None = None
    time_budget: float | None = None
    lr: float | None = None
    optimizer: str = "adamw"
    augment: tuple[str, ...] | None = None
    match: tuple[str, ...] = ()
    label_weight: float | None = None
    held_out: float = 0.1
    rewind: str | None = None


@dataclass(frozen=True, slots=True)
class Structure:
    """Where a tensor's zeros lie.

    Args:
        groups: of input channels, of which at most N of M may be kept; None where M does not
            divide them. `complying`: those of which no more are.
        complying: see above.
        blocks: None where they do not fit. `occupied`: those that hold a weight.
        occupied: see above.
        filters: outputs; `empty`: those without any weight.
        empty: see above.
    """

    groups: int | None
    complying: int | None
    blocks: int | None
    occupied: int | None
    filters: int
    empty: int


@dataclass(frozen=True, slots=True)
class Inspected:
    """The patterns that a model was looked through for, and the one that was asked for."""

    groups: str
    blocks: str
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class TensorReport:
    """What became of one weight; `structure` is where its zeros lie, if that was looked for."""

    weight: Weight
    tally: Tally
    mask_zeros: int
    structure: Structure | None = None

    @property
    def sparsity(self) -> float:
        """Zeros over elements, as they are in the file."""
        return self.tally.zeros / self.weight.size

    @property
    def change(self) -> float | None:
        """How much of the tensor's norm went, between 0 and 1."""
        squares, removed = self.tally.squares, self.tally.removed
        if not (0 < squares < float("inf")):
            return 0.0 if squares == 0 else None
        return math.sqrt(removed / squares)

    @property
    def sparse_macs(self) -> int | None:
        """Multiply-accumulates that are left if zeros cost nothing."""
        if self.weight.macs is None:
            return None
        return round(self.weight.macs * (1 - self.sparsity))


@dataclass(frozen=True, slots=True)
class Report:
    """What a command found and did.

    Args:
        model: the model file, with its SHA-256 sum.
        sha256: see above.
        output: the file that was written, if one was.
        files: all files of the output.
        recipe: what was asked; None for an inspection.
        tensors: the prunable tensors, in graph order.
        skipped: the tensors left alone.
        warnings: what a user should know.
        parameters: elements of all float and pruned tensors of the model.
        sizes: bytes.
        verified: what onnx.checker and ONNX Runtime said, if they were asked.
        seconds: the time it took.
        calibration: how the model was measured, if its weights were scored by that.
        recovery: what was done to win accuracy back, if anything was.
        check: what running the pruned model beside the dense one showed, if it was run.
        storage: which tensors are, or were, stored sparse, if any.
        followers: biases and normalisations that lost values with whole filters.
        inspected: the patterns that an inspection looked for.
        removal: the channels that were taken out, if that was asked; tensors are shown as they
            were before.
    """

    model: str
    sha256: str
    tensors: tuple[TensorReport, ...]
    skipped: tuple[Skipped, ...]
    warnings: tuple[str, ...]
    parameters: int
    sizes: Sizes
    seconds: float
    recipe: Recipe | None = None
    output: str | None = None
    files: tuple[str, ...] = ()
    verified: str | None = None
    calibration: Calibration | None = None
    recovery: Recovery | None = None
    check: CheckResult | None = None
    storage: Storage | None = None
    followers: tuple[str, ...] = ()
    inspected: Inspected | None = None
    removal: Removal | None = None

    @property
    def size(self) -> int:
        """The number of prunable weights."""
        return sum(tensor.weight.size for tensor in self.tensors)

    @property
    def zeros(self) -> int:
        """The zeros among them."""
        return sum(tensor.tally.zeros for tensor in self.tensors)

    @property
    def mask_zeros(self) -> int:
        """The weights that the mask removes, those that were zero before included."""
        return sum(tensor.mask_zeros for tensor in self.tensors)

    @property
    def macs(self) -> tuple[int, int] | None:
        """Multiply-accumulates of the prunable weights whose shapes are known: all, non-zero."""
        known = [(t.weight.macs, t.sparse_macs) for t in self.tensors]
        pairs = [
            (dense, left) for dense, left in known if dense is not None and left is not None
        ]
        if not pairs:
            return None
        return sum(dense for dense, _ in pairs), sum(left for _, left in pairs)


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found, and the report on the model that it wrote."""

    search: Search
    report: Report
