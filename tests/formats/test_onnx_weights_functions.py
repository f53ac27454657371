"""Weights that pass through calls of model-local functions, and those that live in them."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxprune.errors import InputError
from tests.models import Array, function, graph, look, model, node, weight


def values(name: str, *shape: int) -> Array:
    return numpy_helper.to_array(weight(name, *shape))


def call(text: str, name: str = "", **attributes: object) -> onnx.NodeProto:
    return node(text, name, "local", **attributes)


def refer(made: onnx.NodeProto, name: str, to: str, kind: int) -> onnx.NodeProto:
    """Let an attribute of a function's node take the value of the caller's attribute."""
    made.attribute.add(name=name, ref_attr_name=to, type=kind)
    return made


LINEAR = function(
    "Linear", "a b -> c", [node("Transpose b -> t"), node("MatMul a t -> c", "product")]
)
FLIP = function("Flip", "a -> b", [node("Transpose a -> b", perm=[1, 0])])
INTS = onnx.AttributeProto.INTS
INT = onnx.AttributeProto.INT


def test_a_weight_is_followed_into_the_function_that_uses_it() -> None:
    proto = model(
        [call("Linear x w -> y")], {"x": ("N", 3)}, "y", [weight("w", 5, 3)], [LINEAR]
    )
    found = look(proto)
    assert (found.weights["w"].op, found.weights["w"].node) == (
        "MatMul",
        "function:Linear/product",
    )
    assert np.array_equal(found.matrices["w"], values("w", 5, 3))


def test_a_weight_is_followed_through_functions_that_call_functions() -> None:
    outer = function("Outer", "p q -> r", [call("Linear q p -> r")])
    outer.opset_import.append(onnx.helper.make_opsetid("local", 1))
    proto = model(
        [call("Outer w x -> y")], {"x": ("N", 3)}, "y", [weight("w", 5, 3)], [outer, LINEAR]
    )
    found = look(proto)
    assert found.weights["w"].node == "function:Linear/product"
    assert np.array_equal(found.matrices["w"], values("w", 5, 3))


def test_a_weight_is_followed_out_of_a_function_that_only_moves_it() -> None:
    nodes = [call("Flip w -> t"), node("MatMul x t -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 5, 3)], [FLIP]))
    assert (found.weights["w"].op, found.weights["w"].node) == ("MatMul", "layer")
    assert np.array_equal(found.matrices["w"], values("w", 5, 3))


def test_each_call_hands_on_its_own_argument() -> None:
    nodes = [
        call("Flip u -> t"),
        call("Flip w -> v"),
        node("MatMul x t -> h", "first"),
        node("Conv image k -> i", "image"),
        node("Add v h -> y", "last"),
        node("MatMul x f -> z", "never"),
    ]
    tensors = [
        weight("u", 5, 3),
        weight("w", 5, 7),
        weight("k", 4, 3, 2, 2),
        weight("f", 3, 2),
    ]
    found = look(model(nodes, {"x": (7, 3), "image": (1, 3, 6, 6)}, "y z", tensors, [FLIP]))
    assert found.weights["u"].node == "first"
    assert found.skipped["w"] == "added (a bias or an offset)"


def test_a_weight_may_pass_through_the_same_function_twice() -> None:
    nodes = [call("Flip w -> a"), call("Flip a -> b"), node("MatMul x b -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 5)], [FLIP]))
    assert found.weights["w"].node == "layer"
    assert np.array_equal(found.matrices["w"], values("w", 3, 5).T)


def test_a_weight_comes_back_out_of_nested_calls_where_it_went_in() -> None:
    outer = function("Outer", "a -> b", [call("Flip a -> b")])
    outer.opset_import.append(onnx.helper.make_opsetid("local", 1))
    nodes = [
        call("Outer u -> t"),
        call("Outer w -> v"),
        node("MatMul x v -> h", "first"),
        node("MatMul h t -> y", "second"),
    ]
    tensors = [weight("u", 5, 3), weight("w", 3, 3)]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors, [outer, FLIP]))
    assert {of.path: of.node for of in found.weights.values()} == {"w": "first", "u": "second"}
    assert np.array_equal(found.matrices["u"], values("u", 5, 3))


def test_a_function_s_attribute_is_the_one_of_its_caller() -> None:
    body = [refer(node("Transpose a -> b"), "perm", "order", INTS)]
    move = function("Move", "a -> b", body, order=None)
    nodes = [call("Move w -> v", order=[3, 2, 0, 1]), node("Conv x v -> y")]
    found = look(model(nodes, {"x": (1, 3, 6, 6)}, "y", [weight("w", 2, 5, 3, 4)], [move]))
    rows = values("w", 2, 5, 3, 4).transpose(3, 0, 1, 2).reshape(4, 30)
    assert np.array_equal(found.matrices["w"], rows)


@pytest.mark.parametrize(("given", "flipped"), [({}, True), ({"flip": 0}, False)])
def test_an_attribute_that_the_caller_leaves_out_has_the_function_s_default(
    given: dict[str, int], flipped: bool
) -> None:
    body = [refer(node("Gemm a b -> c"), "transB", "flip", INT)]
    dense = function("Dense", "a b -> c", body, flip=1)
    found = look(
        model(
            [call("Dense x w -> y", **given)], {"x": (2, 3)}, "y", [weight("w", 3, 3)], [dense]
        )
    )
    stored = values("w", 3, 3)
    assert np.array_equal(found.matrices["w"], stored if flipped else stored.T)


@pytest.mark.parametrize(("given", "flipped"), [({}, True), ({"flip": 0}, False)])
def test_an_attribute_reaches_the_branches_inside_a_function(
    given: dict[str, int], flipped: bool
) -> None:
    flat = refer(node("Gemm a b -> d"), "transB", "flip", INT)
    branches = {
        "then_branch": graph([flat], None, "d"),
        "else_branch": graph([flat], None, "d"),
    }
    dense = function("Dense", "k a b -> c", [node("If k -> c", **branches)], flip=1)
    nodes = [call("Dense k x w -> y", **given)]
    proto = model(nodes, {"x": (2, 3), "k": ()}, "y", [weight("w", 3, 3)], [dense])
    stored = values("w", 3, 3)
    assert np.array_equal(look(proto).matrices["w"], stored if flipped else stored.T)


def test_an_attribute_is_handed_down_through_nested_calls() -> None:
    inner = function(
        "Inner", "a b -> c", [refer(node("Gemm a b -> c"), "transB", "flip", INT)], flip=0
    )
    outer = function(
        "Outer", "a b -> c", [refer(call("Inner a b -> c"), "flip", "turn", INT)], turn=None
    )
    outer.opset_import.append(onnx.helper.make_opsetid("local", 1))
    proto = model(
        [call("Outer x w -> y", turn=1)],
        {"x": (2, 3)},
        "y",
        [weight("w", 3, 3)],
        [outer, inner],
    )
    assert np.array_equal(look(proto).matrices["w"], values("w", 3, 3))


def test_a_constant_in_a_function_is_a_weight_with_the_function_in_its_path() -> None:
    body = [node("Constant -> w", value=weight("w", 3, 5)), node("MatMul a w -> b", "product")]
    dense = function("Dense", "a -> b", body)
    found = look(model([call("Dense x -> y")], {"x": ("N", 3)}, "y", [], [dense]))
    of = found.weights["function:Dense/w"]
    assert (of.op, of.node, of.shape) == ("MatMul", "function:Dense/product", (3, 5))
    assert np.array_equal(found.matrices["function:Dense/w"], values("w", 3, 5).T)


def test_a_constant_that_a_function_returns_is_followed_to_its_callers() -> None:
    given = function("Given", "-> w", [node("Constant -> w", value=weight("w", 3, 5))])
    nodes = [call("Given -> v"), node("MatMul x v -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [], [given]))
    assert found.weights["function:Given/w"].node == "layer"


def test_a_function_s_names_do_not_meet_those_of_the_graph() -> None:
    body = [node("Constant -> w", value=weight("inner", 3, 5)), node("MatMul a w -> b")]
    nodes = [call("Dense x -> h"), node("MatMul h w -> y")]
    proto = model(
        nodes, {"x": ("N", 3)}, "y", [weight("w", 5, 2)], [function("Dense", "a -> b", body)]
    )
    found = look(proto)
    assert np.array_equal(found.matrices["w"], values("w", 5, 2).T)
    assert np.array_equal(found.matrices["function:Dense/w"], values("inner", 3, 5).T)


def test_functions_of_one_name_in_two_domains_keep_their_weights_apart() -> None:
    def dense(domain: str, tensor: str) -> onnx.FunctionProto:
        body = [node("Constant -> w", value=weight(tensor, 3, 3)), node("MatMul a w -> b")]
        made = function("Dense", "a -> b", body)
        made.domain = domain
        return made

    nodes = [call("Dense x -> h"), node("Dense h -> y", "", "other")]
    proto = model(nodes, {"x": ("N", 3)}, "y", [], [dense("local", "u"), dense("other", "v")])
    found = look(proto)
    assert sorted(found.weights) == ["function:Dense/w", "function:Dense/w#2"]
    assert np.array_equal(found.matrices["function:Dense/w"], values("u", 3, 3).T)
    assert np.array_equal(found.matrices["function:Dense/w#2"], values("v", 3, 3).T)


def test_a_weight_given_to_a_caller_s_attribute_is_listed() -> None:
    body = [refer(node("Constant -> w"), "value", "kernel", onnx.AttributeProto.TENSOR)]
    dense = function("Dense", "a -> b", [*body, node("MatMul a w -> b")], kernel=None)
    nodes = [call("Dense x -> y", "here", kernel=weight("w", 3, 5))]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [], [dense]))
    assert not found.weights
    assert found.skipped == {"here.kernel": "attribute of a node"}


def test_a_call_with_more_inputs_than_its_function_has_is_refused() -> None:
    nodes = [call("Flip x w -> y")]
    with pytest.raises(InputError, match="function Flip is called with too many inputs"):
        look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 5)], [FLIP]))


def test_a_call_that_leaves_outputs_out_hands_on_the_others() -> None:
    both = function("Both", "a -> b c", [node("Transpose a -> b"), node("Identity a -> c")])
    nodes = [call("Both w -> t"), node("MatMul x t -> y", "layer")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("w", 5, 3)], [both]))
    assert np.array_equal(found.matrices["w"], values("w", 5, 3))
