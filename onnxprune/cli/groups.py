"""Groups of options that several commands share: dataclasses in a command's signature."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from onnxprune.cli.options import (
    Allocation,
    BatchesPerStep,
    Bn,
    ChannelMultiple,
    Compressed,
    Curvature,
    Embeddings,
    Exclude,
    Group,
    Hardlinks,
    Include,
    Json,
    Layer,
    Loss,
    MaxAmplification,
    MaxLayerSparsity,
    MemoryLimit,
    MinKept,
    MinSize,
    NoVerify,
    Own,
    Pattern,
    Penalty,
    Precision,
    Quiet,
    RecipeFile,
    Remove,
    Reports,
    Schedule,
    Seed,
    Steps,
    Timeout,
    TrustModel,
    option,
)

of_samples = functools.partial(option, rich_help_panel="Samples")
running = functools.partial(option, rich_help_panel="Running")
gate = functools.partial(option, rich_help_panel="Gate")


@dataclass(frozen=True, slots=True)
class Choice:
    """What to prune and how, apart from method and sparsity."""

    allocation: Allocation = None
    options: Own = None
    include: Include = None
    exclude: Exclude = None
    layer: Layer = None
    max_layer_sparsity: MaxLayerSparsity = None
    min_kept: MinKept = None
    min_size: MinSize = None
    include_embeddings: Embeddings = False
    seed: Seed = None
    recipe: RecipeFile = None
    magnitude_penalty: Penalty = None
    steps: Steps = None
    schedule: Schedule = None
    batches_per_step: BatchesPerStep = None
    precision: Precision = None
    loss: Loss = None
    bn: Bn = None
    curvature: Curvature = None
    group: Group = None
    pattern: Pattern = None
    channel_multiple: ChannelMultiple = None
    remove: Remove = False


@dataclass(frozen=True, slots=True)
class Printing:
    """Where the report goes."""

    as_json: Json = False
    report: Reports = None
    quiet: Quiet = False


@dataclass(frozen=True, slots=True)
class Bounded:
    """What a file may take besides time; the options' callbacks have seen to it."""

    memory_limit: MemoryLimit = None
    max_amplification: MaxAmplification = None


@dataclass(frozen=True, slots=True)
class Looking:
    """How a model file is looked at."""

    no_verify: NoVerify = False
    compressed_size: Compressed = False
    allow_hardlinks: Hardlinks = False
    trust_model: TrustModel = False


@dataclass(frozen=True, slots=True)
class Set:
    """The samples, and how they become what the model is fed."""

    data: Annotated[
        str | None,
        of_samples(
            "-d", "--data", metavar="SET", help="A .npz, .npy, folder, or module:function."
        ),
    ] = None
    inputs: Annotated[
        list[str] | None,
        of_samples("--input", metavar="ARRAY=INPUT", help="The input that an array is for."),
    ] = None
    labels: Annotated[
        str | None, of_samples(metavar="ARRAY", help="The array of labels, if not `labels`.")
    ] = None
    samples: Annotated[
        int | None, of_samples("--samples", metavar="N", help="Only the first N.")
    ] = None
    image_size: Annotated[
        str | None, of_samples(metavar="HxW", help="Resize image files.")
    ] = None
    mean: Annotated[
        str | None, of_samples(metavar="M,...", help="Taken from pixels, one per channel.")
    ] = None
    std: Annotated[
        str | None, of_samples(metavar="S,...", help="Pixels are divided by it after that.")
    ] = None
    pixel_range: Annotated[
        str | None, of_samples(metavar="1|255", help="Pixels as 0..1 (default) or 0..255.")
    ] = None
    layout: Annotated[
        str | None, of_samples(metavar="NCHW|NHWC", help="What the model takes, if not clear.")
    ] = None
    channel_order: Annotated[
        str | None, of_samples(metavar="RGB|BGR", help="What the model takes; RGB.")
    ] = None
    shape: Annotated[
        list[str] | None,
        of_samples(metavar="INPUT=DxD", help="Sizes of one sample of random data."),
    ] = None
    cast: Annotated[bool, of_samples("--cast", help="Convert arrays of another type.")] = False


@dataclass(frozen=True, slots=True)
class Run:
    """Where and how models run, and what their outputs are taken for."""

    device: Annotated[str, running(metavar="auto|cpu|cuda", help="Where to run; auto.")] = (
        "auto"
    )
    batch: Annotated[
        int | None, running(metavar="N", help="Samples at once; found by default.")
    ] = None
    timeout: Timeout = None
    task: Annotated[
        str | None,
        running(metavar="auto|classes|values", help="What the outputs are; auto."),
    ] = None
    metric: Annotated[
        str | None, running(metavar="MODULE:FUNCTION", help="A measure of your own.")
    ] = None
    cache: Annotated[
        Path | None, running(metavar="DIR", help="Keep the dense model's outputs there.")
    ] = None
    no_latency: Annotated[bool, running("--no-latency", help="Do not time the models.")] = (
        False
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a pruned model has to meet."""

    max_drop: Annotated[
        str | None, gate(metavar="D", help="Accuracy may fall by D, such as 0.01.")
    ] = None
    min_accuracy: Annotated[str | None, gate(metavar="A", help="Accuracy is at least A.")] = (
        None
    )
    min_agreement: Annotated[
        str | None, gate(metavar="A", help="At least this share of decisions is the same.")
    ] = None
    max_kl: Annotated[
        str | None, gate(metavar="K", help="Mean KL divergence from the dense model.")
    ] = None

    @property
    def given(self) -> bool:
        """Whether any limit is set."""
        return any(getattr(self, field.name) is not None for field in fields(self))


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Make the fields of a command's groups its own parameters, for Typer to see."""
    hints = get_type_hints(command, include_extras=True)
    plain = inspect.signature(command).parameters
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for name, parameter in plain.items():
        group = hints[name]
        if not is_dataclass(group):
            parameters.append(parameter.replace(annotation=group, kind=KEYWORD))
            continue
        assert isinstance(group, type)
        groups[name] = group
        parameters += _members(group)

    @functools.wraps(command)
    def call(**given: Any) -> None:
        made = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **made)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {each.name: each.annotation for each in parameters}
    del call.__wrapped__
    return call


KEYWORD = inspect.Parameter.KEYWORD_ONLY


def _members(group: type) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            KEYWORD,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
