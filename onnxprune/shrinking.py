"""Takes channels that are zero out of a model file: smaller, faster, and the same otherwise."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from onnxprune.errors import OnnxpruneError, OutputError, TargetError, UnsupportedError, about
from onnxprune.formats.loading import load_model, refuse_form
from onnxprune.formats.macs import count_macs
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.formats.output import check_output
from onnxprune.formats.scratch import scratch_folder
from onnxprune.formats.verify import Verdict, Verification
from onnxprune.occupancy import structure_of
from onnxprune.outcomes import Latency
from onnxprune.patterns.pattern import Filters
from onnxprune.pruning import Settings, default_output, verifying
from onnxprune.removals import Removal, Sameness
from onnxprune.sizes import measure
from onnxprune.structure.removing import Cut, find_cut, value_shapes
from onnxprune.structure.writing import Written, write_cut
from onnxprune.trials.equality import compare_models
from onnxprune.trials.trial import Trial

RANDOM = "random:16"
"""What both models are run on where a user names nothing else."""

OBJECTS = "onnx.checker objects"


@dataclass(slots=True, eq=False)
class _Made:
    """What is known of a model that was made: counts, comparisons, files."""

    parameters: int = 0
    macs: int | None = None
    verdict: Verdict | None = None
    same: Sameness | None = None
    latency: Latency | None = None
    files: tuple[Path, ...] = ()


def shrink_file(path: Path, settings: Settings, trial: Trial) -> Removal:
    """Take the channels that are zero out of a model file, and prove that nothing else changed.

    Args:
        path: an ONNX file.
        settings: where the result goes, and how files are looked at; without `verify` neither
            onnx.checker nor ONNX Runtime sees it.
        trial: what both models are run on, and whether they are timed.
    """
    with about(path), load_model(path, allow_hardlinks=settings.allow_hardlinks) as model:
        if not isinstance(model, OnnxModel):
            raise UnsupportedError(
                f"channels are taken out of ONNX models, and this is {model.kind}",
                "onnxprune prune writes it as ONNX where the output ends in .onnx",
            )
        return shrink_model(path, model, settings, trial)


def shrink_model(path: Path, model: OnnxModel, settings: Settings, trial: Trial) -> Removal:
    """Do the same to a model that is open: `path` is what it is called.

    Args:
        path: see above; the result goes beside it unless the settings say otherwise.
        model: the model, with its zeros.
        settings: as in `shrink_file`.
        trial: the same.
    """
    began = time.perf_counter()
    with about(path):
        if model.graph.model.training_info:
            raise UnsupportedError("it holds a training, which knows the sizes of its tensors")
        spelled = settings.output or default_output(path, "shrunk")
        refuse_form(model, settings.output)
        output = spelled
        if not settings.dry_run:
            output = check_output(spelled, model.all_files(), settings.force)
        with verifying(model, settings.verify) as verdict_of:
            shapes = value_shapes(model)
            verdict_of()
        cut = find_cut(model, shapes)
        if not cut.surgery.gone:
            raise TargetError("no channel can be taken out", _hint(model, cut))
        count_macs(model, {name: list(sizes) for name, sizes in shapes.items()})
        made = _make(model, cut, output, settings, trial)
        files = made.files
        macs = total_macs(model)
        return Removal(
            model=str(path),
            sha256=file_hash(model.all_files()[0]),
            output=str(spelled) if files else None,
            files=tuple(str(spelled.with_name(file.name)) for file in files),
            groups=cut.groups,
            parameters=(model.parameters, made.parameters),
            macs=None if macs is None or made.macs is None else (macs, made.macs),
            sizes=measure(model.all_files(), list(files), settings.compressed_size),
            same=made.same,
            latency=made.latency,
            verified=None if made.verdict is None else made.verdict.sentence,
            warnings=_warnings(model, made),
            seconds=time.perf_counter() - began,
        )


def total_macs(model: OnnxModel) -> int | None:
    """Return the multiply-accumulates of all weights where they are known."""
    known = [weight.macs for weight in model.weights]
    found = [macs for macs in known if macs is not None]
    return sum(found) if found and len(found) == len(known) else None


def _make(model: OnnxModel, cut: Cut, output: Path, settings: Settings, trial: Trial) -> _Made:
    made = _Made()
    with contextlib.ExitStack() as stack:
        place = output
        if settings.dry_run:
            place = Path(stack.enter_context(scratch_folder()), "model.onnx")
        written = stack.enter_context(write_cut(cut.surgery, place))
        try:
            reopened = written.open()
        except OnnxpruneError as error:
            raise OutputError(f"the written model cannot be read back: {error}") from error
        with reopened:
            _examine(model, reopened, settings, trial, made)
            accept = settings.accept
            accepted = accept is None or accept(model, reopened, {})
        if accepted and not settings.dry_run:
            made.files = tuple(_commit(model, written))
    return made


def _commit(model: OnnxModel, written: Written) -> list[Path]:
    for source in model.all_files():
        source.check_unchanged()
    return written.commit()


def _examine(
    model: OnnxModel, other: OnnxModel, settings: Settings, trial: Trial, made: _Made
) -> None:
    """Look at what was written as at any model, and run it beside the first."""
    shapes = value_shapes(other)
    count_macs(other, {name: list(sizes) for name, sizes in shapes.items()})
    made.parameters, made.macs = other.parameters, total_macs(other)
    if settings.verify:
        verification = Verification(other.scan.skeleton, other.source.path)
        try:
            made.verdict = verification.result()
        finally:
            verification.stop()
        made.same, made.latency = compare_models(model, other, trial, settings.progress)


def _warnings(model: OnnxModel, made: _Made) -> tuple[str, ...]:
    warnings = list(model.warnings)
    if made.verdict is None:
        warnings.append("not verified: nobody saw that the smaller model computes the same")
    else:
        warnings += made.verdict.warnings
    return tuple(dict.fromkeys(warnings))


def _hint(model: OnnxModel, cut: Cut) -> str:
    """Say why, in a word, nothing can go."""
    reasons = [group.reason for group in cut.groups if group.zeros and group.reason]
    if reasons:
        return f"zero channels stay because {reasons[0]}"
    for weight in model.weights:
        if structure_of(model, weight, 1, Filters()).empty:
            return f"filters of '{weight.path}' are zero, and no channel of them is followed"
    return "none is zero; onnxprune prune --pattern filters makes whole channels zero"
