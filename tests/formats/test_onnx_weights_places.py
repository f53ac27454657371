"""Where a weight may live: initializers, Constant nodes, and the bodies of If, Loop and Scan."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from tests.models import Array, constant, graph, look, model, node, port, run, save, weight


def values(name: str, *shape: int) -> Array:
    return numpy_helper.to_array(weight(name, *shape))


def product(out: str = "y", name: str = "") -> onnx.NodeProto:
    return node(f"MatMul x w -> {out}", name)


def branch(tensor: str, out: str, *shape: int) -> onnx.GraphProto:
    """Make a branch of an If that multiplies by its own initializer `w`."""
    own = numpy_helper.from_array(values(tensor, *shape), "w")
    return graph([product(out, "inner")], None, out, [own])


def choice(
    then: onnx.GraphProto, otherwise: onnx.GraphProto, out: str = "y"
) -> onnx.NodeProto:
    return node(f"If c -> {out}", "choice", then_branch=then, else_branch=otherwise)


def test_an_initializer_is_found() -> None:
    found = look(model([product("y", "layer")], {"x": ("N", 3)}, "y", [weight("w", 3, 5)]))
    of = found.weights["w"]
    assert (of.path, of.op, of.node, of.shape) == ("w", "MatMul", "layer", (3, 5))
    assert not of.embedding
    assert not found.skipped
    assert not found.warnings


def test_a_node_without_a_name_goes_by_its_output() -> None:
    found = look(model([product()], {"x": ("N", 3)}, "y", [weight("w", 3, 5)]))
    assert found.weights["w"].node == "y"


def test_the_value_of_a_constant_node_is_found_under_its_output_s_name() -> None:
    nodes = [node("Constant -> w", value=weight("other", 3, 5)), product()]
    found = look(model(nodes, {"x": ("N", 3)}))
    assert np.array_equal(found.matrices["w"], values("other", 3, 5).T)


def test_the_floats_of_a_constant_node_are_found_through_a_reshape() -> None:
    stored = values("w", 15)
    nodes = [
        node("Constant -> flat", value_floats=stored.tolist()),
        node("Constant -> shape", value_ints=[3, 5]),
        node("Reshape flat shape -> w"),
        product(),
    ]
    found = look(model(nodes, {"x": ("N", 3)}))
    assert found.weights["flat"].shape == (15,)
    assert found.weights["flat"].dtype == "float32"
    assert np.array_equal(found.matrices["flat"], stored.reshape(3, 5).T)


def test_both_branches_of_an_if_may_hold_a_weight_of_the_same_name() -> None:
    nodes = [choice(branch("one", "a", 3, 5), branch("two", "b", 3, 5))]
    found = look(model(nodes, {"x": (2, 3), "c": ()}))
    # The onnx package writes attributes in the order of their names.
    assert list(found.weights) == ["choice.else_branch/w", "choice.then_branch/w"]
    assert np.array_equal(found.matrices["choice.then_branch/w"], values("one", 3, 5).T)
    assert np.array_equal(found.matrices["choice.else_branch/w"], values("two", 3, 5).T)
    assert found.weights["choice.then_branch/w"].node == "choice.then_branch/inner"


def nested() -> onnx.ModelProto:
    """Choose among three weights, all named `w`, by two conditions."""
    inner = graph([choice(branch("one", "a", 3, 5), branch("two", "b", 3, 5), "i")], None, "i")
    flag = port("c", (), TensorProto.BOOL)
    proto = model([choice(inner, branch("three", "b", 3, 5))], {"x": (2, 3)})
    proto.graph.input.append(flag)
    return proto


def test_nested_branches_have_one_path_each() -> None:
    assert set(look(nested()).weights) == {
        "choice.then_branch/choice.then_branch/w",
        "choice.then_branch/choice.else_branch/w",
        "choice.else_branch/w",
    }


def test_weights_of_one_name_in_nested_branches_are_pruned_independently(
    tmp_path: Path,
) -> None:
    path, output = save(tmp_path / "in.onnx", nested()), tmp_path / "out.onnx"
    recipe = make_recipe({"sparsity": 0.4, "method": "uniform"})
    report = prune_file(path, recipe, Settings(output=output, verify=False))
    assert [tensor.tally.zeros for tensor in report.tensors] == [6, 6, 6]
    pruned = onnx.load(output).graph.node[0].attribute
    branches = {attribute.name: attribute.g for attribute in pruned}
    inner = {a.name: a.g for a in branches["then_branch"].node[0].attribute}
    for body, name in (
        (inner["then_branch"], "one"),
        (inner["else_branch"], "two"),
        (branches["else_branch"], "three"),
    ):
        w = values(name, 3, 5)
        smallest = np.sort(np.abs(w), axis=None)[5]
        kept = np.where(np.abs(w) > smallest, w, 0)
        assert np.array_equal(numpy_helper.to_array(body.initializer[0]), kept)


def test_a_weight_around_an_if_is_found_where_its_branch_uses_it() -> None:
    then = graph([product("a", "inner")], None, "a")
    other = graph([node("Identity zeros -> b")], None, "b")
    tensors = [weight("w", 3, 5), constant("zeros", np.zeros((2, 5)))]
    found = look(model([choice(then, other)], {"x": (2, 3), "c": ()}, "y", tensors))
    assert found.weights["w"].node == "choice.then_branch/inner"
    assert found.skipped["zeros"] == "output of the graph"


def test_a_weight_that_an_if_chooses_is_followed_out_of_its_branches() -> None:
    def chosen(tensor: str, out: str) -> onnx.GraphProto:
        return graph([node(f"Constant -> {out}", value=weight(tensor, 5, 3))], None, out)

    nodes = [
        choice(chosen("one", "a"), chosen("two", "b"), "w"),
        node("Gemm x w -> y", "layer", transB=1),
    ]
    found = look(model(nodes, {"x": (2, 3), "c": ()}))
    assert {of.node for of in found.weights.values()} == {"layer"}
    assert np.array_equal(found.matrices["choice.then_branch/a"], values("one", 5, 3))
    assert np.array_equal(found.matrices["choice.else_branch/b"], values("two", 5, 3))


def test_a_name_in_a_branch_hides_the_same_name_around_it() -> None:
    other = graph([product("b", "outer")], None, "b")
    nodes = [choice(branch("inner", "a", 3, 5), other)]
    found = look(model(nodes, {"x": (2, 3), "c": ()}, "y", [weight("w", 3, 5)]))
    assert found.weights["w"].node == "choice.else_branch/outer"
    assert found.weights["choice.then_branch/w"].node == "choice.then_branch/inner"
    assert np.array_equal(found.matrices["choice.then_branch/w"], values("inner", 3, 5).T)


def test_a_computed_value_in_a_branch_hides_a_weight_around_it() -> None:
    own = graph([node("Relu x -> w"), node("MatMul w w -> a")], None, "a")
    other = graph([node("Relu x -> b")], None, "b")
    found = look(model([choice(own, other)], {"x": (3, 3), "c": ()}, "y", [weight("w", 3, 3)]))
    assert found.skipped == {"w": "unused"}


def test_a_weight_in_a_loop_s_body_is_found() -> None:
    body = graph(
        [node("MatMul h w -> g", "step"), node("Identity go -> on")],
        {"i": (), "go": (), "h": (2, 3)},
        "on g",
        [weight("w", 3, 3)],
    )
    found = look(model([node("Loop n _ x -> y", "loop", body=body)], {"n": (), "x": (2, 3)}))
    of = found.weights["loop.body/w"]
    assert (of.op, of.node, of.macs) == ("MatMul", "loop.body/step", None)
    assert np.array_equal(found.matrices["loop.body/w"], values("w", 3, 3).T)


def test_a_weight_around_a_scan_is_found_in_its_body() -> None:
    body = graph(
        [node("Gemm h w -> g", "step", transB=1), node("Identity g -> out")],
        {"h": (2, 3), "row": (2, 3)},
        "g out",
    )
    scan = node("Scan h0 x -> y z", "scan", body=body, num_scan_inputs=1)
    found = look(model([scan], {"h0": (2, 3), "x": (4, 2, 3)}, "y z", [weight("w", 3, 3)]))
    assert found.weights["w"].node == "scan.body/step"
    assert np.array_equal(found.matrices["w"], values("w", 3, 3))


def test_a_constant_that_a_loop_carries_is_listed_with_a_reason() -> None:
    body = graph([node("MatMul h w -> g")], {"i": (), "go": (), "h": (2, 3)}, "go g")
    loop = node("Loop n _ start -> y", body=body)
    found = look(model([loop], {"n": ()}, "y", [weight("start", 2, 3), weight("w", 3, 3)]))
    assert list(found.weights) == ["w"]
    assert found.skipped == {"start": "input 2 of Loop, which is no weight"}


def test_an_initializer_that_is_also_an_input_is_a_weight_and_a_warning() -> None:
    found = look(model([product()], {"x": ("N", 3), "w": (3, 5)}, "y", [weight("w", 3, 5)]))
    assert list(found.weights) == ["w"]
    assert found.warnings == ["'w' is also an input: a caller can override it"]


def test_a_weight_that_is_an_output_too_is_a_weight_and_a_warning() -> None:
    found = look(model([product()], {"x": ("N", 3)}, "y w", [weight("w", 3, 5)]))
    assert list(found.weights) == ["w"]
    assert found.warnings == ["'w' is an output of the graph, which changes with it"]


def test_an_initializer_that_is_only_an_output_is_skipped() -> None:
    tensors = [weight("w", 3, 5), weight("out", 2, 2)]
    found = look(model([product()], {"x": ("N", 3)}, "y out", tensors))
    assert found.skipped == {"out": "output of the graph"}
    assert not found.warnings


@pytest.mark.parametrize("external", [False, True], ids=["inline", "external"])
def test_a_pruned_weight_computes_what_the_mask_says(tmp_path: Path, external: bool) -> None:
    proto = model([product()], {"x": ("N", 3)}, "y", [weight("w", 3, 5)])
    path, output = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(proto, path, save_as_external_data=external, location="w.data", size_threshold=0)
    recipe = make_recipe({"sparsity": 0.6, "method": "global"})
    prune_file(path, recipe, Settings(output=output, verify=False))
    w = values("w", 3, 5)
    kept = np.where(np.abs(w) > np.sort(np.abs(w), axis=None)[8], w, 0)
    x = values("x", 2, 3)
    assert np.count_nonzero(kept) == 6
    assert np.allclose(run(onnx.load(output), x=x)[0], x @ kept, atol=1e-6)
