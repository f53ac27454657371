"""The whole of one pruning: file, weights, budgets, masks, file, report."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from onnxprune.allocations.curves import Ratios
from onnxprune.choosing import measured
from onnxprune.errors import TargetError, UsageError, about
from onnxprune.filters import take_followers, weights_for
from onnxprune.formats.edits import Edit, Edits, Pruner
from onnxprune.formats.loading import Model, load_model, refuse_form
from onnxprune.formats.macs import count_macs
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.formats.output import check_output
from onnxprune.formats.saving import Accept, Saving
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.tallies import tally_tensor
from onnxprune.formats.verify import Verdict, Verification
from onnxprune.planning import Plan, make_plan
from onnxprune.registry import find
from onnxprune.rewinding import rewound_values
from onnxprune.scoring import Values
from onnxprune.sizes import measure
from onnxprune.storage import DENSE, check_storage
from onnxprune.thinning import choose_sparse, settled_storage
from onnxprune.threads import parallel
from onnxprune.types import Array, Recipe, Report, Skipped, Tally, TensorReport, Weight

Progress = Callable[[str, int, int], None]
"""(what is being done, how much is done, how much there is); behind a colon, how it stands."""

Planner = Callable[[Model, Recipe, Values, Ratios | None, Sequence[Weight]], Plan]
"""Decides a recipe for some of a model's weights."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How to work, apart from what to prune.

    Args:
        output: where to write; None puts `<stem>.pruned.onnx` beside the model.
        force: replace an existing output.
        dry_run: plan and report, write nothing.
        verify: ask onnx.checker, and ONNX Runtime if it objects.
        compressed_size: compress the whole file for its size instead of samples.
        allow_hardlinks: take external data files that have several names.
        progress: is told how far the work is.
        accept: looks at the pruned model before it is put in place.
        checkpoint: a folder that keeps the finished steps of methods that have several.
        storage: how pruned tensors are written, `dense` or `sparse`.
    """

    output: Path | None = None
    force: bool = False
    dry_run: bool = False
    verify: bool = True
    compressed_size: bool = False
    allow_hardlinks: bool = False
    progress: Progress | None = None
    accept: Accept | None = None
    checkpoint: Path | None = None
    storage: str = DENSE

    def __post_init__(self) -> None:
        check_storage(self.storage)


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What is to be done to a model.

    Args:
        plan: which weights go, for the report.
        edits: what becomes of tensors, by path.
        additions: biases to make, a value for each output, by the weight whose outputs they
            are added to.
    """

    plan: Plan
    edits: Edits = field(default_factory=dict)
    additions: Mapping[str, Array] = field(default_factory=dict)


def plan_weights(
    _: Model,
    recipe: Recipe,
    values: Values,
    ratios: Ratios | None,
    weights: Sequence[Weight],
) -> Plan:
    """Decide a recipe by the weights alone."""
    if recipe.steps is not None and recipe.steps > 1:
        name = find(recipe.method).name
        raise UsageError(
            f"--steps {recipe.steps}: {name} measures nothing, one step is all",
            "onnxprune methods shows what needs a gradient, a curvature or the flow",
        )
    return make_plan(recipe, weights, values, ratios)


def default_output(model: Path, what: str = "pruned") -> Path:
    """Return where what is made of a model goes unless the user says otherwise."""
    return model.with_name(f"{model.stem}.{what}{model.suffix or '.onnx'}")


def prune_file(
    path: Path,
    recipe: Recipe,
    settings: Settings,
    ratios: Ratios | None = None,
    planner: Planner = plan_weights,
) -> Report:
    """Prune a model file as a recipe says."""

    def decide(model: Model) -> Decision:
        # What measures in steps tells of these; it reads every weight many times.
        values = model.values if measured(recipe) else _counted(model, settings)
        plan = planner(model, recipe, values, ratios, weights_for(model, recipe))
        if recipe.rewind is not None and not recipe.recover:
            plan.values, notes = rewound_values(model, Path(recipe.rewind))
            plan.warnings += notes
        take_followers(model, recipe, plan)
        return Decision(plan, edits_of(plan), plan.additions)

    return rewrite(path, settings, decide, recipe)


def edits_of(plan: Plan) -> dict[str, Edit]:
    """Return what a plan does to a model's tensors."""
    edits = {path: Edit(plan.pruner(path)) for path in plan.pruned_paths()}
    for path, gone in plan.followers.items():
        edits[path] = Edit(_follower(gone))
    for path, values in plan.values.items():
        edits[path] = replace(edits.get(path, Edit()), values=values)
    return edits


