"""Integer weights: their real values are (q - zero point) * scale, whatever gives the scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from tests.models import Array, constant, look, model, node, weight

MICROSOFT = "com.microsoft"


@dataclass(frozen=True)
class Case:
    """One operator that reads the integers `w` with their `scale` and `zero` point.

    Args:
        op: the operator and its inputs.
        shape: of `w`.
        along: the dimension of `w` along which scales differ, None for one scale.
        order: how to transpose `w` so that outputs come first and input channels last.
    """

    op: str
    shape: tuple[int, ...]
    along: int | None
    order: tuple[int, ...]
    domain: str = ""
    kind: Any = np.int8
    attributes: tuple[tuple[str, int], ...] = ()

    def tensors(self) -> list[TensorProto]:
        count = () if self.along is None else (self.shape[self.along],)
        scale = np.abs(numpy_helper.to_array(weight("scale", *count))) + 0.5
        zero = np.arange(np.prod(count, dtype=int)).reshape(count) + 3
        return [
            weight("w", *self.shape, dtype=self.kind),
            constant("scale", scale),
            constant("zero", zero, self.kind),
            constant("s", 0.25),
            constant("z", 1, np.uint8),
        ]

    def real(self) -> Array:
        w, scale, zero = (
            numpy_helper.to_array(t).astype(np.float64) for t in self.tensors()[:3]
        )
        spread = [1] * w.ndim
        if self.along is not None:
            spread[self.along] = -1
            scale, zero = scale.reshape(spread), zero.reshape(spread)
        return (w - zero) * scale

    def __str__(self) -> str:
        spelled = [f"{name}={value}" for name, value in self.attributes]
        along = "one scale" if self.along is None else f"scales along {self.along}"
        return " ".join([self.domain, self.op, np.dtype(self.kind).name, along, *spelled])


CONV = "QLinearConv x s z w scale zero s z"
PRODUCT = "QLinearMatMul x s z w scale zero s z"
FLOATING = "MatMulIntegerToFloat x w s scale z zero"
DYNAMIC = "DynamicQuantizeMatMul x w scale zero"
ATTENTION = "QAttention x w b s scale mask z zero"
GEMM = "QGemm x s z w scale zero _ s z"
CASES = [
    Case(CONV, (4, 3, 2, 5), None, (0, 2, 3, 1)),
    Case(CONV, (4, 3, 2, 5), None, (0, 2, 3, 1), kind=np.uint8),
    Case(CONV, (4, 3, 2, 5), 0, (0, 2, 3, 1)),
    Case(CONV, (4, 3, 2, 5), 0, (0, 2, 3, 1), MICROSOFT),
    Case(PRODUCT, (3, 5), None, (1, 0)),
    Case(PRODUCT, (3, 5), 1, (1, 0), kind=np.uint8),
    Case("QLinearMatMul w scale zero x s z s z", (5, 3), None, (0, 1)),
    Case("QLinearMatMul w scale zero x s z s z", (5, 3), 0, (0, 1)),
    Case("QLinearMatMul w scale zero x s z s z", (3, 3), 0, (0, 1)),
    Case(GEMM, (3, 5), 1, (1, 0), MICROSOFT),
    Case(GEMM, (5, 3), 0, (0, 1), MICROSOFT, attributes=(("transB", 1),)),
    Case(FLOATING, (3, 5), None, (1, 0), MICROSOFT),
    Case(FLOATING, (3, 5), 1, (1, 0), MICROSOFT),
    Case("MatMulIntegerToFloat w x scale s zero z", (5, 3), None, (0, 1), MICROSOFT),
    Case(DYNAMIC, (3, 5), None, (1, 0), MICROSOFT),
    Case(DYNAMIC, (3, 5), 1, (1, 0), MICROSOFT, np.uint8),
    Case(ATTENTION, (4, 18), 1, (1, 0), MICROSOFT, attributes=(("num_heads", 2),)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_an_operator_gives_its_integers_their_real_values(case: Case) -> None:
    layer = node(f"{case.op} -> y", "layer", case.domain, **dict(case.attributes))
    found = look(model([layer], {"x": ("N", 3)}, "y", case.tensors()))
    assert list(found.weights) == ["w"]
    of = found.weights["w"]
    assert (of.op, of.node, of.dtype) == (
        case.op.split()[0],
        "layer",
        np.dtype(case.kind).name,
    )
    assert np.allclose(found.values["w"], case.real().reshape(-1), rtol=1e-12)
    outputs = case.shape[case.order[0]]
    matrix = case.real().transpose(case.order).reshape(outputs, -1)
    assert np.allclose(found.matrices["w"], matrix, rtol=1e-12)
    assert not found.warnings


def behind(scale: str) -> list[onnx.NodeProto]:
    """Scale the integers `h` by the input's scale and by `scale`, as ONNX Runtime writes it."""
    cast = node("Cast h -> f", to=TensorProto.FLOAT)
    return [cast, node(f"Mul xs {scale} -> both"), node("Mul f both -> y")]


