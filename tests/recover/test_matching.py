"""What is matched of a model, and how far values are off from those of the dense one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from onnxprune.errors import UnsupportedError, UsageError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.recover.matching import Matched, class_axis, find_matched
from onnxprune.statistics.targets import Target
from tests.models import constant, graph, model, node, save, weight
from tests.recover.made import answer, fed_of
from tests.statistics.nets import Array, drawn

Y = drawn(1, 6, 4)


def found(folder: Path, proto: onnx.ModelProto, *globs: str) -> Matched:
    with load_onnx(save(folder / "m.onnx", proto)) as opened:
        return find_matched(opened, globs)


def network(*last: str, outputs: str = "y", integers: Sequence[str] = ()) -> onnx.ModelProto:
    """Two layers, with nodes of one's own behind them."""
    nodes = [
        node("MatMul x first -> a"),
        node("Relu a -> b"),
        node("MatMul b second -> scores"),
        *[node(text) for text in last],
    ]
    tensors = [weight("first", 3, 5), weight("second", 5, 4)]
    proto = model(nodes, {"x": ("n", 3)}, outputs, tensors)
    for value in proto.graph.output:
        if value.name in integers:
            value.type.tensor_type.elem_type = TensorProto.INT64
    return proto


def settled(*names: str, inner: Sequence[str] = (), **outputs: Any) -> Matched:
    matched = Matched([Target(name, name) for name in names], list(inner))
    matched.settle([answer(**outputs)])
    return matched


def distance(
    matched: Matched, there: dict[str, Any], here: dict[str, Any], rows: int
) -> float:
    return float(matched.distance(answer(**here), answer(**there), fed_of(np.zeros(rows))))


@pytest.mark.parametrize(
    ("last", "value"),
    [
        (["Identity scores -> y"], "y"),
        (["Softmax scores -> y"], "scores"),
        (["LogSoftmax scores -> y"], "scores"),
        (["Softmax scores -> p", "Identity p -> y"], "scores"),
        (["Sigmoid scores -> y"], "y"),
    ],
)
def test_outputs_are_matched_before_a_softmax(
    last: list[str], value: str, tmp_path: Path
) -> None:
    assert found(tmp_path, network(*last)).values == [value]


@pytest.mark.parametrize(
    "last", [["ArgMax scores -> y"], ["Softmax scores -> p", "ArgMax p -> y"]]
)
def test_a_decision_is_matched_by_its_scores(last: list[str], tmp_path: Path) -> None:
    matched = found(tmp_path, network(*last, integers=["y"]))
    assert matched.values == ["scores"]
    assert matched.targets[0].output == "y"


def test_several_outputs_are_matched_in_their_order_and_none_of_them_twice(
    tmp_path: Path,
) -> None:
    proto = network(
        "Relu b -> z", "Softmax scores -> y", "ArgMax scores -> c", outputs="z y c"
    )
    proto.graph.output[2].type.tensor_type.elem_type = TensorProto.INT64
    assert found(tmp_path, proto).values == ["z", "scores"]


def test_outputs_of_integers_are_left_out(tmp_path: Path) -> None:
    proto = network("Identity scores -> y", "Shape scores -> s", outputs="y s", integers=["s"])
    matched = found(tmp_path, proto)
    matched.settle([answer(y=Y, s=np.array([6, 4]))])
    assert matched.values == ["y"]
    assert list(matched.spreads) == ["y"]


@pytest.mark.parametrize(
    ("globs", "inner"),
    [
        (["a"], ["a"]),
        (["[ab]"], ["a", "b"]),
        (["b", "a", "b"], ["b", "a"]),
        (["*"], ["a", "b", "y"]),
        (["scores"], []),
        ([], []),
    ],
)
def test_values_inside_the_graph_are_named_by_globs(
    globs: list[str], inner: list[str], tmp_path: Path
) -> None:
    matched = found(tmp_path, network("Softmax scores -> y"), *globs)
    assert matched.inner == inner
    assert matched.values == ["scores", *inner]


def test_a_name_with_letters_that_globs_mean_something_by_is_found(tmp_path: Path) -> None:
    proto = network("Softmax scores -> y")
    for each in proto.graph.node:
        each.input[:] = ["a[0]" if name == "a" else name for name in each.input]
        each.output[:] = ["a[0]" if name == "a" else name for name in each.output]
    assert found(tmp_path, proto, "a[0]").inner == ["a[0]"]


