"""Makes models ready to run: a file of torch's is turned into ONNX, or run by torch itself."""

import contextlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnxprune.errors import LibraryError, LimitError, UnsupportedError
from onnxprune.formats.edits import Edits, check_edits
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.saving import Saving
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.torch_converting import Converted, convert
from onnxprune.formats.torch_file import TorchModel
from onnxprune.samples.opening import open_samples
from onnxprune.trials.ports import input_ports
from onnxprune.trials.runner import Runner, TorchFile
from onnxprune.trials.trial import Trial
from onnxprune.trials.variants import Variants
from onnxprune.types import Array


@dataclass(slots=True, eq=False)
class Staged:
    """A model that can be run.

    Args:
        model: what runs: an ONNX model, or a file of torch's that does not convert.
        notes: what a user should know of how it runs.
        converted: how it became ONNX, if it was not.
    """

    model: Model
    notes: tuple[str, ...] = ()
    converted: Converted | None = None

    def open(self, runner: Runner, key: str) -> dict[str, Any]:
        """Make a session of it."""
        return runner.open(key, runnable(self.model))


def runnable(model: Model) -> Path | TorchFile:
    """Return what a runner is given of a model file."""
    return model.source.path if isinstance(model, OnnxModel) else runnable_torch(model)


def stage(
    model: Model, trial: Trial, stack: contextlib.ExitStack, whole: bool = False
) -> Staged:
    """Make a model ready to run on a trial's samples.

    Args:
        model: the open model.
        trial: the samples, of which the first is the example that a conversion is made with.
        stack: closes what is opened.
        whole: whether every weight has to be in the ONNX model as it is.
    """
    if isinstance(model, OnnxModel):
        return Staged(model)
    folder = stack.enter_context(scratch_folder())
    try:
        made = convert_for(model, trial, Path(folder, "model.onnx"))
    except (UnsupportedError, LibraryError, LimitError) as error:
        return Staged(model, (f"{model.kind} runs in torch: {error.message}",))
    converted = stack.enter_context(load_onnx(made.path))
    if whole:
        there = {weight.path: weight for weight in converted.weights}
        own = Counter(made.names.values())
        changed = [
            weight.path
            for weight in model.weights
            if made.names.get(weight.path) not in there or own[made.names[weight.path]] > 1
        ]
        if changed:
            reason = f"what the exporter makes of it has no '{changed[0]}' of its own"
            return Staged(model, (f"{model.kind} runs in torch: {reason}",))
        # A buffer may look like a weight there, and the order may be another one.
        converted.weights = [there[made.names[weight.path]] for weight in model.weights]
    note = f"{model.kind} was turned into ONNX to be run (by {made.route})"
    return Staged(converted, (note,), made)


def stage_both(
    dense: Model, pruned: Model, trial: Trial, stack: contextlib.ExitStack
) -> tuple[Staged, Staged]:
    """Make two models ready to run, both by the same engine if they are of one form."""
    first, second = stage(dense, trial, stack), stage(pruned, trial, stack)
    if isinstance(first.model, OnnxModel) == isinstance(second.model, OnnxModel):
        return first, second
    kept = [
        Staged(each, one.notes if one.model is each else ())
        for each, one in ((dense, first), (pruned, second))
    ]
    return kept[0], kept[1]


def convert_for(model: TorchModel, trial: Trial, output: Path) -> Converted:
    """Write a model as ONNX, with a trial's first samples as the example."""
    size = trial.batch or 2
    with open_samples(trial.data, trial.reading, input_ports(model)) as samples:
        batch = next(iter(samples.batches(size)))
    arguments = [batch.feeds[name] for name in model.survey.inputs if name in batch.feeds]
    try:
        return convert(model, arguments, output)
    except UnsupportedError:
        if size == 1:
            raise
    # It may take one sample at a time.
    return convert_for(model, replace(trial, batch=1), output)


class TorchVariants:
    """A file of torch's in variants, each of which is written to be run."""

    def __init__(self, model: TorchModel) -> None:
        self.model = model
        self._folder = scratch_folder()

    def open(
        self,
        runner: Runner,
        key: str,
        edits: Edits,
        additions: Mapping[str, Array] | None = None,
    ) -> dict[str, Any]:
        """Make a session of the model with some of its tensors changed."""
        if additions:
            raise UnsupportedError("a bias can be made in an ONNX model only")
        check_edits(self.model, edits)
        if not edits:
            return runner.open(key, runnable(self.model))
        file = self.path_of(edits)
        return runner.open(key, replace(runnable_torch(self.model), path=file))

    def path_of(self, edits: Edits) -> Path:
        """Write a variant, and return where it is."""
        target = Path(self._folder.name, "variant.pt")
        (file,) = Saving(self.model, target, edits, verify=False).run()
        return file

    def close(self) -> None:
        """Remove what was written."""
        self._folder.cleanup()

    def __enter__(self) -> "TorchVariants":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def runnable_torch(model: TorchModel) -> TorchFile:
    """Return what a runner is given of a file of torch's."""
    return TorchFile(model.source.path, model.is_program, model.survey.inputs)


def variants_of(model: Model) -> Variants | TorchVariants:
    """Return what makes sessions of a model's variants."""
    return Variants(model) if isinstance(model, OnnxModel) else TorchVariants(model)
