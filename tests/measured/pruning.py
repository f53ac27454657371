"""Prunes the nets of these tests by the package and reads what is left."""

from pathlib import Path
from typing import Any

import onnxprune
from onnxprune.types import Report
from tests.measured.nets import Array, Net, masks_of
from tests.measured.reference import Asked


def kept_by(net: Net, asked: Asked, folder: Path, **more: Any) -> dict[str, Array]:
    """Prune a net as it is asked, in double precision, and return what is kept."""
    report = pruned(net, asked, folder, **more)
    assert report.output is not None
    assert report.zeros == report.mask_zeros == round(asked.sparsity * report.size)
    return masks_of(Path(report.output), list(net.weights))


def pruned(net: Net, asked: Asked, folder: Path, **more: Any) -> Report:
    """Prune a net as it is asked and return the report."""
    options = {"magnitude_penalty": asked.penalty} if asked.penalty else {}
    given = {
        "output": folder / f"{len(list(folder.iterdir()))}.onnx",
        "steps": asked.steps,
        "schedule": "linear" if asked.linear else None,
        "batches_per_step": asked.width,
        "options": options,
        "data": onnxprune.trial(net.arrays(), batch=asked.batch, device="cpu"),
        "verify": False,
        "precision": "float64",
    }
    return onnxprune.prune(net.save(folder), asked.sparsity, asked.method, **given | more)
