"""Compares a pruned model with its dense one, as files or before the file is put in place."""

import contextlib
import time
from collections.abc import Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from onnxprune.errors import GateFailed, about
from onnxprune.formats.edits import Edits
from onnxprune.formats.loading import Model, load_model
from onnxprune.formats.onnx_file import file_hash
from onnxprune.formats.tallies import count_zeros
from onnxprune.formats.torch_file import TorchModel
from onnxprune.outcomes import CheckReport, CheckResult, Latency
from onnxprune.samples.opening import open_samples
from onnxprune.sizes import measure
from onnxprune.trials.examination import Answers, Examination, Progress
from onnxprune.trials.gate import failure_sentence
from onnxprune.trials.kept import Cache, remember
from onnxprune.trials.metrics import Measures
from onnxprune.trials.ports import check_same_ports, input_ports, output_ports
from onnxprune.trials.runner import Runner
from onnxprune.trials.staging import TorchVariants, stage_both, variants_of
from onnxprune.trials.trial import Trial

DENSE, PRUNED = "dense", "pruned"


@contextlib.contextmanager
def examining(trial: Trial, model: Model) -> Iterator[Examination]:
    """Open the samples for a model and start the process that will run it."""
    with open_samples(trial.data, trial.reading, input_ports(model)) as samples:
        trial.gate.check_possible(samples.labelled, trial.own is not None)
        with Runner(trial.device, trial.timeout) as runner:
            outputs = output_ports(model)
            yield Examination(runner, samples, outputs, trial.task, trial.own)


def dense_answers(
    trial: Trial,
    examination: Examination,
    model: Model,
    progress: Progress | None,
    once: bool = False,
) -> Answers:
    """Return the dense model's outputs: kept, or run anew where they are needed just once."""
    if trial.cache is not None:
        return Cache(trial.cache).answers(examination, DENSE, model, progress)
    if once:
        return partial(examination.answer, DENSE)
    return remember(examination, DENSE, progress)


def conclude(
    trial: Trial,
    examination: Examination,
    measures: Measures,
    latency: Latency | None,
) -> CheckResult:
    """Put together what a comparison showed."""
    place = examination.runner.place
    assert place is not None
    measured = measures.result()
    return CheckResult(
        data=examination.facts(),
        place=place,
        measured=measured,
        interval=measures.interval,
        conditions=trial.gate.conditions(measured),
        latency=latency,
        warnings=notes_of(examination),
    )


def notes_of(examination: Examination) -> tuple[str, ...]:
    """Return what a user should know of the samples and of where the models ran."""
    notes = [*examination.samples.notes, *examination.notes]
    if examination.runner.idle_gpu and examination.runner.device == "auto":
        notes.append("there is a GPU, but ONNX Runtime cannot use it here")
    if both_wheels():
        notes.append(
            "onnxruntime and onnxruntime-gpu are both installed: whichever came last is used"
        )
    return tuple(notes)


def both_wheels() -> bool:
    """Whether both distributions of ONNX Runtime are installed, one over the other."""
    for name in ("onnxruntime", "onnxruntime-gpu"):
        try:
            distribution(name)
        except PackageNotFoundError:
            return False
    return True


def check_files(
    dense: Path, pruned: Path, trial: Trial, progress: Progress | None = None
) -> CheckReport:
    """Run two model files on the same samples and say what pruning cost."""
    began = time.perf_counter()
    with contextlib.ExitStack() as stack:
        with about(dense):
            first = load_model(dense)
            stack.callback(first.close)
        with about(pruned):
            second = load_model(pruned)
            stack.callback(second.close)
        staged = stage_both(first, second, trial, stack)
        check_same_ports(staged[0].model, staged[1].model)
        examination = stack.enter_context(examining(trial, staged[0].model))
        examination.notes += dict.fromkeys((*staged[0].notes, *staged[1].notes))
        runner = examination.runner
        with about(dense):
            staged[0].open(runner, DENSE)
            examination.settle(DENSE, trial.batch)
        with about(pruned):
            staged[1].open(runner, PRUNED)
        answers = dense_answers(trial, examination, first, progress, once=True)
        measures = examination.measure(answers, PRUNED, progress)
        latency = examination.latency([DENSE, PRUNED]) if trial.latency else None
        return CheckReport(
            dense=str(dense),
            dense_sha256=file_hash(first.all_files()[0]),
            pruned=str(pruned),
            pruned_sha256=file_hash(second.all_files()[0]),
            result=conclude(trial, examination, measures, latency),
            sizes=measure(
                first.all_files(), [f.path for f in second.all_files()], exact=False
            ),
            zeros=(_sparsity(first), _sparsity(second)),
            seconds=time.perf_counter() - began,
        )


def _sparsity(model: Model) -> float:
    total = sum(weight.size for weight in model.weights)
    zeros = sum(count_zeros(model, weight.path) for weight in model.weights)
    return zeros / total if total else 0.0


def check_samples(model: Path, trial: Trial, allow_hardlinks: bool = False) -> None:
    """Refuse samples that do not fit a model, before any work is done on it."""
    with about(model):
        opened = load_model(model, allow_hardlinks=allow_hardlinks)
    with opened, open_samples(trial.data, trial.reading, input_ports(opened)) as samples:
        known = samples.labelled or samples.size is None
        trial.gate.check_possible(known, bool(trial.own))


class Acceptance:
    """Checks a pruned model before it is put in place; `result` is what that showed.

    Args:
        trial: how it is checked.
        keep_failed: put it in place even where the gate fails.
        progress: is told how far the work is.
    """

    def __init__(
        self, trial: Trial, keep_failed: bool = False, progress: Progress | None = None
    ) -> None:
        self.trial = trial
        self.keep_failed = keep_failed
        self.progress = progress
        self.result: CheckResult | None = None

    def __call__(self, dense: Model, pruned: Model, edits: Edits) -> bool:
        """Compare a model with its pruned form; return whether that may stay.

        Args:
            dense: the model.
            pruned: what was written, or the model itself where nothing is written.
            edits: what is still to be done to that.
        """
        with contextlib.ExitStack() as stack:
            if edits and isinstance(pruned, TorchModel):
                # Nothing is written, but what torch runs has to be a file.
                written = stack.enter_context(TorchVariants(pruned)).path_of(edits)
                pruned, edits = stack.enter_context(pruned.reopen(written, {}, False)), {}
            first, second = stage_both(dense, pruned, self.trial, stack)
            examination = stack.enter_context(examining(self.trial, first.model))
            examination.notes += dict.fromkeys((*first.notes, *second.notes))
            variants = variants_of(second.model)
            stack.callback(variants.close)
            first.open(examination.runner, DENSE)
            examination.settle(DENSE, self.trial.batch)
            variants.open(examination.runner, PRUNED, edits)
            measures = examination.measure(
                dense_answers(self.trial, examination, dense, self.progress, once=True),
                PRUNED,
                self.progress,
            )
            latency = examination.latency([DENSE, PRUNED]) if self.trial.latency else None
            self.result = conclude(self.trial, examination, measures, latency)
        return self.result.passed or self.keep_failed


def refuse_failed(result: CheckResult | None, report: object) -> None:
    """Raise the error that a failed gate is, with the report it is about."""
    if result is not None and not result.passed:
        raise GateFailed(failure_sentence(result.conditions), report=report)
