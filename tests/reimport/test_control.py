import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from onnxprune.errors import InputError, UnsupportedError
from tests import models
from tests.models import constant, model, node, weight
from tests.reimport.imported import agrees, confirmed, imported

X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)


def flag(name: str) -> onnx.ValueInfoProto:
    return models.port(name, [], TensorProto.BOOL)


def body(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
) -> onnx.GraphProto:
    return helper.make_graph(nodes, "body", inputs, outputs)


def looped(nodes: list[onnx.NodeProto], scanned: bool = False) -> onnx.GraphProto:
    inputs = [models.port("i", [], TensorProto.INT64), flag("going"), models.port("h", [2, 3])]
    outputs = [flag("on"), models.port("next", [2, 3])]
    if scanned:
        outputs.append(models.port("row", [2, 3]))
    return body(nodes, inputs, outputs)


def test_a_loop_reads_a_weight_from_around_it_every_time() -> None:
    inside = looped(
        [node("MatMul h w -> m"), node("Tanh m -> next"), node("Identity going -> on")]
    )
    nodes = [node("Loop n _ x -> y", body=inside)]
    tensors = [weight("w", 3, 3), constant("n", 3, np.int64)]
    module = confirmed(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X})
    assert list(module.tensors) == ["w"]


def test_what_each_turn_gives_is_stacked() -> None:
    inside = looped(
        [
            node("Mul h w -> next"),
            node("Identity going -> on"),
            node("Neg next -> row"),
        ],
        scanned=True,
    )
    nodes = [node("Loop n _ x -> y rows", body=inside)]
    tensors = [constant("w", [1, 2, 3]), constant("n", 2, np.int64)]
    confirmed(model(nodes, {"x": [2, 3]}, "y rows", tensors), {"x": X})


def test_a_loop_ends_when_its_condition_says_so() -> None:
    inside = looped(
        [
            node("Add h one -> next"),
            node("ReduceMax next -> largest", keepdims=0),
            node("Less largest limit -> on"),
        ]
    )
    nodes = [node("Loop _ c x -> y", body=inside)]
    tensors = [constant("one", 1), constant("limit", 7), constant("c", True, np.bool_)]
    agrees(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X})


def test_a_loop_without_a_turn_gives_what_went_in_and_no_rows() -> None:
    inside = looped(
        [node("Neg h -> next"), node("Identity going -> on"), node("Abs h -> row")], True
    )
    nodes = [node("Loop n _ x -> y rows", body=inside)]
    proto = model(nodes, {"x": [2, 3]}, "y rows", [constant("n", 0, np.int64)])
    found = imported(proto)(x=X)
    assert found["y"].tolist() == X.tolist()
    assert found["rows"].shape == (0, 2, 3)


def test_loops_inside_loops_keep_their_values_apart() -> None:
    inner = looped([node("Mul h w -> next"), node("Identity going -> on")])
    outer = looped(
        [
            node("Loop n _ h -> m", body=inner),
            node("Add m x -> next"),
            node("Identity going -> on"),
        ]
    )
    nodes = [node("Loop n _ x -> y", body=outer)]
    tensors = [constant("w", [0.5, 2, -1]), constant("n", 2, np.int64)]
    confirmed(model(nodes, {"x": [2, 3]}, "y", tensors), {"x": X})


@pytest.mark.parametrize("direction", [0, 1])
def test_a_scan_goes_over_slices(direction: int) -> None:
    inside = body(
        [node("Mul h w -> m"), node("Add m e -> next"), node("Neg next -> out")],
        [models.port("h", [2]), models.port("e", [2])],
        [models.port("next", [2]), models.port("out", [2])],
    )
    made = node(
        "Scan start x -> y rows",
        body=inside,
        num_scan_inputs=1,
        scan_input_axes=[1],
        scan_input_directions=[direction],
        scan_output_axes=[1],
        scan_output_directions=[direction],
    )
    tensors = [constant("start", [1, 2]), constant("w", [0.5, -1])]
    confirmed(model([made], {"x": [2, 3]}, "y rows", tensors), {"x": X})


def test_a_branch_that_is_known_is_taken_at_once() -> None:
    then = models.graph([node("Relu x -> a")], {}, "a")
    other = models.graph([node("MatMul x w -> b")], {}, "b", [weight("w", 3, 3)])
    nodes = [node("If c -> y", then_branch=then, else_branch=other)]
    proto = model(nodes, {"x": [2, 3]}, "y", [constant("c", True, np.bool_)])
    module = agrees(proto, {"x": X})
    assert not module.tensors


def test_a_branch_may_give_a_value_from_around_it() -> None:
    then = models.graph([], {}, "x")
    other = models.graph([node("Neg x -> b")], {}, "b")
    proto = model([node("If c -> y", then_branch=then, else_branch=other)], {"x": [2, 3]})
    proto.graph.input.append(flag("c"))
    for taken in (True, False):
        found = imported(proto)(x=X, c=np.array(taken))["y"]
        assert found.tolist() == (X if taken else -X).tolist()


def test_a_condition_of_several_values_is_refused() -> None:
    branch = models.graph([node("Neg x -> b")], {}, "b")
    proto = model(
        [node("If c -> y", "choice", then_branch=branch, else_branch=branch)], {"x": [2, 3]}
    )
    proto.graph.input.append(models.port("c", [2], TensorProto.BOOL))
    with pytest.raises(InputError) as caught:
        imported(proto)(x=X, c=np.array([True, False]))
    assert str(caught.value) == "node 'choice' (If): a condition has 2 values"


def test_a_sequence_is_mapped_by_a_subgraph_that_reads_from_around_it() -> None:
    inside = body(
        [node("MatMul e w -> out")], [models.port("e", [2, 3])], [models.port("out", [2, 3])]
    )
    nodes = [
        node("SequenceConstruct x x2 -> s"),
        node("SequenceMap s -> t", body=inside),
        node("ConcatFromSequence t -> y", axis=0),
    ]
    proto = model(nodes, {"x": [2, 3], "x2": [2, 3]}, "y", [weight("w", 3, 3)])
    module = imported(proto)
    w = module.tensors["w"].detach().numpy()
    found = module(x=X, x2=2 * X)["y"]
    np.testing.assert_allclose(found.detach(), np.concatenate([X @ w, 2 * X @ w]), 1e-5)


def test_the_first_version_of_scan_is_refused() -> None:
    inside = body([node("Neg e -> out")], [models.port("e", [3])], [models.port("out", [3])])
    made = helper.make_node("Scan", ["", "x"], ["y"], "s", body=inside, num_scan_inputs=1)
    proto = model([made], {"x": [2, 3, 3]})
    proto.opset_import[0].version = 8
    with pytest.raises(UnsupportedError) as caught:
        imported(proto)
    assert str(caught.value) == "node 's' (Scan): version 8 of it, over a batch, is not known"


def test_values_are_forgotten_after_their_last_use() -> None:
    nodes = [node("Exp x -> a"), node("Neg a -> b"), node("Add a b -> y")]
    module = imported(model(nodes, {"x": [2, 3]}))
    frame: list[object] = []
    with torch.no_grad():
        module._program.run([torch.tensor(X)], module.tensors, frame)
    assert sum(isinstance(value, torch.Tensor) for value in frame) == 1
