"""Compares a module with ONNX Runtime on one batch before anything it says is trusted.

The outputs are ONNX Runtime's, which runs in a process of its own. Where they differ too much,
the values inside the graph are looked at, to name the first node that computes another thing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import EncodeError  # type: ignore[import-untyped]

from onnxprune.errors import OnnxpruneError, UnsupportedError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import node_label
from onnxprune.reimport.constants import read_message
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.values import to_array
from onnxprune.trials.runner import Runner
from onnxprune.trials.variants import find_message
from onnxprune.types import Array

TOLERANCE = 1e-5
HALF_TOLERANCE = 1e-2
INTEGER_TOLERANCE = 5e-2
"""Where values are rounded to integers, one that falls the other way moves an output by a step
of a hundredth or two."""

NOISE = 10.0
"""So many times the error that rounding alone makes is allowed, if that is more..."""

CEILING = 100.0
"""...up to so many times the tolerance."""

HALF = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
KEY = "values"


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a module is from ONNX Runtime.

    Args:
        error: the largest difference of an output over its largest value.
        allowed: what it may be.
    """

    error: float
    allowed: float


def check_parity(
    module: Reimported,
    model: OnnxModel,
    feeds: Mapping[str, Array],
    expected: Mapping[str, Array],
) -> Parity:
    """Return how far a module's outputs are from ONNX Runtime's, or refuse it.

    Args:
        module: made of the model.
        model: the open file.
        feeds: one batch.
        expected: what ONNX Runtime gives for it, by output.
    """
    found = _outputs(module, feeds)
    names = [name for name in module.outputs if name in expected]
    if not names:
        raise UnsupportedError(
            "no output of the model is a tensor: there is nothing to compare"
        )
    errors = {name: relative_error(found[name], expected[name]) for name in names}
    name = max(names, key=lambda each: errors[each])
    tolerance = tolerance_of(model)
    if errors[name] <= tolerance:
        return Parity(errors[name], tolerance)
    allowed = max(tolerance, min(_noise(model, feeds, found, names), CEILING * tolerance))
    if errors[name] <= allowed:
        return Parity(errors[name], allowed)
    where = first_difference(model, feeds, allowed) or "no single node stands out"
    raise UnsupportedError(
        f"the model computes something else in torch: output '{name}' is off by"
        f" {errors[name]:.1e} of its largest value, {allowed:.0e} is allowed; {where}",
        "a method that needs no gradients prunes it",
    )


def compare(
    module: Reimported, model: OnnxModel, feeds: Mapping[str, Array], timeout: float
) -> Parity:
    """Run a model on ONNX Runtime, and return how far a module's outputs are from its.

    Args:
        module: made of the model.
        model: the open file.
        feeds: one batch.
        timeout: seconds that ONNX Runtime may take.
    """
    with Runner("cpu", timeout) as runner:
        runner.open(KEY, model.source.path)
        expected = runner.run(KEY, feeds)
    return check_parity(module, model, feeds, expected)


def _outputs(module: Reimported, feeds: Mapping[str, Array]) -> dict[str, Any]:
    with torch.no_grad():
        return module.compute(feeds)


def _noise(
    model: OnnxModel, feeds: Mapping[str, Array], found: Mapping[str, Any], names: list[str]
) -> float:
    """Return the error that rounding explains: how far double precision is from single."""
    exact = _outputs(reimport(model, precision=torch.float64, prunable=()), feeds)
    off = max(relative_error(found[name], to_array(exact[name])) for name in names)
    return NOISE * off if np.isfinite(off) else 0.0


def tolerance_of(model: OnnxModel) -> float:
    """Return how far a model's outputs may be off, for the numbers it computes with."""
    operators = {node.op_type for scope in model.graph.scopes for node in scope.nodes}
    if any(
        word in name for name in operators for word in ("Quant", "QLinear", "Integer", "QGemm")
    ):
        return INTEGER_TOLERANCE
    ports = model.graph.model.graph
    types = {record.data_type for record in model.scan.tensors.values()}
    types |= {port.type.tensor_type.elem_type for port in (*ports.input, *ports.value_info)}
    return HALF_TOLERANCE if types & HALF else TOLERANCE


def relative_error(found: Any, expected: Array) -> float:
    """Return the largest difference over the largest expected value; infinity for NaN."""
    values, wanted = np.asarray(to_array(found)), np.asarray(expected)
    if values.shape != wanted.shape:
        return float("inf")
    if wanted.dtype.kind not in "fiub" and "float" not in wanted.dtype.name:
        return 0.0 if np.array_equal(values, wanted) else float("inf")
    if not wanted.size:
        return 0.0
    values, wanted = values.astype(np.float64), wanted.astype(np.float64)
    odd = ~np.isfinite(wanted)
    if not np.array_equal(values[odd], wanted[odd], equal_nan=True):
        return float("inf")
    values, wanted = values[~odd], wanted[~odd]
    difference = float(np.abs(values - wanted).max(initial=0.0))
    largest = float(np.abs(wanted).max(initial=0.0))
    if not np.isfinite(difference):
        return float("inf")
    return difference / max(largest, 1e-30) if difference else 0.0


def first_difference(
    model: OnnxModel, feeds: Mapping[str, Array], tolerance: float
) -> str | None:
    """Name the first node of the main graph whose values differ, if one can be found."""
    makers = dict(_makers(model))
    try:
        wanted = _inside(model, feeds, list(makers))
        module = reimport(model, prunable=(), outputs=list(wanted))
        found = _outputs(module, feeds)
    except (OnnxpruneError, EncodeError, ValueError):
        return None
    for name, node in makers.items():
        if name not in wanted:
            continue
        error = relative_error(found[name], wanted[name])
        if error > tolerance:
            return (
                f"the first node that differs is '{node_label(node)}' ({node.op_type}),"
                f" by {error:.1e}"
            )
    return None


def _makers(model: OnnxModel) -> Iterator[tuple[str, onnx.NodeProto]]:
    """Go through the values of the main graph in order, each with the node that makes it."""
    main = model.graph.scopes[0]
    for node in main.nodes:
        for name in node.output:
            if name and name not in main.constants:
                yield name, node


def _inside(
    model: OnnxModel, feeds: Mapping[str, Array], names: list[str]
) -> dict[str, Array]:
    """Let ONNX Runtime compute values inside the graph."""
    proto = whole(model)
    declared = {output.name for output in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in declared
    )
    with Runner("cpu") as runner:
        runner.open(KEY, proto.SerializeToString())
        return runner.run(KEY, feeds)


def whole(model: OnnxModel) -> onnx.ModelProto:
    """Return a model as one message that holds the data of all of its tensors."""
    proto: onnx.ModelProto = onnx.ModelProto.FromString(model.scan.skeleton)
    for address, record in model.scan.tensors.items():
        message = find_message(proto, address)
        if isinstance(message, onnx.TensorProto) and message.external_data:
            message.CopyFrom(read_message(model, record))
    return proto
