"""The commands as Python functions: the same options, reports and errors."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onnxprune.bounds import limiting
from onnxprune.formats.trust import trusting
from onnxprune.inspecting import inspect_file
from onnxprune.patterns.pattern import parse_pattern
from onnxprune.pruning import Settings
from onnxprune.recipe import make_recipe
from onnxprune.running import run_recipe
from onnxprune.storage import DENSE
from onnxprune.types import Recipe, Report

if TYPE_CHECKING:
    from onnxprune.trials.trial import Trial


def prune(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    sparsity: float | str | None = None,
    method: str | None = None,
    *,
    allocation: str | None = None,
    output: str | Path | None = None,
    force: bool = False,
    dry_run: bool = False,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    layer: Mapping[str, float] | None = None,
    max_layer_sparsity: float = 1.0,
    min_kept: int = 0,
    min_size: int = 0,
    include_embeddings: bool = False,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    steps: int | None = None,
    schedule: str | None = None,
    batches_per_step: int | None = None,
    precision: str | None = None,
    loss: str | None = None,
    bn: str | None = None,
    curvature: str | None = None,
    group: str | None = None,
    pattern: str | None = None,
    channel_multiple: int | None = None,
    remove: bool = False,
    recover: str | Sequence[str] = (),
    epochs: int | None = None,
    time_budget: float | str | None = None,
    lr: float | None = None,
    optimizer: str | None = None,
    augment: str | Sequence[str] | None = None,
    match: Sequence[str] = (),
    label_weight: float | None = None,
    held_out: float | None = None,
    rewind: str | Path | None = None,
    verify: bool = True,
    compressed_size: bool = False,
    allow_hardlinks: bool = False,
    check: "Trial | None" = None,
    keep_failed: bool = False,
    data: "Trial | None" = None,
    checkpoint: str | Path | None = None,
    storage: str = DENSE,
    trust_model: bool = False,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
) -> Report:
    """Prune a model file and write the result beside it, or where `output` says.

    Args:
        model: an ONNX file, TorchScript, or an exported program.
        sparsity: zeros over prunable weights, in [0, 1).
        method: a method's or an allocation's name (see `methods()`), or a Python file;
            lamp, or magnitude where only an allocation is named.
        allocation: how zeros are divided among tensors, if not as the method says.
        output: the file to write; `<stem>.pruned.onnx` beside the model by default.
        force: replace an existing output.
        dry_run: report what would happen, write nothing.
        include: prune only tensors that one of these globs matches.
        exclude: leave tensors alone that one of these globs matches.
        layer: sparsities of single tensors, by glob.
        max_layer_sparsity: no tensor gets sparser than this.
        min_kept: every tensor keeps at least so many weights.
        min_size: tensors with fewer elements are left alone.
        include_embeddings: prune lookup tables, too.
        seed: where random numbers start.
        options: options of the method and the allocation themselves.
        steps: in how many steps a method that measures prunes.
        schedule: how the zeros grow over the steps, `exponential` or `linear`.
        batches_per_step: how many batches are measured in each step.
        precision: of what is measured, `float32` or `float64`.
        loss: `cross-entropy`, `mse`, or `module:function`.
        bn: normalise by the file's statistics, `eval`, or by each batch's, `batch`.
        curvature: `exact`, `mc` or `empirical`.
        group: among what the lowest scores fall, `tensor` or `row`.
        pattern: which weights fall together: `unstructured`, N:M such as `2:4`, `block:RxC`,
            or `filters`.
        channel_multiple: with filters, every tensor keeps a multiple of so many.
        remove: take the filters that fall out of an ONNX model, which gets smaller and faster.
        recover: what is tried to win accuracy back, of `refit`, `sparsegpt`, `statistics`,
            `bias` and `distill`; each stays only if the model is better for it.
        epochs: how often distillation goes through the samples.
        time_budget: how long it may take, in seconds or as `10m`.
        lr: its largest step, as a share of how large a tensor's values are.
        optimizer: `adamw` or `sgd`.
        augment: how it changes samples, of `flip`, `shift` and `mix`, or `none`.
        match: globs of values inside the graph that are matched besides the outputs.
        label_weight: what labels count beside the dense model's answers.
        held_out: the share of the samples that recovery is judged by.
        rewind: a model file whose values the kept weights take.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        allow_hardlinks: take external data files that have several names.
        check: run the model before and after on samples (see `trial`); a gate that fails
            raises GateFailed, whose `report` is what was found.
        keep_failed: write the model even if the gate fails.
        data: on what methods that measure the model measure it (see `trial`).
        checkpoint: a folder that keeps finished steps, for the next time.
        storage: how pruned tensors are written, `dense` or `sparse`.
        trust_model: load a model that is a program, as TorchScript is.
        timeout: seconds that a library may take to look at a model; a trial has its own.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
    """
    given = locals()
    values = {each.name: given[each.name] for each in fields(Recipe)}
    values |= {"layer": layer or {}, "options": dict(options or {})}
    recipe = make_recipe(values | {"rewind": str(rewind) if rewind is not None else None})
    settings = Settings(
        output=Path(output) if output is not None else None,
        force=force,
        dry_run=dry_run,
        verify=verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
        checkpoint=Path(checkpoint) if checkpoint is not None else None,
        storage=storage,
    )
    bounds = limiting(
        timeout=timeout, memory_limit=memory_limit, max_amplification=max_amplification
    )
    with trusting(trust_model), bounds:
        return run_recipe(Path(model), recipe, settings, check, keep_failed, data)


def inspect(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    *,
    verify: bool = True,
    compressed_size: bool = False,
    trust_model: bool = False,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
    pattern: str | None = None,
) -> Report:
    """Report on a model file as it is.

    Args:
        model: an ONNX file, TorchScript, or an exported program.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        trust_model: load a model that is a program, as TorchScript is.
        timeout: seconds that a library may take to look at a model; a trial has its own.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
        pattern: N:M or `block:RxC` instead of 2:4 and `block:4x4`, of which every tensor's
            `structure` tells how far it has them.
    """
    settings = Settings(verify=verify, compressed_size=compressed_size)
    bounds = limiting(
        timeout=timeout, memory_limit=memory_limit, max_amplification=max_amplification
    )
    with trusting(trust_model), bounds:
        return inspect_file(Path(model), settings, parse_pattern(pattern or "unstructured"))
