"""Plans that measure the model: in torch, checked against ONNX Runtime, step by step."""

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from onnxprune.checkpoints import Checkpoint
from onnxprune.errors import UsageError, about
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.gradual import Measuring, make_gradual_plan
from onnxprune.planning import Plan, Ratios, make_plan, resolve, select
from onnxprune.pruning import Progress
from onnxprune.ranked import ALONE, ANSWER, Company
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.parity import check_parity
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.scoring import Values
from onnxprune.statistics.collecting import Collector
from onnxprune.statistics.estimation import Estimation, find_device
from onnxprune.statistics.ranks import Ranks, join_ranks
from onnxprune.statistics.sharing import Shared, measure_ordered
from onnxprune.statistics.targets import Target, find_target
from onnxprune.trials.ports import input_ports
from onnxprune.trials.runner import Runner
from onnxprune.trials.trial import Trial
from onnxprune.types import Recipe, Weight

DENSE = "dense"
KEPT = 2
"""How many imports are held: one that samples go through, one for the flow."""

FREE = {"flow"}
"""What is measured without samples."""


def on_samples(recipe: Recipe) -> bool:
    """Whether a recipe's method measures the model on samples."""
    return not FREE.issuperset(resolve(recipe)[0].measured)


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
        self._collectors: dict[object, Collector] = {}

    def __call__(
        self,
        model: OnnxModel,
        recipe: Recipe,
        values: Values,
        ratios: Ratios | None,
        weights: Sequence[Weight],
    ) -> Plan:
        """Decide a recipe for some of a model's weights."""
        score, _ = resolve(recipe)
        if not score.measured:
            # Beside methods that measure, --steps says nothing of one that does not.
            return make_plan(recipe, weights, values, ratios)
        needs_samples = on_samples(recipe)
        if needs_samples and self.calibration is None:
            raise UsageError(
                f"{score.name} measures the model on samples", "--data SET names them"
            )
        chosen = [weight.path for weight in select(recipe, weights).weights]
        collector = self._collector(model, recipe, chosen, needs_samples)
        measuring: Measuring = collector
        if needs_samples and not self.company.alone:
            measuring = Shared(collector, self.company)
        checkpoint = None
        if self.checkpoint is not None:
            own = self._fingerprint(model, recipe, chosen, needs_samples)
            checkpoint = Checkpoint(self.checkpoint, own)
        return make_gradual_plan(
            recipe,
            weights,
            values,
            measuring,
            ratios,
            begun=checkpoint.read() if checkpoint is not None else None,
            keep=checkpoint.keep if checkpoint is not None else None,
            told=self._tell,
        )

    def assist(self, model: OnnxModel, recipe: Recipe) -> None:
        """Measure what the leading process gives out, until it needs nothing more."""
        chosen = [weight.path for weight in select(recipe, model.weights).weights]
        measure_ordered(self._collector(model, recipe, chosen, True), self.company)

    def digest(self, model: OnnxModel) -> str:
        """Return a sum of the samples that the model is measured on."""
        if self.calibration is None:
            return ""
        try:
            return self._read(model).digest()
        except UsageError:
            return self._read(model).source  # a function: its name is all there is

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

    def _tell(self, step: int, steps: int, loss: float, kept: int) -> None:
        if self.progress is not None:
            what = f"step {step} of {steps}: {kept:,} kept, loss {loss:.4g}"
            self.progress(what if steps > 1 else "measuring", step, steps)

    def _collector(
        self, model: OnnxModel, recipe: Recipe, paths: list[str], needs_samples: bool
    ) -> Collector:
        """Import the model and compare it, unless that was done for the same question."""
        estimation = self._estimation(recipe)
        key = (id(model), estimation, tuple(paths), needs_samples)
        if key not in self._collectors:
            samples = self._read(model) if needs_samples else None
            target = find_target(
                model, estimation.output, raw=estimation.loss != "cross-entropy"
            )
            module = _imported(model, estimation, paths, target)
            # Where the import is wrong, one refusal is enough.
            if samples is not None and self.company.leads:
                self._compare(model, module, samples)
            while len(self._collectors) >= KEPT:
                del self._collectors[next(iter(self._collectors))]
            self._collectors[key] = Collector(
                module,
                samples,
                paths,
                estimation,
                target=target,
                ports=input_ports(model),
                ranks=self._ranks(estimation) if needs_samples else Ranks(),
            )
        return self._collectors[key]

    def _ranks(self, estimation: Estimation) -> Ranks:
        """Gather the processes that share the batches."""
        if self.company.alone:
            return Ranks()
        assert self.calibration is not None
        device = find_device(estimation.device)
        patience = max(ANSWER, self.calibration.timeout)
        self.company.gather(device.type == "cuda", patience)
        return join_ranks(device)

    def _estimation(self, recipe: Recipe) -> Estimation:
        made = Estimation(
            loss=recipe.loss,
            bn=recipe.bn,
            curvature=recipe.curvature,
            batches_per_step=recipe.batches_per_step,
            precision=recipe.precision,
            seed=recipe.seed,
        )
        if self.calibration is None:
            return made
        batch = self.calibration.batch or made.batch
        return replace(made, device=self.calibration.device, batch=batch)

    def _read(self, model: OnnxModel) -> Samples:
        if self._samples is None:
            assert self.calibration is not None
            opened = open_samples(
                self.calibration.data, self.calibration.reading, input_ports(model)
            )
            self._samples = self._open.enter_context(opened)
        return self._samples

    def _compare(self, model: OnnxModel, module: Reimported, samples: Samples) -> None:
        """Refuse an import that does not compute what ONNX Runtime does."""
        assert self.calibration is not None
        batch = next(iter(samples.batches(1)))
        with Runner("cpu", self.calibration.timeout) as runner, about(model.source.path):
            runner.open(DENSE, model.source.path)
            expected = runner.run(DENSE, batch.feeds)
            check_parity(module, model, batch.feeds, expected)

    def _fingerprint(
        self, model: OnnxModel, recipe: Recipe, paths: list[str], needs_samples: bool
    ) -> str:
        """Hash everything that the masks of a step depend on."""
        parts = [
            [file_hash(file) for file in model.all_files()],
            self.digest(model) if needs_samples else "",
            asdict(recipe),
            asdict(self._estimation(recipe)),
            paths,
            torch.__version__,
            np.__version__,
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _imported(
    model: OnnxModel, estimation: Estimation, paths: list[str], target: Target
) -> Reimported:
    outputs = [value.name for value in model.graph.model.graph.output]
    if target.value is not None and target.value not in outputs:
        outputs.append(target.value)
    device = find_device(estimation.device)
    with about(model.source.path):
        return reimport(
            model,
            precision=estimation.dtype,
            device=device,
            prunable=paths,
            outputs=outputs,
        )
