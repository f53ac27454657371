"""Plans that measure the model: in torch, checked against ONNX Runtime, step by step."""

import contextlib
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from onnxprune.allocations.curves import Ratios
from onnxprune.checkpoints import Checkpoint
from onnxprune.choosing import measured, resolve
from onnxprune.errors import UsageError
from onnxprune.filters import weights_for
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.formats.torch_file import TorchModel
from onnxprune.gradual import Measuring, make_gradual_plan, steps_of
from onnxprune.importing import compare_import, import_model, look_for
from onnxprune.outcomes import Calibration
from onnxprune.planning import Plan, make_plan, select
from onnxprune.pruning import Progress
from onnxprune.ranked import ALONE, ANSWER, Company
from onnxprune.reimport.parity import Parity
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.scoring import Values
from onnxprune.statistics.collecting import OF_INPUTS, Collector
from onnxprune.statistics.estimation import Estimation, device_name, find_device
from onnxprune.statistics.ranks import Ranks, join_ranks
from onnxprune.statistics.sharing import Shared, measure_ordered
from onnxprune.translating import Places, Translated, as_onnx
from onnxprune.trials.ports import input_ports
from onnxprune.trials.trial import Trial, patience
from onnxprune.types import Layout, Recipe, Weight
from onnxprune.watching import Watched

KEPT = 2
"""How many imports are held: one that samples go through, one for the flow."""

FREE = {"flow"}
"""What is measured without samples."""


def layouts_of(model: Model) -> dict[str, Layout]:
    """Return how a model's weights are read as matrices."""
    return {weight.path: weight.layout for weight in model.weights}


def on_samples(recipe: Recipe) -> bool:
    """Whether a recipe's method measures the model on samples."""
    return not FREE.issuperset(measured(recipe))


