"""Everything that a recovery works with, opened for one model."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from onnxprune.calibrating import Calibrator, layouts_of
from onnxprune.choosing import fits
from onnxprune.errors import UsageError
from onnxprune.filters import fallen_filters, followers_of_units
from onnxprune.formats.edits import Edit
from onnxprune.formats.followers import followers_among
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_biases import Surroundings, surroundings
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.saving import Saving
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.torch_file import TorchModel
from onnxprune.gradual import Masks
from onnxprune.importing import compare_import, import_graph
from onnxprune.recover.augmenting import find_pictures
from onnxprune.recover.judging import Judge, Teacher
from onnxprune.recover.matching import Matched, find_matched
from onnxprune.recover.names import Names, pair_tensors
from onnxprune.recover.pool import Pool, fill_pool
from onnxprune.recover.state import State
from onnxprune.reimport.module import Reimported
from onnxprune.rewinding import rewound_values
from onnxprune.samples.batch import Samples
from onnxprune.statistics.estimation import Estimation
from onnxprune.translating import Places
from onnxprune.types import Array, Recipe, Weight

LABELS = 0.5
"""What labels count that the user names, unless told otherwise."""


@dataclass(slots=True, eq=False)
class Workshop:
    """A model as a module, with samples to fit it on and a judge.

    Args:
        model: the ONNX model that the module was made of, with biases that may be created.
        module: computes it, with its own parameters or others in their place; `teacher`
            computes the dense model.
        teacher: see above.
        state: its values.
        names: what the file calls its tensors.
        samples: the set; `pool`: its samples in memory.
        pool: see above.
        matched: the values that count; `judge`: compares them.
        judge: see above.
        estimation: how the model is measured.
        created: the biases that may be created, by weight.
        pictures: inputs that are pictures.
        chosen: the weights that are pruned, or adjusted beside those.
    """

    model: OnnxModel
    module: Reimported
    teacher: Teacher
    state: State
    names: Names
    samples: Samples
    pool: Pool
    matched: Matched
    judge: Judge
    estimation: Estimation
    created: dict[str, str]
    pictures: dict[str, int]
    chosen: Sequence[Weight]

    def put_masks(self, masks: Masks, filters: bool) -> None:
        """Let weights fall, and with whole filters what is added to them or scales them."""
        inner = self.names.inward(masks)
        if filters and not self.names.places:
            chosen = [weight for weight in self.chosen if weight.path in masks]
            fallen = fallen_filters(masks, chosen)
            for found in (
                followers_among(self.surroundings(), fallen),
                followers_of_units(chosen, fallen),
            ):
                for path, gone in found.items():
                    if path in self.state.values:
                        inner[path] = ~gone & inner.get(path, True)
        self.state.put_masks(inner)

    def start_anew(self) -> None:
        """Go back to the dense model, of which nothing has fallen."""
        self.state.masks.clear()
        self.state.restore({path: self.state.dense[path] for path in self.state.free})

    def constant(self, path: str) -> Array:
        """Return the values of a tensor of the file, in double precision."""
        stored = self.model.stored(path)
        return stored.values(0, stored.size).astype(np.float64)

    def surroundings(self) -> dict[str, Surroundings]:
        """Return what is added to the outputs of the weights, where that is known."""
        inner = [self.names.inner(weight.path) for weight in self.chosen]
        found = {path: surroundings(self.model, path) for path in inner}
        return {path: each for path, each in found.items() if each is not None}


def open_workshop(
    model: Model,
    recipe: Recipe,
    chosen: Sequence[Weight],
    calibrator: Calibrator,
    stack: contextlib.ExitStack,
) -> Workshop:
    """Make a module of a model, compare it with ONNX Runtime, read samples, find what matters.

    Args:
        model: the open file.
        recipe: what was asked.
        chosen: the weights that are pruned, or adjusted beside those.
        calibrator: knows the samples, and how to turn a file of torch's into ONNX.
        stack: closes what is opened.
    """
    trial = calibrator.calibration
    if trial is None:
        raise UsageError("--recover runs the model on samples", "--data SET names them")
    looked, places, created = _as_worked_on(model, recipe, chosen, calibrator, stack)
    paths = [places[each.path][0] if places else each.path for each in chosen]
    samples, estimation = calibrator.read(model), calibrator.estimation(recipe, model)
    matched = find_matched(looked, recipe.match)
    module = import_graph(looked, estimation, paths, matched.values)
    compare_import(module, looked, samples, estimation.batch, trial.timeout)
    first = _prepare(module, samples, estimation)
    free = _free(model, looked, recipe, chosen, module, places)
    state = State(module.tensors, free, layouts_of(looked))
    teacher = Teacher(module, state.dense)
    if recipe.rewind is not None:
        module = _rewound(looked, recipe, estimation, paths, matched, stack)
        _prepare(module, samples, estimation)
        state.values = module.tensors
    pool = fill_pool(samples, module.device, estimation.batch, recipe.held_out)
    weight = recipe.label_weight
    if weight is None:
        weight = LABELS if trial.reading.labels is not None else 0.0
    if weight and not samples.labelled:
        raise UsageError("--label-weight needs labels, and the set has none")
    return Workshop(
        model=looked,
        module=module,
        teacher=teacher,
        state=state,
        names=Names(state, places),
        samples=samples,
        pool=pool,
        matched=matched,
        judge=Judge(module, teacher, pool, matched, estimation.batch, weight),
        estimation=estimation,
        created=created,
        pictures=find_pictures(first, samples.images),
        chosen=chosen,
    )


def _as_worked_on(
    model: Model,
    recipe: Recipe,
    chosen: Sequence[Weight],
    calibrator: Calibrator,
    stack: contextlib.ExitStack,
) -> tuple[OnnxModel, Places, dict[str, str]]:
    """Return a model as ONNX, where its tensors are in that, and biases that were added."""
    if isinstance(model, TorchModel):
        if recipe.rewind is not None:
            raise UsageError(
                "--rewind together with --recover is for ONNX files",
                "--rewind alone takes a file of torch's, too",
            )
        converted, weights = calibrator.as_onnx(model, [weight.path for weight in chosen])
        return converted, pair_tensors(model, converted, weights), {}
    if not {"statistics", "bias"} & set(recipe.recover):
        return model, {}, {}
    copy, created = _with_biases(model, [weight.path for weight in chosen], stack)
    return copy, {}, created


def _rewound(  # noqa: PLR0913 - a model, how it is made a module, and who closes it
    model: OnnxModel,
    recipe: Recipe,
    estimation: Estimation,
    paths: list[str],
    matched: Matched,
    stack: contextlib.ExitStack,
) -> Reimported:
    """Return the module of a model with the values of a checkpoint."""
    values, _ = rewound_values(model, Path(str(recipe.rewind)))
    folder = stack.enter_context(scratch_folder())
    target = Path(folder, "model.onnx")
    edits = {path: Edit(values=each) for path, each in values.items()}
    Saving(model, target, edits, verify=False).run()
    with load_onnx(target) as copy:
        return import_graph(copy, estimation, paths, matched.values)


def _with_biases(
    model: OnnxModel, paths: Sequence[str], stack: contextlib.ExitStack
) -> tuple[OnnxModel, dict[str, str]]:
    """Return a copy of a model in which every layer that can has a bias, if any has none."""
    found = {path: surroundings(model, path) for path in paths}
    wanted = [
        path
        for path, each in found.items()
        if each is not None and each.creatable and each.normalisation is None
    ]
    if not wanted:
        return model, {}
    folder = stack.enter_context(scratch_folder())
    target = Path(folder, "model.onnx")
    layouts = layouts_of(model)
    zeros = {path: np.zeros(layouts[path].output_count) for path in wanted}
    saving = Saving(model, target, {}, additions=zeros, verify=False)
    saving.run()
    copy = load_onnx(target)
    stack.callback(copy.close)
    return copy, dict(saving.created)


def _prepare(
    module: Reimported, samples: Samples, estimation: Estimation
) -> dict[str, torch.Tensor]:
    """Settle a module's shapes on the first samples, and lay kernels as they are fastest."""
    batch = next(iter(samples.batches(estimation.batch)))
    module.specialise(batch.feeds)
    for value in module.tensors.values():
        if value.dim() == 4:
            value.data = value.data.contiguous(memory_format=torch.channels_last)
    return {name: torch.as_tensor(feed) for name, feed in batch.feeds.items()}


def _free(  # noqa: PLR0913 - a file, what is made of it, and what was asked
    model: Model,
    looked: OnnxModel,
    recipe: Recipe,
    chosen: Sequence[Weight],
    module: Reimported,
    places: Places,
) -> set[str]:
    """Return the tensors that may change: what is pruned, and what is no weight.

    A weight that was left alone stays as it is, and so does what --exclude names.
    """
    left = {weight.path for weight in model.weights} - {weight.path for weight in chosen}
    back = {name: path for path, (name, _) in places.items()}
    owner = model if places else looked
    free = set()
    for name in module.tensors:
        path = back.get(name, "" if places else name)
        stays = not path or path in left or any(fits(each, path) for each in recipe.exclude)
        if not stays and owner.editable(path) is None:
            free.add(name)
    return free