@pytest.mark.parametrize("glob", ["c*", "x", "first", "A"])
def test_what_no_node_of_the_graph_makes_is_refused(glob: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        found(tmp_path, network("Softmax scores -> y"), "a", glob)
    assert caught.value.message == f"--match '{glob}' is no value of the graph"
    assert caught.value.hint == "netron shows their names"


def test_values_of_a_body_are_none_of_the_graph(tmp_path: Path) -> None:
    proto = network("Identity scores -> y")
    body = graph([node("Relu a -> inner")], outputs="inner")
    chosen = node("If yes -> c")
    for name in ("then_branch", "else_branch"):
        chosen.attribute.append(onnx.helper.make_attribute(name, body))
    proto.graph.initializer.append(constant("yes", True, bool))
    proto.graph.node.append(chosen)
    with pytest.raises(UsageError):
        found(tmp_path, proto, "inner")


def test_a_model_with_nothing_to_match_is_refused() -> None:
    matched = Matched([Target("y", "y")])
    with pytest.raises(UnsupportedError) as caught:
        matched.settle([answer(y=np.arange(3))])
    assert caught.value.message.startswith("no output is of floats, nor the place of the")
    assert caught.value.hint == "--match NAME names a value inside the graph"
    with pytest.raises(UnsupportedError):
        Matched([Target("y", "y")]).settle([answer(y=np.zeros((0, 4)))])


def test_a_value_inside_the_graph_is_enough_where_all_outputs_are_integers(
    tmp_path: Path,
) -> None:
    """As the hint of the refusal says."""
    proto = network("Shape scores -> y", integers=["y"])
    matched = found(tmp_path, proto, "scores")
    matched.settle([answer(y=np.array([6, 4]), scores=Y)])
    assert matched.values == ["scores"]


def test_values_inside_that_are_no_floats_are_left_out() -> None:
    matched = settled("y", inner=["i", "b", "gone"], y=Y, i=np.arange(3), b=Y)
    assert matched.values == ["y", "b"]


def test_a_spread_is_the_mean_square_around_the_mean() -> None:
    matched = settled("y", y=Y + 100)
    assert matched.spreads == {"y": pytest.approx(Y.var(), rel=1e-9)}


def test_a_spread_is_that_of_all_batches_together() -> None:
    matched = Matched([Target("y", "y")])
    matched.settle([answer(y=Y[:4]), answer(y=Y[4:] + 5), answer(y=Y[:1])])
    whole = np.concatenate([Y[:4], Y[4:] + 5, Y[:1]])
    assert matched.spreads == {"y": pytest.approx(whole.var(), rel=1e-9)}


def test_batches_may_be_of_differing_shapes() -> None:
    matched = Matched([Target("y", "y")])
    matched.settle([answer(y=Y), answer(y=Y[:, :3])])
    whole = np.concatenate([Y.reshape(-1), Y[:, :3].reshape(-1)])
    assert matched.spreads == {"y": pytest.approx(whole.var(), rel=1e-9)}


def softmax(scores: Array) -> Array:
    found = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return np.asarray(found)


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_probabilities_are_matched_by_their_logarithms(shape: tuple[int, ...]) -> None:
    there, here = softmax(Y.reshape(shape)), softmax(drawn(2, *shape))
    matched = settled("y", inner=["b"], y=there, b=Y)
    assert matched.shares == {"y"}
    logs = np.log(there + 1e-4)
    assert matched.spreads["y"] == pytest.approx(logs.var(), rel=1e-9)
    found = distance(matched, {"y": there, "b": Y}, {"y": here, "b": Y}, shape[0])
    wanted = np.square(np.log(here + 1e-4) - logs).mean() / logs.var() / 2
    assert found == pytest.approx(wanted, rel=1e-6)


def test_probabilities_of_nothing_are_no_hindrance() -> None:
    there, here = np.eye(4), np.roll(np.eye(4), 1, axis=1)
    found = distance(settled("y", y=there), {"y": there}, {"y": here}, 4)
    # Half of them are as far off as can be.
    logs = np.log(there + 1e-4)
    wanted = np.square(np.log(here + 1e-4) - logs).mean() / logs.var()
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize(
    "values",
    [Y, softmax(Y)[:, :1], softmax(Y)[0], softmax(Y) * 1.01, np.array([[1.5, -0.5]] * 6)],
)
def test_what_does_not_add_up_to_one_is_matched_as_it_is(values: Array) -> None:
    assert settled("y", y=values).shares == set()


def test_what_adds_up_to_one_by_chance_in_one_batch_is_matched_as_it_is() -> None:
    matched = Matched([Target("y", "y")])
    matched.settle([answer(y=softmax(Y)), answer(y=Y)])
    assert matched.shares == set()


def test_the_distance_of_equal_values_is_zero_and_that_of_their_mean_one() -> None:
    matched = settled("y", inner=["b"], y=Y, b=1000 * Y)
    there = {"y": Y, "b": 1000 * Y}
    assert distance(matched, there, there, 6) == 0
    mean = {name: np.full_like(each, each.mean()) for name, each in there.items()}
    assert distance(matched, there, mean, 6) == pytest.approx(1, rel=1e-5)


def test_the_distance_is_the_mean_of_what_each_value_is_off() -> None:
    matched = settled("y", inner=["b"], y=Y, b=10 * Y)
    here = {"y": Y + 0.5, "b": 10 * Y}
    found = distance(matched, {"y": Y, "b": 10 * Y}, here, 6)
    assert found == pytest.approx(0.25 / Y.var() / 2, rel=1e-5)


def test_rows_that_fill_a_batch_up_are_no_part_of_the_distance() -> None:
    matched = settled("y", y=Y)
    here = Y.copy()
    here[4:] += 7
    found = matched.distance(answer(y=here), answer(y=Y), fed_of(Y, count=4))
    assert float(found) == 0


def test_what_is_infinite_in_the_dense_model_is_not_compared() -> None:
    wanted = Y.copy()
    wanted[0, 0], wanted[1, 1], wanted[2, 2] = -np.inf, np.inf, np.nan
    matched = settled("y", y=wanted)
    known = wanted[np.isfinite(wanted)]
    assert matched.spreads["y"] == pytest.approx(known.var(), rel=1e-9)
    here = answer(y=wanted)["y"].requires_grad_()
    off = matched.distance({"y": here}, answer(y=wanted), fed_of(wanted))
    assert float(off.detach()) == 0
    off.backward()  # type: ignore[no-untyped-call]
    assert here.grad is not None
    assert bool((here.grad == 0).all())


def test_outputs_that_are_all_infinite_are_no_hindrance() -> None:
    nothing = np.full((6, 4), -np.inf)
    matched = settled("y", y=nothing)
    assert distance(matched, {"y": nothing}, {"y": Y}, 6) == 0


def test_a_constant_output_is_no_division_by_nothing() -> None:
    constant = np.full((6, 4), 3.0)
    matched = settled("y", y=constant)
    assert matched.spreads["y"] > 0
    assert distance(matched, {"y": constant}, {"y": constant}, 6) == 0
    assert 0 < distance(matched, {"y": constant}, {"y": constant + 1}, 6) < np.inf


def test_a_value_that_is_no_number_makes_the_distance_none() -> None:
    here = Y.copy()
    here[3, 3] = np.nan
    assert np.isnan(distance(settled("y", y=Y), {"y": Y}, {"y": here}, 6))


@pytest.mark.parametrize(
    ("axis", "shape", "wanted"),
    [
        (None, (6, 4), 1),
        (None, (6, 1), None),
        (None, (6,), None),
        (None, (6, 4, 2), None),
        (2, (6, 4, 2), 2),
        (1, (6, 4), 1),
    ],
)
def test_classes_lie_where_the_graph_says_or_in_the_second_of_two_dimensions(
    axis: int | None, shape: tuple[int, ...], wanted: int | None
) -> None:
    assert class_axis(Target("y", "y", axis=axis), torch.zeros(shape)) == wanted


def test_a_difference_is_weighed_by_how_its_own_value_spreads() -> None:
    small: Array = Y / 1000
    matched = settled("y", "z", y=Y, z=small)
    off = [
        distance(matched, {"y": Y, "z": small}, {"y": Y + 0.1, "z": small}, 6),
        distance(matched, {"y": Y, "z": small}, {"y": Y, "z": small + 0.0001}, 6),
    ]
    assert off[0] == pytest.approx(off[1], rel=1e-3)
