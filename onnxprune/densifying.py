"""Turns a model file with sparse tensors into one that every tool reads."""

import time
from pathlib import Path

from onnxprune.bounds import limiting
from onnxprune.errors import TargetError, about
from onnxprune.formats.loading import load_model, refuse_form
from onnxprune.formats.macs import count_macs
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.formats.output import check_output
from onnxprune.formats.saving import Saving
from onnxprune.formats.tallies import tally_tensor
from onnxprune.pruning import Settings, default_output, verifying
from onnxprune.sizes import measure
from onnxprune.storage import DENSE
from onnxprune.thinning import storage_of
from onnxprune.threads import parallel
from onnxprune.types import Report, TensorReport


def densify(  # noqa: PLR0913 - the twin of a command has its options
    model: str | Path,
    output: str | Path | None = None,
    *,
    force: bool = False,
    verify: bool = True,
    compressed_size: bool = False,
    allow_hardlinks: bool = False,
    timeout: float | None = None,
    memory_limit: str | int | None = None,
    max_amplification: float | None = None,
) -> Report:
    """Write a model whose sparse tensors are dense again, beside it or where `output` says.

    Args:
        model: an ONNX file.
        output: the file to write; `<stem>.dense.onnx` beside the model by default.
        force: replace an existing output.
        verify: let onnx.checker look at the model.
        compressed_size: compress the whole file for its size instead of samples.
        allow_hardlinks: take external data files that have several names.
        timeout: seconds that a library may take to look at a model.
        memory_limit: what a child process may take, in bytes or such as `16G`.
        max_amplification: how many times as large as a file may be what it says it holds.
    """
    settings = Settings(
        output=Path(output) if output is not None else None,
        force=force,
        verify=verify,
        compressed_size=compressed_size,
        allow_hardlinks=allow_hardlinks,
    )
    bounds = limiting(
        timeout=timeout, memory_limit=memory_limit, max_amplification=max_amplification
    )
    with bounds:
        return densify_file(Path(model), settings)


def densify_file(path: Path, settings: Settings) -> Report:
    """Write a model with its sparse tensors dense, every other byte as it is."""
    began = time.perf_counter()
    with about(path), load_model(path, allow_hardlinks=settings.allow_hardlinks) as model:
        refuse_form(model, settings.output)
        spelled = settings.output or default_output(path, "dense")
        output = check_output(spelled, model.all_files(), settings.force)
        if not isinstance(model, OnnxModel) or model.densified is None:
            raise TargetError(
                "no tensor is stored sparse that could be made dense",
                "onnxprune inspect shows what is there",
            )
        with verifying(model, settings.verify) as verdict_of:
            paths = [weight.path for weight in model.weights]
            tallies = parallel(lambda tensor: tally_tensor(model, tensor), paths)
            verdict = verdict_of()
        count_macs(model, verdict.shapes)
        files = Saving(model, output, {}, verify=settings.verify).run()
        return Report(
            model=str(path),
            sha256=file_hash(model.all_files()[0]),
            tensors=tuple(
                TensorReport(weight, tally, tally.zeros)
                for weight, tally in zip(model.weights, tallies, strict=True)
            ),
            skipped=tuple(model.skipped),
            warnings=(*model.warnings, *verdict.warnings),
            parameters=model.parameters,
            sizes=measure(model.all_files(), files, settings.compressed_size),
            seconds=time.perf_counter() - began,
            output=str(spelled),
            files=tuple(str(spelled.with_name(file.name)) for file in files),
            verified=verdict.sentence,
            storage=storage_of(model, DENSE),
        )
