"""Every place of every rule takes a weight, and those that no runtime here can run are read."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import helper, numpy_helper

from onnxprune.errors import InputError
from onnxprune.formats.onnx_rules import QUANTIZED, RULES, TABLES
from tests.models import Array, constant, look, model, node, weight

PLACES = [(*key, index) for key, rules in (RULES | TABLES).items() for index in rules]
DESIGNED = [
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    "LSTM",
    "GRU",
    "RNN",
    "Einsum",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "com.microsoft.FusedConv",
    "com.microsoft.FusedMatMul",
    "com.microsoft.FusedGemm",
    "com.microsoft.Attention",
    "com.microsoft.QAttention",
    "com.microsoft.QGemm",
]
LETTERS = "abcdefgh"
WRONG = [
    ("ConvTranspose x w -> y", "group", 1.5, "FLOAT, INT"),
    ("Gemm x w -> y", "transB", "yes", "STRING, INT"),
    ("Gather w x -> y", "axis", [0], "INTS, INT"),
    ("Einsum x w -> y", "equation", 4, "INT, STRING"),
    ("Transpose w -> y", "perm", 1, "INT, INTS"),
    ("Flatten w -> y", "axis", "1", "STRING, INT"),
    ("DequantizeLinear q s -> y", "axis", 0.0, "FLOAT, INT"),
    ("DequantizeLinear q s -> y", "block_size", [2], "INTS, INT"),
]


@pytest.mark.parametrize(("domain", "op", "index"), PLACES)
def test_every_place_of_a_rule_takes_a_weight(domain: str, op: str, index: int) -> None:
    recurrent = op in ("LSTM", "GRU", "RNN")
    inputs = [f"i{place}" for place in range(9)]
    inputs[index] = "w"
    attributes = {}
    if op == "Einsum":
        attributes["equation"] = ",".join(f"{letter}z" for letter in LETTERS) + "->abcdefgh"
        inputs = inputs[:8]
    layer = helper.make_node(op, inputs, ["y"], "layer", domain=domain, **attributes)
    shape = (1, 3, 5) if recurrent else (3, 5)
    parameters = QUANTIZED.get((domain, op), {}).get(index, ())[:2]
    ones = [constant(inputs[place], 1) for place in parameters if place is not None]
    tensors = [weight("w", *shape), *ones]
    found = look(model([layer], {}, "y", tensors))
    of = found.weights["w"]
    assert (of.op, of.node, of.size) == (op, "layer", 15)
    assert of.embedding == (op in ("Gather", "EmbedLayerNormalization"))


@pytest.mark.parametrize("name", DESIGNED)
def test_every_operator_of_the_design_has_a_rule(name: str) -> None:
    domain, _, op = name.rpartition(".")
    assert RULES[domain, op]


@pytest.mark.parametrize(
    ("text", "domain", "shape", "matrix"),
    [
        (
            "DeformConv x w offset -> y",
            "",
            (4, 3, 2, 5),
            lambda w: w.transpose(0, 2, 3, 1).reshape(4, 30),
        ),
        ("GemmFastGelu x w -> y", "com.microsoft", (3, 5), np.transpose),
        ("EmbedLayerNormalization a b w p s -> y", "com.microsoft", (7, 4), np.array),
        ("EmbedLayerNormalization a b t w s -> y", "com.microsoft", (7, 4), np.array),
        ("EmbedLayerNormalization a b t p w -> y", "com.microsoft", (2, 4), np.array),
    ],
)
def test_an_operator_that_only_some_runtimes_know_is_read_by_its_definition(
    text: str, domain: str, shape: tuple[int, ...], matrix: Callable[[Array], Array]
) -> None:
    tensor = weight("w", *shape)
    found = look(model([node(text, "layer", domain)], {"x": ("N", 3)}, "y", [tensor]))
    assert found.weights["w"].op == text.split()[0]
    assert np.array_equal(found.matrices["w"], matrix(numpy_helper.to_array(tensor)))


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("Conv x w -> y", (15,)),
        ("ConvTranspose x w -> y", (15,)),
        ("LSTM x w r -> y", (3, 5)),
        ("RNN x w r -> y", (1, 3, 5, 2)),
        ("Einsum x w -> y", (3, 5, 2)),
    ],
)
def test_a_tensor_whose_rank_an_operator_cannot_take_is_no_weight(
    text: str, shape: tuple[int, ...]
) -> None:
    attributes = {"equation": "ab,bc->ac"} if text.startswith("Einsum") else {}
    proto = model([node(text, **attributes)], {"x": ("N", 3)}, "y", [weight("w", *shape)])
    assert look(proto).skipped == {"w": f"input 1 of {text.split()[0]}, which is no weight"}


def test_a_weight_of_more_than_eight_dimensions_is_skipped() -> None:
    layer = node("MatMul x w -> y")
    found = look(model([layer], {}, "y", [weight("w", *[1] * 7, 3, 5)]))
    assert found.skipped == {"w": "more than 8 dimensions"}
    assert list(look(model([layer], {}, "y", [weight("w", *[1] * 6, 3, 5)])).weights) == ["w"]


@pytest.mark.parametrize(("text", "name", "value", "said"), WRONG)
def test_an_attribute_of_another_type_is_refused(
    text: str, name: str, value: object, said: str
) -> None:
    layer = node(text, "layer", **{name: value})
    tensors = [weight("w", 2, 2), weight("q", 2, 2, dtype=np.int8), weight("s", 2)]
    with pytest.raises(InputError, match=f"'layer': {name} is {said} expected"):
        look(model([layer], {"x": (2, 2)}, "y", tensors))


def test_an_attribute_without_a_type_is_refused() -> None:
    layer = node("Gemm x w -> y", "layer", transB=1)
    layer.attribute[0].ClearField("type")
    with pytest.raises(InputError, match="transB is UNDEFINED, INT expected"):
        look(model([layer], {"x": (2, 2)}, "y", [weight("w", 2, 2)]))


def test_an_equation_that_is_no_text_takes_no_weight() -> None:
    layer = node("Einsum x w -> y", "layer", equation=b"ij,j\xff->i")
    found = look(model([layer], {"x": (2, 2)}, "y", [weight("w", 2, 2)]))
    assert set(found.weights) | set(found.skipped) == {"w"}
