"""Tries variants of one model: what a recipe makes of it is run and measured, not written."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxprune.allocations.curves import Ratios
from onnxprune.errors import InputError, TargetError, about
from onnxprune.filters import take_followers, weights_for
from onnxprune.formats.loading import Model, load_model
from onnxprune.formats.onnx_file import file_hash
from onnxprune.outcomes import Latency, Measured
from onnxprune.patterns.demands import fit_pattern
from onnxprune.patterns.pattern import parse_pattern
from onnxprune.planning import Plan
from onnxprune.points import Point, Study
from onnxprune.pruning import Planner, edits_of, plan_weights
from onnxprune.ratios import ratios_file, read_ratios
from onnxprune.sizes import measure
from onnxprune.trials.checking import DENSE, PRUNED, dense_answers, examining, notes_of
from onnxprune.trials.examination import Answers, Examination, Progress
from onnxprune.trials.metrics import Measures
from onnxprune.trials.staging import TorchVariants, stage, variants_of
from onnxprune.trials.trial import Trial
from onnxprune.trials.variants import Variants
from onnxprune.types import Recipe, Weight


@dataclass(slots=True, eq=False)
class Workbench:
    """An open model, the dense model's answers, and all that trying a variant needs.

    Args:
        source: the user's file; `model`: what of it runs.
        model: see above.
        trial: how variants are compared with it.
        examination: the samples and the process that runs the models.
        variants: makes sessions of what recipes leave.
        answers: of the dense model.
        dense: the dense model's own figures.
        began: when it was opened.
        files: the ratios of files that recipes name.
        opened: whether there is a variant that can be timed.
    """

    path: Path
    source: Model
    model: Model
    trial: Trial
    examination: Examination
    variants: Variants | TorchVariants
    answers: Answers
    dense: Measured
    began: float
    planner: Planner = plan_weights
    files: dict[str, Ratios] = field(default_factory=dict)
    opened: bool = False

    def point(
        self,
        label: str,
        recipe: Recipe,
        weights: Sequence[Weight] | None = None,
        progress: Progress | None = None,
    ) -> tuple[Point, Measures | None]:
        """Run what a recipe makes of the model; a variant that cannot be measured says why.

        Args:
            label: the point's method.
            recipe: what to prune.
            weights: the tensors to choose from, all of them by default.
            progress: is told how far the run is.
        """
        began = time.perf_counter()
        zeros = size = 0
        measured, measures, failure = None, None, None
        try:
            plan = self.plan(recipe, weights)
            zeros = sum(plan.zeros.values())
            size = sum(weight.size for weight in plan.weights)
            self.open(plan)
            measures = self.examination.measure(self.answers, PRUNED, progress, label)
            measured = measures.result()
        except (TargetError, InputError) as error:
            failure, measures = error.message, None
        seconds = time.perf_counter() - began
        sparsity = recipe.sparsity or 0.0
        return Point(label, sparsity, zeros, size, measured, failure, seconds), measures

    def open(self, plan: Plan) -> None:
        """Make a session of what a plan leaves."""
        runner = self.examination.runner
        self.variants.open(runner, PRUNED, edits_of(plan), plan.additions)
        self.opened = True

    def plan(self, recipe: Recipe, weights: Sequence[Weight] | None = None) -> Plan:
        """Decide a recipe for the model."""
        recipe = fit_pattern(recipe, parse_pattern(recipe.pattern))
        chosen = weights_for(self.model, recipe) if weights is None else weights
        ratios = self._ratios(recipe)
        plan = self.planner(self.model, recipe, self.model.values, ratios, chosen)
        take_followers(self.model, recipe, plan)
        return plan

    def _ratios(self, recipe: Recipe) -> Ratios | None:
        file = ratios_file(recipe)
        if file is None:
            return None
        if str(file) not in self.files:
            self.files[str(file)] = read_ratios(file)
        return self.files[str(file)]

    def latency(self) -> Latency | None:
        """Time the dense model beside the last variant, if there is one and it is wanted."""
        if not (self.trial.latency and self.opened):
            return None
        return self.examination.latency([DENSE, PRUNED])

    def study(
        self,
        kind: str,
        points: Sequence[Point],
        warnings: Sequence[str] = (),
        latency: Latency | None = None,
    ) -> Study:
        """Put points together with what they were measured on."""
        place = self.examination.runner.place
        assert place is not None
        name, dense, _ = self.dense.headline
        return Study(
            kind=kind,
            model=str(self.path),
            sha256=file_hash(self.source.all_files()[0]),
            data=self.examination.facts(),
            place=place,
            measure=name,
            dense=dense,
            points=tuple(points),
            warnings=(*notes_of(self.examination), *warnings),
            latency=latency,
            sizes=measure(self.source.all_files(), [], exact=False),
            seconds=time.perf_counter() - self.began,
        )


@contextlib.contextmanager
def workbench(
    path: Path,
    trial: Trial,
    progress: Progress | None = None,
    planner: Planner = plan_weights,
) -> Iterator[Workbench]:
    """Open a model, run it as it is over all samples, and get ready to try variants."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        with about(path):
            source = load_model(path)
            stack.callback(source.close)
        staged = stage(source, trial, stack, whole=True)
        model = staged.model
        examination = stack.enter_context(examining(trial, model))
        examination.notes += staged.notes
        with about(path):
            staged.open(examination.runner, DENSE)
            examination.settle(DENSE, trial.batch)
        variants = variants_of(model)
        stack.callback(variants.close)
        answers = dense_answers(trial, examination, source, progress)
        dense = _compare_with_itself(examination, answers)
        yield Workbench(
            path, source, model, trial, examination, variants, answers, dense, began, planner
        )


def _compare_with_itself(examination: Examination, answers: Answers) -> Measured:
    """Measure the dense model by its kept answers, without running it again."""
    measures = Measures(examination.outputs, examination.task, examination.own)
    for batch in examination.batches(None, ""):
        dense = answers(batch)
        feeds = examination.counted(batch)
        measures.update(dense, dense, batch.labels, feeds, batch.start)
    return measures.result()
