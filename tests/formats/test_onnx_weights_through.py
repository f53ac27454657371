"""Operators that a weight is looked through: its matrix is the one that its operator sees.

Every test gives the nodes that make `v` from the weight `w`; `v` is then used by an operator,
and the matrix must be that of the value that numpy computes for `v`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from onnxprune.errors import InputError
from tests.models import Array, Found, constant, look, model, node, weight

USES = {
    "Conv": ("Conv x v -> y", (0, 2, 3, 1)),
    "ConvTranspose": ("ConvTranspose x v -> y", (1, 2, 3, 0)),
    "MatMul": ("MatMul x v -> y", (1, 0)),
    "MatMul left": ("MatMul v x -> y", (0, 1)),
    "LSTM": ("LSTM x v r -> y", (0, 1, 2)),
}


def integers(name: str, *values: int) -> TensorProto:
    return constant(name, values, np.int64)


def seen(
    use: str, shape: tuple[int, ...], nodes: list[onnx.NodeProto], *others: TensorProto
) -> Found:
    text, _ = USES[use]
    lstm = {"hidden_size": 5} if use == "LSTM" else {}
    w = weight("w", *shape)
    proto = model([*nodes, node(text, "layer", **lstm)], {"x": ("N", 3)}, "y", [w, *others])
    return look(proto)


def as_matrix(values: Array, use: str) -> Array:
    """Arrange what an operator sees; the LSTM's outputs are directions and gates."""
    order = USES[use][1]
    rows = values.shape[0] * values.shape[1] if use == "LSTM" else values.shape[order[0]]
    return values.transpose(order).reshape(rows, -1)


def w(*shape: int) -> Array:
    return numpy_helper.to_array(weight("w", *shape))


