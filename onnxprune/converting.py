"""Writes what was pruned of a file of torch's as an ONNX file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import OutputError, UsageError, about
from onnxprune.formats.files import open_regular
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.output import Temporary, check_output, copy_range
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.tallies import count_zeros
from onnxprune.formats.torch_converting import Converted
from onnxprune.formats.torch_file import TorchModel, load_torch
from onnxprune.pruning import Settings
from onnxprune.trials.staging import convert_for
from onnxprune.trials.trial import Trial
from onnxprune.types import Report

FIXED = "make_fx"
"""The route that records what a script does, instead of what it could do."""


def prune_to_onnx(
    model: Path,
    settings: Settings,
    example: Trial | None,
    prune: Callable[[Settings], Report],
) -> Report:
    """Prune a file of torch's, and write the result as ONNX.

    Args:
        model: the file.
        settings: how to work; the output is the ONNX file.
        example: the samples of which the first ones show what the model takes.
        prune: prunes the file as other settings say.
    """
    spelled = settings.output
    assert spelled is not None
    if example is None:
        raise UsageError(
            f"{spelled}: to become ONNX, a model is run on an example of what it takes",
            "--data SET gives it, or --data random --shape INPUT=3x224x224",
        )
    with about(model):
        source = open_regular(model)
    source.close()
    output = check_output(spelled, [source], settings.force)
    if settings.dry_run:
        return prune(replace(settings, output=None))
    with scratch_folder() as folder:
        pruned = Path(folder, model.name)
        report = prune(replace(settings, output=pruned, force=True))
        if report.output is None:
            return report
        with about(model), load_torch(pruned) as written:
            made = convert_for(written, example, Path(folder, "model.onnx"))
            _compare(written, made)
        _put(made.path, output)
    verified = f"{report.verified}; its ONNX form computes the same, within {made.error:.1e}"
    notes = []
    if made.route == FIXED:
        notes.append(
            "the ONNX file computes what the script did with the example, no other way"
        )
    if made.missing:
        few = ", ".join(f"'{path}'" for path in made.missing[:3])
        more = ", …" if len(made.missing) > 3 else ""
        count = len(made.missing)
        notes.append(f"{count} weights are not in the ONNX file as they are: {few}{more}")
    return replace(
        report,
        output=str(spelled),
        files=(str(spelled),),
        verified=verified,
        sizes=replace(report.sizes, after=output.stat().st_size),
        warnings=(*report.warnings, *notes),
    )


def _compare(pruned: TorchModel, made: Converted) -> None:
    """See that every zero is a zero in the ONNX file, too."""
    with load_onnx(made.path) as model:
        stored = {weight.path for weight in model.weights}
        for path, name in made.names.items():
            if name not in stored:
                continue
            wanted = count_zeros(pruned, path)
            found = count_zeros(model, name)
            whole = _size(model, name) == pruned.regions[path].size
            if found < wanted or (whole and found != wanted):
                raise OutputError(
                    f"'{path}' has {wanted:,} zeros, {found:,} of them became ONNX"
                )


def _size(model: OnnxModel, path: str) -> int:
    return next(weight.size for weight in model.weights if weight.path == path)


def _put(made: Path, output: Path) -> None:
    """Put a file in place, whole or not at all."""
    source = open_regular(made)
    try:
        with Temporary(output) as temporary:
            at = 0
            while at < source.size:
                left = source.size - at
                at += copy_range(source.descriptor, temporary.descriptor, at, at, left, output)
            temporary.commit()
    finally:
        source.close()