class Calibrator:
    """Plans recipes for one model, whether their methods measure it or not.

    Args:
        calibration: on what samples it is measured, and where; None for methods without.
        checkpoint: a folder that keeps finished steps.
        progress: is told how far the steps are.
        company: the processes that share out the batches.
    """

    def __init__(
        self,
        calibration: Trial | None = None,
        checkpoint: Path | None = None,
        progress: Progress | None = None,
        company: Company = ALONE,
    ) -> None:
        self.calibration = calibration
        self.checkpoint = checkpoint
        self.progress = progress
        self.company = company
        self._open = contextlib.ExitStack()
        self._samples: Samples | None = None
        self._converted: tuple[OnnxModel, Places] | None = None
        self._collectors: dict[object, tuple[Collector, Parity | None]] = {}

    def __call__(
        self,
        model: Model,
        recipe: Recipe,
        values: Values,
        ratios: Ratios | None,
        weights: Sequence[Weight],
    ) -> Plan:
        """Decide a recipe for some of a model's weights."""
        score, _ = resolve(recipe)
        if not measured(recipe):
            # Beside methods that measure, --steps says nothing of one that does not.
            return make_plan(recipe, weights, values, ratios)
        needs_samples = on_samples(recipe)
        if needs_samples and self.calibration is None:
            raise UsageError(
                f"{score.name} measures the model on samples", "--data SET names them"
            )
        chosen = [weight.path for weight in select(recipe, weights).weights]
        looked, paths = model, chosen
        places: Places | None = None
        of_inputs = not OF_INPUTS.isdisjoint(measured(recipe))
        if isinstance(model, TorchModel) and (of_inputs or not needs_samples):
            looked, places = self.as_onnx(model, chosen)
            paths = [name for name, _ in places.values()]
        collector, parity = self.collector(looked, recipe, paths, needs_samples)
        measuring: Measuring = collector
        if places is not None:
            measuring = Translated(collector, places, layouts_of(model), layouts_of(looked))
        elif needs_samples and not self.company.alone:
            measuring = Shared(collector, self.company)
        checkpoint = None
        if self.checkpoint is not None:
            own = self._fingerprint(model, recipe, chosen, needs_samples)
            checkpoint = Checkpoint(self.checkpoint, own)
        watched = Watched(self.progress, steps_of(recipe, score)[0])
        collector.watch = watched.within
        plan = make_gradual_plan(
            recipe,
            weights,
            values,
            measuring,
            ratios,
            begun=checkpoint.read() if checkpoint is not None else None,
            keep=checkpoint.keep if checkpoint is not None else None,
            told=watched.tell,
        )
        estimation = self.estimation(recipe, model)
        made = self._record(recipe, estimation, collector, parity, watched)
        plan.calibration = replace(made, native=isinstance(looked, TorchModel))
        return plan

    def assist(self, model: Model, recipe: Recipe) -> None:
        """Measure what the leading process gives out, until it needs nothing more."""
        chosen = [weight.path for weight in select(recipe, weights_for(model, recipe)).weights]
        measure_ordered(self.collector(model, recipe, chosen, True)[0], self.company)

    def digest(self, model: Model) -> str:
        """Return a sum of the samples that the model is measured on."""
        if self.calibration is None:
            return ""
        try:
            return self.read(model).digest()
        except UsageError:
            return self.read(model).source  # a function: its name is all there is

    def close(self) -> None:
        """Close what was opened."""
        self._open.close()

    def __enter__(self) -> "Calibrator":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def collector(
        self, model: Model, recipe: Recipe, paths: list[str], needs_samples: bool
    ) -> tuple[Collector, Parity | None]:
        """Import the model and compare it, unless that was done for the same question."""
        estimation = self.estimation(recipe, model)
        key = (id(model), estimation, tuple(paths), needs_samples)
        if key not in self._collectors:
            samples = self.read(model) if self.calibration is not None else None
            target = look_for(model, estimation)
            module = import_model(model, estimation, paths, target)
            # Where the import is wrong, one refusal is enough.
            parity = None
            if self.company.leads:
                timeout = self.calibration.timeout if self.calibration else patience()
                parity = compare_import(module, model, samples, estimation.batch, timeout)
            while len(self._collectors) >= KEPT:
                del self._collectors[next(iter(self._collectors))]
            collector = Collector(
                module,
                samples,
                paths,
                estimation,
                target=target,
                ports=input_ports(model),
                layouts=layouts_of(model),
                ranks=self._ranks(estimation) if needs_samples else Ranks(),
            )
            self._collectors[key] = collector, parity
        return self._collectors[key]

    def as_onnx(self, model: TorchModel, paths: Sequence[str]) -> tuple[OnnxModel, Places]:
        """Return the ONNX form of a file of torch's, and where weights are in it."""
        if self._converted is None:
            self._converted = as_onnx(model, self.calibration, self._open)
        converted, places = self._converted
        return converted, {path: places[path] for path in paths}

    def _ranks(self, estimation: Estimation) -> Ranks:
        """Gather the processes that share the batches."""
        if self.company.alone:
            return Ranks()
        assert self.calibration is not None
        device = find_device(estimation.device)
        patience = max(ANSWER, self.calibration.timeout)
        self.company.gather(device.type == "cuda", patience)
        return join_ranks(device)

    def estimation(self, recipe: Recipe, model: Model) -> Estimation:
        """Return how a recipe wants a model to be measured."""
        made = Estimation(
            loss=recipe.loss,
            bn=recipe.bn,
            curvature=recipe.curvature,
            precision=recipe.precision,
            seed=recipe.seed,
        )
        if self.calibration is not None:
            batch = self.calibration.batch or made.batch
            made = replace(made, device=self.calibration.device, batch=batch)
        if recipe.batches_per_step is not None:
            return replace(made, batches_per_step=recipe.batches_per_step)
        size = made.batch
        if self.calibration is not None and on_samples(recipe):
            size = self.read(model).batch_size(size)
        wanted = max(made.batch, *(each.samples for each in resolve(recipe)))
        return replace(made, batches_per_step=math.ceil(wanted / size))

    def read(self, model: Model) -> Samples:
        """Open the samples."""
        if self._samples is None:
            assert self.calibration is not None
            opened = open_samples(
                self.calibration.data, self.calibration.reading, input_ports(model)
            )
            self._samples = self._open.enter_context(opened)
        return self._samples

    def _record(
        self,
        recipe: Recipe,
        estimation: Estimation,
        collector: Collector,
        parity: Parity | None,
        watched: Watched,
    ) -> Calibration:
        """Say how the model was measured."""
        score, _ = resolve(recipe)
        steps, schedule = steps_of(recipe, score)
        sampled = self._samples if on_samples(recipe) else None
        of_inputs = OF_INPUTS.issuperset(measured(recipe))
        return Calibration(
            statistics=measured(recipe),
            steps=steps,
            schedule=schedule,
            precision=estimation.precision if sampled is not None else "float64",
            device=device_name(find_device(estimation.device)),
            threads=collector.threads,
            processes=self.company.world if sampled is not None else 1,
            torch=torch.__version__,
            source=sampled.source if sampled is not None else None,
            samples=collector.count,
            batch=sampled.batch_size(estimation.batch) if sampled is not None else 0,
            loss=None if sampled is None or of_inputs else estimation.loss,
            dense_loss=None if of_inputs else watched.loss(1),
            last_loss=None if of_inputs else watched.loss(steps),
            error=None if parity is None else parity.error,
            allowed=None if parity is None else parity.allowed,
        )

    def _fingerprint(
        self, model: Model, recipe: Recipe, paths: list[str], needs_samples: bool
    ) -> str:
        """Hash everything that the masks of a step depend on."""
        parts = [
            [file_hash(file) for file in model.all_files()],
            self.digest(model) if needs_samples else "",
            asdict(recipe),
            asdict(self.estimation(recipe, model)),
            paths,
            torch.__version__,
            np.__version__,
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()
