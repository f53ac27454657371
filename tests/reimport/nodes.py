"""Runs single operators by the registry, and onnx's own node tests through them."""

import warnings
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from onnxprune.reimport.dtypes import PLAIN, precision, torch_type
from onnxprune.reimport.registry import find_operator
from onnxprune.reimport.values import WIDE, to_value

NEWEST = 28
LOOSE = {onnx.TensorProto.FLOAT16: 5e-3, onnx.TensorProto.BFLOAT16: 4e-2}
"""How far results in half precision may be off, for they are computed in single."""


@cache
def _tests() -> tuple[Any, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return tuple(load_model_tests(kind="node"))


def cases(operators: Iterable[str], *, without: Iterable[str] = ()) -> list[Any]:
    """List onnx's node tests of some operators, of one node each, as parameters of a test."""
    wanted, left_out = set(operators), set(without)
    return [
        pytest.param(case, id=case.name)
        for case in _tests()
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in wanted
        and case.name not in left_out
    ]


def element_type(value: Any) -> int:
    """Return the ONNX element type of a test's value, which may be a tensor as a message."""
    if isinstance(value, onnx.TensorProto):
        return value.data_type
    return int(helper.np_dtype_to_tensor_dtype(np.asarray(value).dtype))


def to_array(value: Any) -> np.ndarray:
    """Return a test's value as an array, half precision as single."""
    number = element_type(value)
    array = (
        numpy_helper.to_array(value)
        if isinstance(value, onnx.TensorProto)
        else np.asarray(value)
    )
    return array if number in PLAIN else array.astype(np.float64)


def to_tensor(value: Any) -> Any:
    """Return a test's value as the import holds it: None, lists and tensors."""
    if isinstance(value, list):
        return [to_tensor(each) for each in value]
    if isinstance(value, onnx.TensorProto):
        value = numpy_helper.to_array(value)
    return to_value(value)


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return a node's attributes as the functions of operators get them."""
    found = {}
    for attribute in node.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = to_tensor(value)
        elif attribute.type == onnx.AttributeProto.STRINGS:
            value = [each.decode() for each in value]
        elif not isinstance(value, (int, float, str)):
            value = list(value)
        found[attribute.name] = value
    return found


def apply(
    name: str,
    *inputs: Any,
    opset: int = NEWEST,
    domain: str = "",
    outputs: int = 1,
    **attributes: Any,
) -> Any:
    """Compute one operator, as registered."""
    found = find_operator(domain, name)
    assert found is not None, f"no function for {name} of '{domain}'"
    unknown = set(attributes) - found.attributes
    assert not unknown, f"{name} has no parameter for {sorted(unknown)}"
    reserved = {"opset": opset, "outputs": outputs}
    given = attributes | {key: reserved[key] for key in found.reserved}
    return found.function(*inputs, **given)


def run_node(node: onnx.NodeProto, inputs: Sequence[Any], opset: int) -> list[Any]:
    """Compute one node from tensors, None for inputs that are not there."""
    result = apply(
        node.op_type,
        *inputs,
        opset=opset,
        domain=node.domain,
        outputs=len(node.output),
        **attributes_of(node),
    )
    return list(result) if isinstance(result, (tuple, list)) else [result]


def run_case(case: Any) -> None:
    """Run a node test and compare all of its outputs."""
    (node,) = case.model.graph.node
    versions = {each.domain: each.version for each in case.model.opset_import}
    for inputs, expected in case.data_sets:
        given = iter(inputs)
        ready = [to_tensor(next(given)) if name else None for name in node.input]
        found = run_node(node, ready, versions[node.domain])
        found = [value for value, name in zip(found, node.output, strict=False) if name]
        assert len(found) >= len(expected)
        for value, wanted in zip(found, expected, strict=False):
            compare(value, wanted, max(case.rtol, 1e-3), max(case.atol, 1e-5))


def compare(found: Any, expected: Any, rtol: float = 1e-3, atol: float = 1e-5) -> None:
    """Hold a result against a test's value: shape, type and values.

    Whole numbers may come as floats, which is how quantised values are held.
    """
    if isinstance(expected, list):
        for each, wanted in zip(found, expected, strict=True):
            compare(each, wanted, rtol, atol)
        return
    number = element_type(expected)
    floats = found.is_floating_point()
    if number in PLAIN and floats:
        assert torch.equal(found, found.round())
    elif number in WIDE:
        assert found.dtype == torch_type(number)
    wanted = to_array(expected)
    assert tuple(found.shape) == wanted.shape
    loose = LOOSE.get(number, 0.0)
    np.testing.assert_allclose(
        found.detach().numpy().astype(np.float64) if floats else found.numpy(),
        wanted.astype(np.float64) if floats else wanted,
        rtol=max(rtol, loose),
        atol=max(atol, loose),
    )


def runtime(
    name: str,
    *inputs: Any,
    opset: int = 21,
    domain: str = "",
    outputs: int = 1,
    **attributes: Any,
) -> list[np.ndarray]:
    """Compute one operator by ONNX Runtime; inputs are arrays or tensors, None if missing."""
    arrays = [each.detach().numpy() if isinstance(each, Tensor) else each for each in inputs]
    names = ["" if each is None else f"x{place}" for place, each in enumerate(arrays)]
    produced = [f"y{place}" for place in range(outputs)]
    node = helper.make_node(name, names, produced, domain=domain, **attributes)
    ports = [
        helper.make_tensor_value_info(
            label, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for label, array in zip(names, arrays, strict=True)
        if array is not None
    ]
    graph = helper.make_graph(
        [node], "one", ports, [helper.make_empty_tensor_value_info(each) for each in produced]
    )
    versions = [helper.make_opsetid("", opset)]
    if domain:
        versions.append(helper.make_opsetid(domain, 1))
    model = helper.make_model(graph, opset_imports=versions, ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feeds = {label: array for label, array in zip(names, arrays, strict=True) if label}
    return list(session.run(None, feeds))


def same_as_runtime(
    name: str, *inputs: Any, outputs: int = 1, opset: int = 21, **settings: Any
) -> None:
    """Hold an operator against ONNX Runtime on the same tensors."""
    expected = runtime(name, *inputs, outputs=outputs, opset=opset, **settings)
    result = apply(name, *inputs, outputs=outputs, opset=opset, **settings)
    found = list(result) if isinstance(result, (tuple, list)) else [result]
    for value, wanted in zip(found, expected, strict=True):
        if value is not None:
            compare(value, wanted, 1e-5, 1e-5)


def gradients_hold(
    name: str,
    *inputs: Any,
    twice: bool = False,
    output: int | None = None,
    fixed: Sequence[int] = (),
    **settings: Any,
) -> None:
    """Compare an operator's gradients with differences, in double precision.

    Args:
        twice: whether second derivatives are compared, too.
        output: which of several outputs is looked at.
        fixed: inputs that have no gradient.
    """
    places = [i for i, each in enumerate(inputs) if _is_float(each) and i not in fixed]
    ready = [inputs[i].detach().double().requires_grad_() for i in places]

    def compute(*floats: Tensor) -> Tensor:
        given = [each.double() if _is_float(each) else each for each in inputs]
        for place, value in zip(places, floats, strict=True):
            given[place] = value
        result = apply(name, *given, **settings)
        return result if output is None else result[output]

    with precision(torch.float64):
        assert torch.autograd.gradcheck(compute, ready)
        if twice:
            assert torch.autograd.gradgradcheck(compute, ready, fast_mode=True)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def sample(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Make numbers for a test, all of them different."""
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator)
