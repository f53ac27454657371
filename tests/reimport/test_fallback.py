import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from onnxprune.errors import UnsupportedError
from onnxprune.reimport import registry
from onnxprune.reimport.library import Cut
from tests import models
from tests.models import constant, model, node, weight
from tests.reimport.imported import agrees, confirmed, imported

X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)


@pytest.fixture
def forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the functions of some operators away, as if nobody had written them."""
    registry.all_operators()
    for name in ("HardSwish", "Celu", "Softmax", "ReduceLogSumExp", "Acos", "NonZero"):
        monkeypatch.delitem(registry._operators, ("", name))


def through(text: str, **attributes: object) -> onnx.ModelProto:
    """Make a product, an operator behind it, and a product behind that."""
    nodes = [node("MatMul x w -> h"), node(f"{text} h -> r", "middle", **attributes)]
    nodes.append(node("MatMul r v -> y"))
    return model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 4), weight("v", 4, 2)])


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [("HardSwish", {}), ("Celu", {"alpha": 2.0}), ("Softmax", {"axis": 0})],
)
def test_an_operator_is_computed_by_its_definition_and_keeps_the_gradient(
    operator: str, attributes: dict[str, object]
) -> None:
    module = confirmed(through(operator, **attributes), {"x": X})
    assert module.cuts == []


@pytest.mark.usefixtures("forgotten")
def test_a_definition_takes_the_defaults_of_attributes() -> None:
    agrees(through("Celu"), {"x": X})


@pytest.mark.usefixtures("forgotten")
def test_numpy_computes_what_has_no_definition_and_the_cut_is_told() -> None:
    nodes = [node("Acos x -> a", "cosine"), node("MatMul a w -> y")]
    proto = model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 2)])
    module = agrees(proto, {"x": X / 5})
    assert module.cuts == [Cut("cosine", "Acos", "no function of torch computes it")]
    assert module.unscored(["w"], {"x": X / 5}) == []


@pytest.mark.usefixtures("forgotten")
def test_a_cut_before_a_weight_is_refused() -> None:
    module = imported(through("Acos"))
    with pytest.raises(UnsupportedError) as caught:
        module(x=X)
    assert str(caught.value) == (
        "node 'middle' (Acos) has no gradient here (no function of torch computes it),"
        " and that of 'w' passes through it"
    )
    assert caught.value.hint == "--exclude 'w' leaves it as it is"


@pytest.mark.usefixtures("forgotten")
def test_a_cut_before_a_tensor_that_is_not_pruned_is_no_error() -> None:
    module = imported(through("Acos"), prunable=["v"])
    assert module.unscored(["w", "v"], {"x": X / 9}) == ["w"]


@pytest.mark.usefixtures("forgotten")
def test_a_cut_inside_a_branch_is_refused_too() -> None:
    then = models.graph([node("Acos h -> a", "inner")], {}, "a")
    other = models.graph([node("Neg h -> b")], {}, "b")
    nodes = [
        node("MatMul x w -> h"),
        node("If c -> y", "choice", then_branch=then, else_branch=other),
    ]
    proto = model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 2)])
    proto.graph.input.append(models.port("c", [], TensorProto.BOOL))
    module = imported(proto)
    assert module(x=X, c=np.array(False))["y"].shape == (2, 2)
    with pytest.raises(UnsupportedError, match=r"choice\.then_branch/inner"):
        module(x=X, c=np.array(True))


@pytest.mark.usefixtures("forgotten")
def test_a_cut_that_a_gradient_meets_in_the_second_turn_of_a_loop_is_refused() -> None:
    inside = models.helper.make_graph(
        [
            node("Acos h -> a", "inner"),
            node("MatMul a w -> next"),
            node("Identity going -> on"),
        ],
        "body",
        [
            models.port("i", [], TensorProto.INT64),
            models.port("going", [], TensorProto.BOOL),
            models.port("h", [2, 3]),
        ],
        [models.port("on", [], TensorProto.BOOL), models.port("next", [2, 3])],
    )
    tensors = [constant("w", np.eye(3) / 4), constant("n", 2, np.int64)]
    proto = model([node("Loop n _ x -> y", body=inside)], {"x": [2, 3]}, "y", tensors)
    with pytest.raises(UnsupportedError, match="inner"):
        imported(proto)(x=X / 5)


@pytest.mark.usefixtures("forgotten")
def test_whole_numbers_by_numpy_are_no_cut_of_a_gradient() -> None:
    nodes = [
        node("MatMul x w -> h"),
        node("NonZero h -> y"),
    ]
    module = imported(model(nodes, {"x": [2, 3]}, "y", [constant("w", np.eye(3))]))
    assert module(x=X)["y"].tolist() == [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2]]


def test_types_that_torch_does_not_have_go_through_numpy() -> None:
    nodes = [
        node("Cast x -> n", to=TensorProto.FLOAT8E4M3FN),
        node("Cast n -> y", to=TensorProto.FLOAT),
    ]
    module = imported(model(nodes, {"x": [2, 3]}))
    found = module(x=np.array([[1, 1.0625, 3], [0.5, 4, -1]], np.float32))["y"]
    assert found.tolist() == [[1, 1, 3], [0.5, 4, -1]]


def test_a_type_is_kept_where_the_next_node_depends_on_it() -> None:
    nodes = [
        node("Cast like -> n", to=TensorProto.INT4),
        node("CastLike x n -> c"),
        node("Cast c -> y", to=TensorProto.FLOAT),
    ]
    module = imported(model(nodes, {"x": [2, 3], "like": [1]}))
    found = module(x=np.array([[1, 2.5, 3]], np.float32), like=np.ones(1, np.float32))["y"]
    assert found.tolist() == [[1, 2, 3]]


def test_an_operator_that_numpy_cannot_compute_either_is_refused() -> None:
    nodes = [node("ImageDecoder x -> y", "picture")]
    proto = model(nodes, {})
    proto.graph.input.append(models.port("x", [3], TensorProto.UINT8))
    with pytest.raises(UnsupportedError) as caught:
        imported(proto)(x=np.zeros(3, np.uint8))
    assert str(caught.value) == (
        "node 'picture' (ImageDecoder): no function of torch computes it"
    )


def test_double_precision_reaches_into_definitions(forgotten: None) -> None:
    module = imported(through("Softmax"), precision=torch.float64)
    assert module(x=X)["y"].dtype == torch.float64
