"""Imports models that tests make, and holds them against ONNX Runtime."""

import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.parity import relative_error
from tests import models

Array = NDArray[Any]


def imported(proto: onnx.ModelProto, **settings: Any) -> Reimported:
    """Import a model; the file is closed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        path = models.save(Path(folder, "model.onnx"), proto)
        with load_onnx(path) as model:
            return reimport(model, **settings)


def agrees(
    proto: onnx.ModelProto,
    feeds: Mapping[str, Array],
    tolerance: float = 1e-6,
    **settings: Any,
) -> Reimported:
    """Import a model, and check that its outputs are those of ONNX Runtime."""
    module = imported(proto, **settings)
    with torch.no_grad():
        found = module.compute(feeds)
    expected = models.run(proto, **feeds)
    for name, wanted in zip(module.outputs, expected, strict=True):
        assert relative_error(found[name], np.asarray(wanted)) <= tolerance, name
    return module


def gradients(
    module: Reimported, feeds: Mapping[str, Any], output: str = "y"
) -> dict[str, Any]:
    """Return the gradients of an output's sum by the paths of all tensors."""
    names = list(module.tensors)
    total = module.compute(feeds)[output].sum()
    found = torch.autograd.grad(
        total, [module.tensors[name] for name in names], allow_unused=True
    )
    return dict(zip(names, found, strict=True))


def export(
    net: torch.nn.Module, given: tuple[Any, ...], dynamo: bool, **settings: Any
) -> onnx.ModelProto:
    """Export a torch model by one of torch's two exporters."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, "model.onnx")
        if dynamo:
            settings = {"verbose": False, "external_data": False} | settings
        torch.onnx.export(net.eval(), given, str(path), dynamo=dynamo, **settings)
        return onnx.load(path)


def confirmed(
    proto: onnx.ModelProto, feeds: Mapping[str, Array], tolerance: float = 1e-6
) -> Reimported:
    """Check a model's outputs by ONNX Runtime, and its gradients by differences."""
    module = agrees(proto, feeds, tolerance)
    double = imported(proto, precision=torch.float64)
    names = list(double.tensors)
    assert names, "the model has no parameter"

    def compute(*tensors: torch.Tensor) -> Any:
        results = double.compute(feeds, dict(zip(names, tensors, strict=True)))
        return [value for value in results.values() if value.requires_grad]

    assert torch.autograd.gradcheck(
        compute, [double.tensors[name].detach().double().requires_grad_() for name in names]
    )
    return module
