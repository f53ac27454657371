"""Weights come in the order of the nodes that use them first, however the file stores them."""

import itertools

import pytest

from tests.models import function, graph, look, model, node, weight

CHAIN = [
    node("MatMul x a -> h", "first"),
    node("MatMul h b -> i", "second"),
    node("MatMul i c -> y", "third"),
]


@pytest.mark.parametrize("names", list(itertools.permutations("abc")))
def test_the_order_of_initializers_does_not_matter(names: tuple[str, ...]) -> None:
    tensors = [weight(name, 3, 3) for name in names]
    assert list(look(model(CHAIN, {"x": ("N", 3)}, "y", tensors)).weights) == ["a", "b", "c"]


@pytest.mark.parametrize("names", ["wr", "rw"])
def test_weights_of_one_node_come_in_the_order_of_its_inputs(names: str) -> None:
    tensors = {"w": weight("w", 1, 20, 3), "r": weight("r", 1, 20, 5)}
    nodes = [node("LSTM x w r -> y", hidden_size=5)]
    found = look(model(nodes, {"x": (7, 1, 3)}, "y", [tensors[name] for name in names]))
    assert list(found.weights) == ["w", "r"]


def test_a_constant_node_s_place_is_that_of_its_user() -> None:
    nodes = [
        node("Constant -> b", value=weight("b", 3, 3)),
        node("Constant -> a", value=weight("a", 3, 3)),
        *CHAIN,
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("c", 3, 3)]))
    assert list(found.weights) == ["a", "b", "c"]


def test_a_weight_used_twice_has_the_place_of_its_first_use() -> None:
    nodes = [
        node("MatMul x a -> h", "first"),
        node("MatMul h b -> i", "second"),
        node("MatMul i a -> y", "third"),
    ]
    tensors = [weight("b", 3, 3), weight("a", 3, 3)]
    found = look(model(nodes, {"x": ("N", 3)}, "y", tensors))
    assert [(of.path, of.node) for of in found.weights.values()] == [
        ("a", "first"),
        ("b", "second"),
    ]


def test_a_weight_that_is_moved_late_has_the_place_of_the_operator_not_of_the_move() -> None:
    nodes = [
        node("Transpose b -> t"),
        node("MatMul x a -> h"),
        node("MatMul h t -> y"),
    ]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("b", 3, 3), weight("a", 3, 3)]))
    assert list(found.weights) == ["a", "b"]


def test_subgraphs_come_at_the_place_of_the_node_that_holds_them() -> None:
    def body(name: str, out: str) -> object:
        tensors = [weight(f"{name}2", 3, 3), weight(name, 3, 3)]
        nodes = [node(f"MatMul h {name} -> {out}1"), node(f"MatMul {out}1 {name}2 -> {out}")]
        return graph(nodes, None, out, tensors)

    nodes = [
        node("MatMul x a -> h"),
        node("If c -> i", "if", then_branch=body("t", "p"), else_branch=body("e", "q")),
        node("MatMul i b -> y"),
    ]
    proto = model(nodes, {"x": (2, 3), "c": ()}, "y", [weight("b", 3, 3), weight("a", 3, 3)])
    # The onnx package writes attributes in the order of their names.
    assert list(look(proto).weights) == [
        "a",
        "if.else_branch/e",
        "if.else_branch/e2",
        "if.then_branch/t",
        "if.then_branch/t2",
        "b",
    ]


def test_functions_come_behind_the_graph_in_their_own_order() -> None:
    def dense(name: str) -> object:
        body = [node("Constant -> w", value=weight(name, 3, 3)), node("MatMul a w -> b")]
        return function(name, "a -> b", body)

    nodes = [
        node("Late x -> h", domain="local"),
        node("Early h -> i", domain="local"),
        node("MatMul i w -> y"),
    ]
    proto = model(
        nodes, {"x": ("N", 3)}, "y", [weight("w", 3, 3)], [dense("Early"), dense("Late")]
    )
    assert list(look(proto).weights) == ["w", "function:Early/w", "function:Late/w"]


def test_more_than_ten_nodes_are_ordered_by_number() -> None:
    nodes = [node(f"MatMul h{i} w{i} -> h{i + 1}") for i in range(12)]
    tensors = [weight(f"w{i}", 2, 2) for i in reversed(range(12))]
    found = look(model(nodes, {"h0": ("N", 2)}, "h12", tensors))
    assert list(found.weights) == [f"w{i}" for i in range(12)]


def test_skipped_tensors_are_listed_once_each() -> None:
    nodes = [node("Add x t -> h"), node("Mul h t -> i"), node("MatMul i w -> y")]
    found = look(model(nodes, {"x": ("N", 3)}, "y", [weight("t", 3), weight("w", 3, 3)]))
    assert found.skipped == {"t": "added (a bias or an offset)"}
