"""Applies masks found on one model to another, and reads ratios from files."""

import json
from fractions import Fraction
from pathlib import Path

from onnxprune.errors import InputError, LimitError, UsageError, about
from onnxprune.formats.files import open_regular
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.onnx_save import Pruner
from onnxprune.formats.tallies import count_zeros
from onnxprune.formats.wire import read_exactly
from onnxprune.masks import MaskFile
from onnxprune.planning import Plan
from onnxprune.pruning import Settings, default_output, rewrite
from onnxprune.types import Array, Report, Skipped

REPORT_LIMIT = 1 << 28


def apply_masks(path: Path, masks: Path, settings: Settings) -> Report:
    """Zero in a model what a mask file, or another pruned model, does not keep."""
    file = MaskFile(masks)

    def decide(model: OnnxModel) -> tuple[Plan, dict[str, Pruner]]:
        known = {weight.path: weight for weight in model.weights}
        for name, shape in file.shapes.items():
            if name not in known:
                raise InputError(
                    f"no prunable tensor '{name}', which {masks} has a mask for",
                    "masks fit models with the same tensor names",
                )
            if known[name].shape != shape:
                found = list(known[name].shape)
                raise InputError(f"'{name}' has shape {found}, its mask {list(shape)}")
        chosen = [weight for weight in model.weights if weight.path in file.shapes]
        rest = [
            Skipped(weight.path, "no mask for it", weight.size)
            for weight in model.weights
            if weight.path not in file.shapes
        ]
        plan = Plan(chosen, rest)
        pruners = {}
        for weight in chosen:
            pruned = ~file.mask(weight.path).reshape(-1)
            plan.zeros[weight.path] = int(pruned.sum())
            if plan.zeros[weight.path]:
                pruners[weight.path] = _pruner(pruned)
        return plan, pruners

    with file:
        refuse_overwriting(masks, path, settings)
        return rewrite(path, settings, decide)


def refuse_overwriting(read: Path, model: Path, settings: Settings) -> None:
    """Refuse an output that is a file we read besides the model."""
    output = settings.output or default_output(model)
    if not settings.dry_run and output.exists() and output.samefile(read):
        raise UsageError(f"the output is the input file {read.name}; name another")


def read_ratios(path: Path) -> dict[str, Fraction]:
    """Read each tensor's sparsity from a pruned model, a JSON report or a mask file."""
    with about(path):
        file = open_regular(path)
        try:
            head = read_exactly(file.descriptor, 0, min(64, file.size))
            if head.startswith(b"PK\x03\x04"):
                return _of_masks(path)
            if head.lstrip().startswith(b"{"):
                if file.size > REPORT_LIMIT:
                    raise LimitError(f"{file.size / 2**20:.0f} MiB is no report of onnxprune")
                return _of_report(read_exactly(file.descriptor, 0, file.size))
        finally:
            file.close()
        with load_onnx(path) as model:
            return {
                weight.path: Fraction(count_zeros(model, weight.path), weight.size)
                for weight in model.weights
            }


def _of_masks(path: Path) -> dict[str, Fraction]:
    ratios = {}
    with MaskFile(path) as masks:
        for name in masks:
            mask = masks.mask(name)
            ratios[name] = Fraction(int((~mask).sum()), max(mask.size, 1))
    return ratios


def _of_report(text: bytes) -> dict[str, Fraction]:
    try:
        ratios = {
            str(tensor["name"]): Fraction(int(tensor["zeros"]), int(tensor["size"]))
            for tensor in json.loads(text)["tensors"]
        }
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise InputError("not a report of onnxprune") from error
    for name, ratio in ratios.items():
        if not 0 <= ratio <= 1:
            raise InputError(f"the zeros of '{name}' do not fit its size")
    return ratios


def _pruner(pruned: Array) -> Pruner:
    return lambda start, values: pruned[start : start + values.size]
