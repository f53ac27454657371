import pytest

from onnxprune.errors import InputError
from onnxprune.reimport.bodies import body_of_graph, free_names
from tests import models
from tests.models import node, weight
from tests.reimport.imported import imported


def test_nodes_keep_their_order_if_it_will_do() -> None:
    graph = models.graph([node("Neg x -> a"), node("Abs x -> b"), node("Add a b -> y")])
    assert [position for position, _ in body_of_graph(graph, "").nodes] == [0, 1, 2]


def test_nodes_are_put_behind_those_they_read_from() -> None:
    graph = models.graph([node("Add a b -> y"), node("Neg x -> a"), node("Abs a -> b")])
    assert [position for position, _ in body_of_graph(graph, "").nodes] == [1, 2, 0]


def test_what_a_subgraph_reads_from_outside_counts() -> None:
    branch = models.graph([node("Add a w -> b")], {}, "b", [weight("w", 2)])
    choice = node("If c -> y", then_branch=branch, else_branch=branch)
    assert free_names(choice) == {"c", "a"}
    graph = models.graph([choice, node("Neg x -> a")])
    assert [position for position, _ in body_of_graph(graph, "").nodes] == [1, 0]


def test_a_name_that_a_subgraph_makes_itself_does_not_count() -> None:
    branch = models.graph([node("Neg x -> a"), node("Abs a -> b")], {}, "b")
    choice = node("If c -> y", then_branch=branch, else_branch=branch)
    assert free_names(choice) == {"c", "x"}


def test_a_circle_is_refused() -> None:
    graph = models.graph([node("Add x b -> a", "one"), node("Neg a -> b", "two")])
    with pytest.raises(InputError, match=r"^node '(one|two)' needs its own result$"):
        body_of_graph(graph, "")


def test_a_name_that_nothing_makes_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        imported(models.model([node("Add x z -> y")], {"x": [2]}))
    assert str(caught.value) == "'z' is read, but nothing makes it"