def _follower(gone: Array) -> Pruner:
    return lambda start, values: gone[start : start + values.size]


def rewrite(
    path: Path,
    settings: Settings,
    decide: Callable[[Model], Decision],
    recipe: Recipe | None = None,
) -> Report:
    """Open a model, let `decide` choose what goes, write the result and report on it."""
    began = time.perf_counter()
    with about(path), load_model(path, allow_hardlinks=settings.allow_hardlinks) as model:
        refuse_form(model, settings.output)
        spelled = settings.output or default_output(path)
        dry, files_read = settings.dry_run, model.all_files()
        output = spelled if dry else check_output(spelled, files_read, settings.force)
        with verifying(model, settings.verify) as verdict_of:
            try:
                decision = decide(model)
            except TargetError:
                # That a model is not valid is worth more than what it lacks.
                verdict_of()
                raise
            verdict = verdict_of()
            if isinstance(model, OnnxModel):
                count_macs(model, verdict.shapes)
            plan, edits = decision.plan, decision.edits
            choice = choose_sparse(model, plan.weights, edits, settings.storage)
            told, more = _bytes_progress(settings), (decision.additions, choice)
            saving = Saving(
                model, output, edits, told, settings.accept, settings.verify, *more
            )
            files = [] if settings.dry_run else saving.run()
            if settings.dry_run and settings.accept is not None:
                _check_unwritten(model, decision, settings.accept)
        tallies = _tallied(model, decision, saving.tallies)
        storage, notes = settled_storage(model, choice, saving.storage)
        counted = {weight.path: weight for weight in model.weights}
        tensors = tuple(
            TensorReport(counted[w.path], tallies[w.path], plan.zeros[w.path])
            for w in plan.weights
        )
        return Report(
            model=str(path),
            sha256=file_hash(model.all_files()[0]),
            tensors=tensors,
            skipped=_skipped(model, plan),
            warnings=(*model.warnings, *plan.warnings, *notes, *verdict.warnings),
            parameters=model.parameters,
            sizes=measure(model.all_files(), files, settings.compressed_size),
            seconds=time.perf_counter() - began,
            recipe=recipe,
            output=str(spelled) if files else None,
            files=tuple(str(spelled.with_name(file.name)) for file in files),
            verified=verdict.sentence,
            calibration=plan.calibration,
            recovery=plan.recovery,
            storage=storage,
            followers=tuple(plan.followers),
        )


def _skipped(model: Model, plan: Plan) -> tuple[Skipped, ...]:
    """Return what was left alone; what fell with whole filters was not."""
    rest = (each for each in model.skipped if each.name not in plan.followers)
    return (*plan.skipped, *rest)


@contextlib.contextmanager
def verifying(model: Model, wanted: bool) -> Iterator[Callable[[], Verdict]]:
    """Let the checker look at the model while other work goes on."""
    if not wanted:
        yield lambda: Verdict("not verified")
        return
    if not isinstance(model, OnnxModel):
        yield lambda: Verdict(f"torch loads it as {model.kind}")
        return
    verification = Verification(model.scan.skeleton, model.source.path)
    try:
        yield verification.result
    finally:
        verification.stop()


def _check_unwritten(model: Model, decision: Decision, accept: Accept) -> None:
    """Let a model be looked at that is not written."""
    if not decision.additions:
        accept(model, model, decision.edits)
        return
    # A session can be given other values, but not another graph.
    with scratch_folder() as folder:
        target = Path(folder, "model.onnx")
        more = decision.additions
        Saving(model, target, decision.edits, None, accept, False, more).run()


def _tallied(
    model: Model, decision: Decision, written: Mapping[str, Tally]
) -> dict[str, Tally]:
    """Return what tensors hold that were written, and what the others hold or would."""
    rest = [w.path for w in decision.plan.weights if w.path not in written]
    found = parallel(lambda path: tally_tensor(model, path, decision.edits.get(path)), rest)
    return {**written, **dict(zip(rest, found, strict=True))}


def _counted(model: Model, settings: Settings) -> Values:
    """Read values and tell how far that is: most plans read every weight twice."""
    total = 2 * sum(weight.size for weight in model.weights)
    done = 0

    def values(path: str, start: int, stop: int) -> Array:
        nonlocal done
        done += stop - start
        _tell(settings, "ranking weights", min(done, total), total)
        return model.values(path, start, stop)

    return values


def _tell(settings: Settings, what: str, done: int, total: int) -> None:
    if settings.progress is not None:
        settings.progress(what, done, total)


def _bytes_progress(settings: Settings) -> Callable[[int, int], None]:
    return lambda done, total: _tell(settings, "writing", done, total)
