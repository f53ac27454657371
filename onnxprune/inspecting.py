"""A model file as it is: its weights, its zeros, and how far it has a pattern."""

import time
from pathlib import Path

from onnxprune.errors import about
from onnxprune.formats.loading import load_model
from onnxprune.formats.macs import count_macs
from onnxprune.formats.onnx_file import OnnxModel, file_hash
from onnxprune.formats.tallies import tally_tensor
from onnxprune.occupancy import inspected, structure_of
from onnxprune.patterns.pattern import UNSTRUCTURED, Pattern
from onnxprune.pruning import Settings, verifying
from onnxprune.sizes import measure
from onnxprune.thinning import storage_of
from onnxprune.threads import parallel
from onnxprune.types import Report, TensorReport


def inspect_file(path: Path, settings: Settings, pattern: Pattern = UNSTRUCTURED) -> Report:
    """Report on a model file as it is, and how far it has a pattern."""
    began = time.perf_counter()
    with (
        about(path),
        load_model(path, allow_hardlinks=settings.allow_hardlinks) as model,
        verifying(model, settings.verify) as verdict_of,
    ):
        paths = [weight.path for weight in model.weights]
        tallies = parallel(lambda tensor: tally_tensor(model, tensor), paths)
        verdict = verdict_of()
        if isinstance(model, OnnxModel):
            count_macs(model, verdict.shapes)
        pairs = list(zip(model.weights, tallies, strict=True))
        found = parallel(
            lambda pair: structure_of(model, pair[0], pair[1].zeros, pattern), pairs
        )
        tensors = tuple(
            TensorReport(weight, tally, tally.zeros, structure)
            for (weight, tally), structure in zip(pairs, found, strict=True)
        )
        return Report(
            model=str(path),
            sha256=file_hash(model.all_files()[0]),
            tensors=tensors,
            skipped=tuple(model.skipped),
            warnings=(*model.warnings, *verdict.warnings),
            parameters=model.parameters,
            sizes=measure(model.all_files(), [], settings.compressed_size),
            seconds=time.perf_counter() - began,
            verified=verdict.sentence,
            storage=storage_of(model),
            inspected=inspected(pattern),
        )
