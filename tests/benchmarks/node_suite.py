"""Runs onnx's own node tests through the re-import and says what became of each."""

import collections
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.reimport.values import to_array

TORCH, FALLBACK, REFUSED, WRONG = "as torch code", "by numpy", "refused", "wrong"
KINDS = (TORCH, FALLBACK, REFUSED, WRONG)
TEXTS = {TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128}
LOOSE = {TensorProto.FLOAT16: 5e-3, TensorProto.BFLOAT16: 4e-2}
"""How far results in half precision may be off, for they are computed in single."""

RANDOM = ("training_dropout", "bernoulli")
"""Tests by the beginning of their names whose values cannot be told; their shapes can."""


@dataclass(frozen=True)
class Result:
    """What became of one test."""

    name: str
    operator: str
    kind: str
    reason: str = ""


def cases() -> Iterator[Any]:
    """Go through the node tests whose inputs and outputs are numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        tests = load_model_tests(kind="node")
    for case in tests:
        values = [value for pair in case.data_sets for part in pair for value in part]
        if not any(element in TEXTS for value in values for element in _elements(value)):
            yield case


def examine(case: Any, folder: Path, device: str = "cpu") -> Result:
    """Run one test as a model file."""
    path = folder / f"{case.name}.onnx"  # to write over a file takes longer
    path.write_bytes(case.model.SerializeToString())
    operator = case.model.graph.node[-1].op_type if case.model.graph.node else ""
    try:
        with load_onnx(path) as model:
            module = reimport(model, device=device)
        for inputs, outputs in case.data_sets:
            problem = _differs(case, module, inputs, outputs)
            if problem:
                return Result(case.name, operator, WRONG, problem)
    except OnnxpruneError as error:
        return Result(case.name, operator, REFUSED, error.message)
    except Exception as error:  # noqa: BLE001 - whatever else escapes is what is looked for
        return Result(case.name, operator, WRONG, f"{type(error).__name__}: {error}")
    return Result(case.name, operator, FALLBACK if module.cuts else TORCH)


def suite(frozen: bool = False, device: str = "cpu") -> list[Result]:
    """Run all node tests.

    Args:
        frozen: whether all inputs but the first are constants; the others are left out.
        device: where they are computed.
    """
    chosen = filter(None, map(freeze, cases())) if frozen else cases()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [examine(case, Path(folder), device) for case in chosen]


def freeze(case: Any) -> Any:
    """Return a test whose inputs but the first are constants, None if there are no others."""
    inputs, outputs = case.data_sets[0]
    if len(inputs) < 2 or any(isinstance(each, list) or each is None for each in inputs):
        return None
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    for port, value in list(zip(model.graph.input, inputs, strict=False))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(_fed(value), port.name))
    del model.graph.input[1:]
    return replace(case, model=model, data_sets=[(inputs[:1], outputs)])


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Count the tests by what became of them."""
    found = collections.Counter(result.kind for result in results)
    return {kind: found[kind] for kind in KINDS}


def _differs(
    case: Any, module: Reimported, inputs: Sequence[Any], outputs: Sequence[Any]
) -> str:
    names = [value.name for value in case.model.graph.input]
    given = {name: _fed(value) for name, value in zip(names, inputs, strict=False)}
    with torch.no_grad():
        found = module.compute({name: given[name] for name in module.inputs})
    random = case.name.removeprefix("test_").startswith(RANDOM)
    for value, expected in zip(found.values(), outputs, strict=False):
        problem = _unlike(value, expected, case, random)
        if problem:
            return problem
    return ""


def _fed(value: Any) -> Any:
    if isinstance(value, list):
        return [_fed(each) for each in value]
    return numpy_helper.to_array(value) if isinstance(value, TensorProto) else value


def _unlike(value: Any, expected: Any, case: Any, random: bool) -> str:
    """Say how a value differs from what a test expects."""
    if isinstance(expected, list):
        if not isinstance(value, list) or len(value) != len(expected):
            return "another sequence"
        parts = zip(value, expected, strict=True)
        return next(filter(None, (_unlike(a, b, case, random) for a, b in parts)), "")
    if expected is None or value is None:
        return "" if expected is value else "one is nothing"
    wanted = np.asarray(_fed(expected))
    found = np.asarray(to_array(value))
    number = helper.np_dtype_to_tensor_dtype(wanted.dtype)
    if wanted.shape != found.shape:
        return f"shape {found.shape}, not {wanted.shape}"
    exact = wanted.dtype.kind in "iub"
    if (exact and found.dtype != wanted.dtype) or (not exact and found.dtype.kind in "iub"):
        return f"type {found.dtype}, not {wanted.dtype}"
    if random:
        return ""
    if exact:
        unequal = int(np.count_nonzero(found != wanted))
        return f"{unequal} of {found.size} values" if unequal else ""
    loose = LOOSE.get(number, 0.0)
    close = np.isclose(
        found.astype(np.float64),
        wanted.astype(np.float64),
        rtol=max(case.rtol, 1e-3, loose),
        atol=max(case.atol, 1e-5, loose),
        equal_nan=True,
    )
    return "" if close.all() else f"{np.count_nonzero(~close)} of {close.size} values"


def _elements(value: Any) -> Iterator[int]:
    if isinstance(value, list):
        for each in value:
            yield from _elements(each)
    elif isinstance(value, TensorProto):
        yield value.data_type
    elif value is not None:
        array = np.asarray(value)
        text = array.dtype.kind in "OUS"
        yield TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(array.dtype)
