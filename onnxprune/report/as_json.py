"""Reports as JSON: one object, with the number of its schema."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from onnxprune.encoding import encode
from onnxprune.outcomes import CheckReport, CheckResult
from onnxprune.removals import Removal
from onnxprune.report.patterns import pattern_to_dict, structure_to_dict
from onnxprune.storage import Storage
from onnxprune.types import Inspected, Report, TensorReport
from onnxprune.version import __version__

if TYPE_CHECKING:
    from onnxprune.comparing import Comparison

SCHEMA = 1


def to_dict(report: Report) -> dict[str, Any]:
    """Return a report as plain values."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "model": report.model,
        "sha256": report.sha256,
        "output": report.output,
        "files": list(report.files),
        "recipe": asdict(report.recipe) if report.recipe is not None else None,
        "sparsity": {
            "asked": report.recipe.sparsity if report.recipe is not None else None,
            "mask": _share(report.mask_zeros, report.size) if changes(report) else None,
            "prunable": _share(report.zeros, report.size),
            "all": _share(report.zeros, report.parameters),
        },
        "tensors": [_tensor(tensor, report.inspected) for tensor in report.tensors],
        "skipped": [
            {"name": skipped.name, "reason": skipped.reason, "size": skipped.size}
            for skipped in report.skipped
        ],
        "parameters": report.parameters,
        "bytes": asdict(report.sizes),
        "storage": _storage(report.storage),
        "warnings": list(report.warnings),
        "verified": report.verified,
        "calibration": encode(report.calibration),
        "pattern": pattern_to_dict(report),
        "recovery": encode(report.recovery),
        "removal": removal_to_dict(report.removal) if report.removal is not None else None,
        "check": check_to_dict(report.check) if report.check is not None else None,
        "seconds": round(report.seconds, 4),
    }


def check_to_dict(result: CheckResult) -> dict[str, Any]:
    """Return what a check showed as plain values."""
    measure, dense, pruned = result.measured.headline
    values: dict[str, Any] = encode(result)
    measured = values.pop("measured")
    return {
        "passed": result.passed if result.conditions else None,
        "measure": measure,
        "dense": encode(dense),
        "pruned": encode(pruned),
        **measured,
        **values,
    }


def removal_to_dict(removal: Removal) -> dict[str, Any]:
    """Return which channels were taken out as plain values."""
    values: dict[str, Any] = encode(removal)
    for name in ("parameters", "macs"):
        pair = values[name]
        values[name] = None if pair is None else {"before": pair[0], "after": pair[1]}
    values["bytes"] = values.pop("sizes")
    values["channels"] = {"before": removal.before, "removed": removal.removed}
    values["seconds"] = round(removal.seconds, 4)
    return values


def check_to_json(report: CheckReport) -> str:
    """Return the check of two files as JSON text."""
    values = {
        "schema": SCHEMA,
        "version": __version__,
        "dense": {
            "model": report.dense,
            "sha256": report.dense_sha256,
            "sparsity": report.zeros[0],
        },
        "pruned": {
            "model": report.pruned,
            "sha256": report.pruned_sha256,
            "sparsity": report.zeros[1],
        },
        "check": check_to_dict(report.result),
        "bytes": asdict(report.sizes),
        "seconds": round(report.seconds, 4),
    }
    return json.dumps(values, indent=2, allow_nan=False)


def changes(report: Report) -> bool:
    """Whether a report tells of a mask, not of a model as it is."""
    return report.recipe is not None or report.output is not None


def to_json(report: Report) -> str:
    """Return a report as JSON text, in ASCII."""
    return json.dumps(to_dict(report), indent=2, allow_nan=False)


def comparison_to_json(comparison: "Comparison") -> str:
    """Return a comparison of masks as JSON text."""
    return json.dumps({"schema": SCHEMA, **asdict(comparison)}, indent=2, allow_nan=False)


def _tensor(tensor: TensorReport, looked: Inspected | None) -> dict[str, Any]:
    weight, found = tensor.weight, tensor.structure
    more = {}
    if looked is not None and found is not None:
        more["structure"] = structure_to_dict(found, looked.groups)
    return {
        "name": weight.path,
        "op": weight.op,
        "node": weight.node,
        "shape": list(weight.shape),
        "dtype": weight.dtype,
        "size": weight.size,
        "zeros_before": tensor.tally.zeros_before,
        "zeros": tensor.tally.zeros,
        "mask_zeros": tensor.mask_zeros,
        "sparsity": tensor.sparsity,
        "norm_change": tensor.change,
        "macs": weight.macs,
        "sparse_macs": tensor.sparse_macs,
        **more,
    }


def _storage(storage: Storage | None) -> dict[str, Any] | None:
    return None if storage is None else {**asdict(storage), "stay": dict(storage.stay)}


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
