"""Prunes whole channels and takes them out: zeros first, then the model without them."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from onnxprune.errors import UsageError, about
from onnxprune.formats.edits import Edits
from onnxprune.formats.loading import Model, load_model
from onnxprune.formats.onnx_file import file_hash, load_onnx
from onnxprune.formats.output import check_output
from onnxprune.formats.saving import Accept
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.torch_file import TorchModel
from onnxprune.pruning import Settings, default_output
from onnxprune.ranked import company
from onnxprune.shrinking import RANDOM, shrink_model
from onnxprune.sizes import measure
from onnxprune.storage import DENSE
from onnxprune.trials.staging import convert_for
from onnxprune.trials.trial import Trial, make_trial
from onnxprune.types import Report

COMPARED = 64
"""Samples that tell whether two models compute the same."""

OTHER_NAMES = "tensors have the names of the model's ONNX form"

Prune = Callable[[Path, Settings], Report]
"""Prunes a file as some settings say."""


def prune_and_remove(
    path: Path, settings: Settings, example: Trial | None, timed: bool, prune: Prune
) -> Report:
    """Prune a model, and take out the channels that fell.

    The model with its zeros is written to a folder of its own. What is put in place is the
    smaller one, once it was seen to compute the same.

    Args:
        path: the model file.
        settings: how to work; their `accept` looks at the smaller model.
        example: the samples that both are run on; random ones if there are none.
        timed: whether both are timed; where there is a check, that does it.
        prune: prunes a file.
    """
    began = time.perf_counter()
    if settings.storage != DENSE:
        raise UsageError(
            f"--storage {settings.storage}: a model that loses channels is written dense",
            "without --remove, or --storage sparse for what is pruned of the result",
        )
    spelled = settings.output or default_output(path)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(scratch_folder()))
        with about(path):
            given = load_model(path, settings.allow_hardlinks)
            stack.callback(given.close)
            source = path
            if isinstance(given, TorchModel):
                source = _as_onnx(given, settings.output, example, folder)
        if not settings.dry_run:
            check_output(spelled, given.all_files(), settings.force)
        zeroed = folder / "zeroed.onnx"
        inner = replace(settings, output=zeroed, force=True, dry_run=False, accept=None)
        report = prune(source, inner)
        accept = None if settings.accept is None else _beside(given, settings.accept)
        outer = replace(settings, output=spelled, accept=accept)
        with load_onnx(zeroed) as opened:
            removal = shrink_model(path, opened, outer, _compared(example, timed))
        notes = () if source == path else (OTHER_NAMES,)
        files = [spelled.with_name(Path(file).name) for file in removal.files]
        return replace(
            report,
            model=str(path),
            sha256=file_hash(given.all_files()[0]),
            output=removal.output,
            files=removal.files,
            sizes=measure(given.all_files(), files, settings.compressed_size),
            verified=removal.verified or report.verified,
            warnings=tuple(dict.fromkeys((*notes, *report.warnings, *removal.warnings))),
            seconds=time.perf_counter() - began,
            removal=removal,
        )


def _as_onnx(
    model: TorchModel, output: Path | None, example: Trial | None, folder: Path
) -> Path:
    """Write a file of torch's as ONNX, before any of it is pruned."""
    if output is None or output.suffix.lower() != ".onnx":
        raise UsageError(
            f"--remove takes channels out of ONNX models, and this is {model.kind}",
            "-o NAME.onnx writes it as one",
        )
    if not company().alone:
        raise UsageError("--remove takes a file of torch's in one process", "without torchrun")
    if example is None:
        raise UsageError(
            f"{output}: to become ONNX, a model is run on an example of what it takes",
            "--data SET gives it, or --data random --shape INPUT=3x224x224",
        )
    return convert_for(model, example, folder / "dense.onnx").path


def _beside(dense: Model, accept: Accept) -> Accept:
    """Let a model be looked at beside the one it was made of in the end."""

    def look(_: Model, smaller: Model, edits: Edits) -> bool:
        return accept(dense, smaller, edits)

    return look


def _compared(example: Trial | None, timed: bool) -> Trial:
    """Return the trial by which it is seen whether two models compute the same."""
    trial = example or make_trial(RANDOM)
    most = max(COMPARED, trial.batch or 0)
    reading = replace(trial.reading, limit=min(trial.reading.limit or most, most))
    return replace(trial, reading=reading, latency=trial.latency and timed)