CASES: dict[str, tuple[str, tuple[int, ...], list[Any], Callable[[Array], Array]]] = {
    "Identity": ("Conv", (4, 3, 2, 5), [node("Identity w -> v")], np.array),
    "Cast": ("MatMul", (3, 5), [node("Cast w -> v", to=TensorProto.FLOAT16)], np.array),
    "Transpose": ("MatMul", (5, 3), [node("Transpose w -> v", perm=[1, 0])], np.transpose),
    "Transpose of all, reversed": (
        "Conv",
        (2, 5, 3, 4),
        [node("Transpose w -> v")],
        np.transpose,
    ),
    "Transpose of HWIO to OIHW": (
        "Conv",
        (2, 5, 3, 4),
        [node("Transpose w -> v", perm=[3, 2, 0, 1])],
        lambda w: w.transpose(3, 2, 0, 1),
    ),
    "Transpose in a circle": (
        "Conv",
        (3, 2, 5, 4),
        [node("Transpose w -> v", perm=[3, 0, 1, 2])],
        lambda w: w.transpose(3, 0, 1, 2),
    ),
    "Transpose before ConvTranspose": (
        "ConvTranspose",
        (2, 5, 3, 4),
        [node("Transpose w -> v", perm=[2, 3, 0, 1])],
        lambda w: w.transpose(2, 3, 0, 1),
    ),
    "Transpose before MatMul, on the left": (
        "MatMul left",
        (3, 5),
        [node("Transpose w -> v")],
        np.transpose,
    ),
    "Reshape that joins": (
        "MatMul",
        (4, 3, 2, 5),
        [integers("shape", 24, 5), node("Reshape w shape -> v")],
        lambda w: w.reshape(24, 5),
    ),
    "Reshape that splits": (
        "Conv",
        (12, 10),
        [integers("shape", 12, 1, 2, 5), node("Reshape w shape -> v")],
        lambda w: w.reshape(12, 1, 2, 5),
    ),
    "Reshape that splits and joins": (
        "MatMul",
        (4, 6),
        [integers("shape", 8, 3), node("Reshape w shape -> v")],
        lambda w: w.reshape(8, 3),
    ),
    "Reshape across dimensions without a common factor": (
        "MatMul",
        (3, 10),
        [integers("shape", 5, 6), node("Reshape w shape -> v")],
        lambda w: w.reshape(5, 6),
    ),
    "Reshape with 0 and -1": (
        "MatMul",
        (3, 2, 5),
        [integers("shape", 0, -1), node("Reshape w shape -> v")],
        lambda w: w.reshape(3, 10),
    ),
    "Reshape with -1 first": (
        "MatMul",
        (3, 2, 5),
        [integers("shape", -1, 5), node("Reshape w shape -> v")],
        lambda w: w.reshape(6, 5),
    ),
    "Reshape by a Constant node": (
        "MatMul",
        (3, 2, 5),
        [node("Constant -> shape", value_ints=[6, 5]), node("Reshape w shape -> v")],
        lambda w: w.reshape(6, 5),
    ),
    "Reshape by an attribute": (
        "MatMul",
        (3, 2, 5),
        [node("Reshape w -> v", shape=[6, 5])],
        lambda w: w.reshape(6, 5),
    ),
    "Flatten": ("MatMul", (3, 2, 5), [node("Flatten w -> v")], lambda w: w.reshape(3, 10)),
    "Flatten at 2": (
        "MatMul",
        (3, 2, 5),
        [node("Flatten w -> v", axis=2)],
        lambda w: w.reshape(6, 5),
    ),
    "Flatten at -1": (
        "MatMul",
        (3, 2, 5),
        [node("Flatten w -> v", axis=-1)],
        lambda w: w.reshape(6, 5),
    ),
    "Flatten at -2": (
        "MatMul",
        (3, 2, 5),
        [node("Flatten w -> v", axis=-2)],
        lambda w: w.reshape(3, 10),
    ),
    "Squeeze by an attribute": (
        "MatMul",
        (1, 3, 1, 5),
        [node("Squeeze w -> v", axes=[0, 2])],
        lambda w: w[0, :, 0],
    ),
    "Squeeze by an input, from the end": (
        "MatMul",
        (1, 3, 5, 1),
        [integers("axes", -1, 0), node("Squeeze w axes -> v")],
        lambda w: w[0, :, :, 0],
    ),
    "Squeeze of all": (
        "MatMul",
        (3, 1, 5, 1),
        [node("Squeeze w -> v")],
        lambda w: w[:, 0, :, 0],
    ),
    "Unsqueeze by an attribute": (
        "Conv",
        (4, 3),
        [node("Unsqueeze w -> v", axes=[2, 3])],
        lambda w: w[:, :, None, None],
    ),
    "Unsqueeze by an input, unsorted": (
        "Conv",
        (4, 3),
        [integers("axes", 3, 1), node("Unsqueeze w axes -> v")],
        lambda w: w[:, None, :, None],
    ),
    "Unsqueeze from the end": (
        "LSTM",
        (20, 3),
        [integers("axes", -3), node("Unsqueeze w axes -> v")],
        lambda w: w[None],
    ),
    "Transpose, Reshape, Unsqueeze, Identity": (
        "Conv",
        (2, 5, 12),
        [
            integers("axes", 1),
            integers("shape", 12, 10),
            node("Transpose w -> a", perm=[2, 1, 0]),
            node("Reshape a shape -> b"),
            node("Unsqueeze b axes -> c"),
            node("Transpose c -> d", perm=[0, 2, 1]),
            node("Unsqueeze d axes2 -> e"),
            node("Identity e -> v"),
            integers("axes2", 3),
        ],
        lambda w: w.transpose(2, 1, 0).reshape(12, 10, 1, 1),
    ),
    "Reshape, Transpose, Reshape": (
        "MatMul",
        (6, 10),
        [
            integers("first", 2, 3, 10),
            integers("last", 20, 3),
            node("Reshape w first -> a"),
            node("Transpose a -> b", perm=[0, 2, 1]),
            node("Reshape b last -> v"),
        ],
        lambda w: w.reshape(2, 3, 10).transpose(0, 2, 1).reshape(20, 3),
    ),
}


@pytest.mark.parametrize("title", CASES)
def test_a_weight_is_seen_through(title: str) -> None:
    use, shape, parts, through = CASES[title]
    nodes = [part for part in parts if isinstance(part, onnx.NodeProto)]
    found = seen(use, shape, nodes, *(p for p in parts if isinstance(p, TensorProto)))
    of = found.weights["w"]
    assert (of.op, of.node) == (USES[use][0].split()[0], "layer")
    assert (of.shape, of.size) == (shape, w(*shape).size)
    assert np.array_equal(found.matrices["w"], as_matrix(through(w(*shape)), use))


def test_a_shape_of_more_numbers_than_it_says_is_refused() -> None:
    shape = TensorProto(name="s", data_type=TensorProto.INT64, dims=[2], int64_data=[3, 2, 1])
    with pytest.raises(InputError, match="'s': not 2 values, as it says"):
        seen("MatMul", (2, 3), [node("Reshape w s -> v")], shape)


@pytest.mark.parametrize("kind", [np.float32, np.complex64])
def test_a_shape_that_is_not_of_integers_is_not_looked_through(kind: Any) -> None:
    shape = constant("s", [np.nan, 2], kind)
    found = seen("MatMul", (2, 3), [node("Reshape w s -> v")], shape)
    assert found.skipped["w"] == "input 0 of Reshape, which is no weight"
