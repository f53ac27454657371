"""Every float operator's weight as [outputs, inputs], against numpy and against ONNX Runtime.

Dimensions are letters: `o` counts outputs, `i` input channels, `k`, `l`, `m` a kernel's places,
`g` batches of the weight, `n` samples, `p`, `q`, `r` positions. All have different sizes.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.models import Array, look, model, node, run, weight

SIZES = dict(zip("giokmlnpqr", range(2, 12), strict=True))


@dataclass(frozen=True)
class Case:
    """One operator that reads `x` and the weight `w`, and makes `y`."""

    op: str
    w: str
    x: str
    y: str
    attributes: dict[str, Any] = field(default_factory=dict)
    domain: str = ""
    outputs: str = "o"
    inputs: str = "i"

    @property
    def stored(self) -> Array:
        return numpy_helper.to_array(weight("w", *sizes(self.w)))

    @property
    def input(self) -> Array:
        return numpy_helper.to_array(weight("x", *sizes(self.x)))

    @property
    def matrix(self) -> Array:
        return front(self.stored, self.w, self.outputs, self.inputs)

    def model(self, w: Array) -> onnx.ModelProto:
        layer = node(f"{self.op} -> y", "layer", self.domain, **self.attributes)
        return model([layer], {"x": sizes(self.x)}, "y", [numpy_helper.from_array(w, "w")])

    def __str__(self) -> str:
        spelled = [f"{name}={value}" for name, value in self.attributes.items()]
        return " ".join([self.op, self.w, *spelled])


def sizes(letters: str) -> tuple[int, ...]:
    return tuple(SIZES[letter] for letter in letters)


def front(values: Array, letters: str, first: str, last: str = "") -> Array:
    """Turn values into a matrix whose rows are the letters `first`; `last` change fastest."""
    between = "".join(letter for letter in letters if letter not in first + last)
    order = [letters.index(letter) for letter in first + between + last]
    rows = math.prod(values.shape[letters.index(letter)] for letter in first)
    return values.transpose(order).reshape(rows, -1)


def einsum(equation: str, outputs: str = "o", inputs: str = "i") -> Case:
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    at = next(place for place, term in enumerate(terms) if "n" not in term)
    y = equation.replace(" ", "").partition("->")[2] or "no"
    op = "Einsum x w" if at else "Einsum w x"
    attributes = {"equation": equation}
    return Case(op, terms[at], terms[1 - at], y, attributes, outputs=outputs, inputs=inputs)


OPERATORS = [
    Case("Conv x w", "oik", "nip", "nop"),
    Case("Conv x w", "oikl", "nipq", "nopq", {"strides": [2, 1]}),
    Case("Conv x w", "oiklm", "nipqr", "nopqr"),
    Case("ConvTranspose x w", "iok", "nip", "nop"),
    Case("ConvTranspose x w", "iokl", "nipq", "nopq", {"strides": [2, 1]}),
    Case("ConvTranspose x w", "ioklm", "nipqr", "nopqr"),
    Case("Gemm x w", "io", "ni", "no"),
    Case("Gemm x w", "oi", "ni", "no", {"transB": 1}),
    Case("Gemm x w", "io", "in", "no", {"transA": 1}),
    Case("Gemm w x", "oi", "in", "on"),
    Case("Gemm w x", "io", "in", "on", {"transA": 1}),
    Case("Gemm w x", "oi", "ni", "on", {"transB": 1}),
    Case("MatMul x w", "io", "ni", "no"),
    Case("MatMul x w", "io", "npi", "npo"),
    Case("MatMul w x", "oi", "ip", "op"),
    Case("MatMul w x", "oi", "nip", "nop"),
    Case("MatMul x w", "gio", "gpi", "gpo", outputs="go"),
    Case("MatMul x w", "gio", "ngpi", "ngpo", outputs="go"),
    Case("MatMul w x", "goi", "ngip", "ngop", outputs="go"),
    Case("MatMul x w", "i", "npi", "np", outputs=""),
    Case("MatMul w x", "i", "nip", "np", outputs=""),
    einsum("ni,io->no"),
    einsum("ni,oi->no"),
    einsum("io,ni->no"),
    einsum("ni,io->on"),
    einsum("ni,io"),
    einsum(" n i, i o -> n o "),
    einsum("nki,kio->no", inputs="ki"),
    einsum("nki,iok->no", inputs="ik"),
    einsum("ni,gio->ngo", outputs="go"),
    einsum("gni,gio->gno", outputs="go"),
    Case("FusedConv x w", "oikl", "nipq", "nopq", {"activation": "Relu"}, "com.microsoft"),
    Case("FusedMatMul x w", "io", "ni", "no", {"alpha": 0.5}, "com.microsoft"),
    Case("FusedMatMul x w", "oi", "ni", "no", {"transB": 1}, "com.microsoft"),
    Case("FusedMatMul x w", "io", "in", "no", {"transA": 1}, "com.microsoft"),
    Case("FusedMatMul w x", "oi", "in", "on", {}, "com.microsoft"),
    Case("FusedMatMul w x", "io", "in", "on", {"transA": 1}, "com.microsoft"),
    Case("FusedMatMul x w", "goi", "gpi", "gpo", {"transB": 1}, "com.microsoft", "go"),
    Case("FusedMatMul x w", "igo", "gpi", "gpo", {"transBatchB": 1}, "com.microsoft", "go"),
    Case("FusedMatMul w x", "ogi", "gip", "gop", {"transBatchA": 1}, "com.microsoft", "go"),
    Case(
        "FusedMatMul x w",
        "ogi",
        "gpi",
        "gpo",
        {"transB": 1, "transBatchB": 1},
        "com.microsoft",
        "go",
    ),
    Case("FusedGemm x w", "io", "ni", "no", {"activation": "Relu"}, "com.microsoft"),
    Case(
        "FusedGemm x w",
        "oi",
        "ni",
        "no",
        {"activation": "Relu", "transB": 1},
        "com.microsoft",
    ),
]


@pytest.mark.parametrize("case", OPERATORS, ids=str)
def test_a_weight_is_read_as_outputs_by_kernel_and_input_channels(case: Case) -> None:
    found = look(case.model(case.stored))
    of = found.weights["w"]
    assert (of.op, of.node, of.dtype) == (case.op.split()[0], "layer", "float32")
    assert (of.shape, of.size) == (case.stored.shape, case.stored.size)
    assert np.array_equal(found.matrices["w"], case.matrix)
    assert of.layout.output_count == math.prod(sizes(case.outputs))
    assert of.layout.input_count == math.prod(sizes(case.inputs))
    assert np.array_equal(of.layout.flat(case.matrix), case.stored.reshape(-1))


@pytest.mark.parametrize("case", OPERATORS, ids=str)
def test_zeroing_a_row_silences_one_output_and_leaves_the_others(case: Case) -> None:
    layout = look(case.model(case.stored)).weights["w"].layout
    zeroed = case.matrix.copy()
    zeroed[-1] = 0
    w = layout.flat(zeroed).reshape(case.stored.shape)
    before = run(case.model(case.stored), x=case.input)[0]
    after = run(case.model(w), x=case.input)[0]
    rows, silenced = (front(y, case.y, case.outputs) for y in (before, after))
    assert np.any(rows[-1])
    assert not np.any(silenced[-1])
    assert np.allclose(silenced[:-1], rows[:-1], atol=1e-6)


@pytest.mark.parametrize("case", OPERATORS, ids=str)
def test_zeroing_a_column_makes_the_outputs_deaf_to_one_input_channel(case: Case) -> None:
    layout = look(case.model(case.stored)).weights["w"].layout
    zeroed = case.matrix.copy()
    zeroed.reshape(len(zeroed), -1, layout.input_count)[:, :, -1] = 0
    deaf = case.model(layout.flat(zeroed).reshape(case.stored.shape))
    order = [case.x.index(letter) for letter in case.inputs]
    other = case.input.copy()
    np.moveaxis(other, order, range(len(order)))[(-1,) * len(order)] += 1
    assert np.any(
        run(case.model(case.stored), x=other)[0]
        != run(case.model(case.stored), x=case.input)[0]
    )
    assert np.array_equal(run(deaf, x=other)[0], run(deaf, x=case.input)[0])


def kept(name: str, proto: onnx.ModelProto) -> tuple[Array, int, int]:
    found = look(proto)
    layout = found.weights[name].layout
    return found.matrices[name], layout.output_count, layout.input_count


def test_a_grouped_convolution_has_the_input_channels_of_one_group() -> None:
    w = weight("w", 4, 3, 2, 5)
    proto = model([node("Conv x w -> y", group=2)], {"x": (1, 6, 7, 8)}, "y", [w])
    matrix, outputs, inputs = kept("w", proto)
    assert np.array_equal(
        matrix, numpy_helper.to_array(w).transpose(0, 2, 3, 1).reshape(4, 30)
    )
    assert (outputs, inputs) == (4, 3)


def test_a_depthwise_convolution_has_one_input_channel() -> None:
    w = weight("w", 6, 1, 2, 5)
    proto = model([node("Conv x w -> y", group=6)], {"x": (1, 6, 7, 8)}, "y", [w])
    matrix, outputs, inputs = kept("w", proto)
    assert np.array_equal(matrix, numpy_helper.to_array(w).reshape(6, 10))
    assert (outputs, inputs) == (6, 1)


def test_a_grouped_transposed_convolution_has_the_outputs_of_all_groups() -> None:
    w = weight("w", 6, 4, 2, 5)
    layer = node("ConvTranspose x w -> y", group=3)
    x = numpy_helper.to_array(weight("x", 1, 6, 7, 8))
    proto = model([layer], {"x": x.shape}, "y", [w])
    matrix, outputs, inputs = kept("w", proto)
    assert (outputs, inputs) == (12, 2)
    by_group = numpy_helper.to_array(w).reshape(3, 2, 4, 10)
    assert np.array_equal(matrix, by_group.transpose(0, 2, 3, 1).reshape(12, 20))
    matrix[5] = 0
    flat = look(proto).weights["w"].layout.flat(matrix).reshape(6, 4, 2, 5)
    silenced = model([layer], {"x": x.shape}, "y", [numpy_helper.from_array(flat, "w")])
    y = run(silenced, x=x)[0]
    assert [unit for unit in range(12) if not np.any(y[:, unit])] == [5]


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_a_recurrent_layer_has_the_gates_of_both_directions_as_outputs(
    op: str, gates: int
) -> None:
    w, r = weight("w", 2, gates * 5, 3), weight("r", 2, gates * 5, 5)
    layer = node(f"{op} x w r -> y", "layer", hidden_size=5, direction="bidirectional")
    found = look(model([layer], {"x": (7, 4, 3)}, "y", [w, r]))
    for name, tensor, inputs in (("w", w, 3), ("r", r, 5)):
        of = found.weights[name]
        assert (of.op, of.node, of.layout.input_count) == (op, "layer", inputs)
        rows = numpy_helper.to_array(tensor).reshape(gates * 10, inputs)
        assert np.array_equal(found.matrices[name], rows)


def test_an_einsum_with_an_ellipsis_reads_a_constant_that_has_none() -> None:
    layer = node("Einsum x w -> y", equation="...i,io->...o")
    found = look(model([layer], {"x": ("N", 7, 3)}, "y", [weight("w", 3, 5)]))
    assert np.array_equal(found.matrices["w"], numpy_helper.to_array(weight("w", 3, 5)).T)


def test_an_attention_reads_its_weights_as_a_product_from_the_right() -> None:
    far = node(
        "LongformerAttention x w b mask v b s -> h",
        "far",
        "com.microsoft",
        num_heads=2,
        window=2,
    )
    near = node("Attention h u b -> y", "near", "com.microsoft", num_heads=2)
    tensors = [weight("u", 4, 18), weight("v", 4, 18), weight("w", 4, 18), weight("b", 18)]
    found = look(
        model([far, near], {"x": (1, 6, 4), "mask": (1, 6), "s": (1, 6)}, "y", tensors)
    )
    assert [(of.path, of.op, of.node) for of in found.weights.values()] == [
        ("w", "LongformerAttention", "far"),
        ("v", "LongformerAttention", "far"),
        ("u", "Attention", "near"),
    ]
    for tensor in tensors[:3]:
        assert np.array_equal(found.matrices[tensor.name], numpy_helper.to_array(tensor).T)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "bfloat16"])
def test_weights_of_every_float_type_are_read_with_their_exact_values(kind: str) -> None:
    dtype = np.dtype(ml_dtypes.bfloat16 if kind == "bfloat16" else kind)
    w = weight("w", 3, 5, dtype=dtype)
    found = look(model([node("MatMul x w -> y")], {"x": ("N", 3)}, "y", [w]))
    assert (found.weights["w"].dtype, found.weights["w"].size) == (kind, 15)
    exact = numpy_helper.to_array(w).astype(np.float64)
    assert np.array_equal(found.matrices["w"].astype(np.float64), exact.T)