@pytest.mark.parametrize(
    ("op", "shape", "scales", "order"),
    [
        ("MatMulInteger x w z zero", (3, 5), (), (1, 0)),
        ("MatMulInteger x w z zero", (3, 5), (5,), (1, 0)),
        ("ConvInteger x w z zero", (4, 3, 2, 5), (), (0, 2, 3, 1)),
        ("ConvInteger x w z zero", (4, 3, 2, 5), (4, 1, 1), (0, 2, 3, 1)),
    ],
)
def test_a_product_of_integers_takes_the_scale_that_follows_it(
    op: str, shape: tuple[int, ...], scales: tuple[int, ...], order: tuple[int, ...]
) -> None:
    scale = np.abs(numpy_helper.to_array(weight("scale", *scales))) + 0.5
    q = weight("w", *shape, dtype=np.int8)
    points = [constant("zero", 3, np.int8), constant("z", 1, np.uint8)]
    nodes = [node(f"{op} -> h", "layer"), *behind("scale")]
    proto = model(
        nodes, {"x": ("N", 3), "xs": ()}, "y", [q, constant("scale", scale), *points]
    )
    found = look(proto)
    outputs = shape[order[0]]
    rows = (numpy_helper.to_array(q) - 3.0).transpose(order).reshape(outputs, -1)
    assert found.weights["w"].op == op.split()[0]
    assert np.allclose(found.matrices["w"], rows * scale.reshape(-1, 1), rtol=1e-12)
    assert not found.warnings


def test_a_left_factor_of_integers_has_a_zero_point_for_each_row() -> None:
    q = weight("w", 5, 3, dtype=np.int8)
    zero = np.arange(5, dtype=np.int8)
    tensors = [q, constant("zero", zero, np.int8), constant("scale", 0.5)]
    nodes = [node("MatMulInteger w x zero -> h", "layer"), *behind("scale")]
    found = look(model(nodes, {"x": (3, "N"), "xs": ()}, "y", tensors))
    real = (numpy_helper.to_array(q).astype(float) - zero[:, None]) * 0.5
    assert np.array_equal(found.matrices["w"], real)


def test_integers_without_any_scale_count_as_they_are_and_say_so() -> None:
    q = weight("w", 3, 5, dtype=np.int8)
    found = look(model([node("MatMulInteger x w -> y")], {"x": ("N", 3)}, "y", [q]))
    assert np.array_equal(found.matrices["w"], numpy_helper.to_array(q).T)
    assert found.warnings == ["the scale of 'w' was not found: its integers count as 1"]


def test_an_integer_weight_whose_scale_cannot_be_read_is_listed() -> None:
    nodes = [node("DequantizeLinear q s -> w"), node("MatMul x w -> y")]
    wrong = constant("s", [1.0, 2.0, 3.0])
    integers = weight("q", 4, 5, dtype=np.int8)
    found = look(model(nodes, {"x": [1, 4]}, "y", [integers, wrong]))
    assert not found.weights
    assert found.skipped["q"] == "integers without a known scale"


def test_a_cast_without_an_output_gives_no_scale() -> None:
    q = weight("w", 3, 5, dtype=np.int8)
    nodes = [node("MatMulInteger x w -> h"), node("Cast h ->", to=1), node("Relu x -> y")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [q]))
    assert found.warnings == ["the scale of 'w' was not found: its integers count as 1"]
