from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import reimport
from tests import models
from tests.models import constant, model, node, weight
from tests.reimport.imported import imported

X = np.array([[1, -2, 3], [0.5, 4, -1]], np.float32)


def layers() -> models.onnx.ModelProto:
    nodes = [
        node("Gemm x w.1 b.1 -> h", "first", transB=1),
        node("Relu h -> r"),
        node("Gemm r w.2 -> y", "second"),
    ]
    tensors = [weight("w.1", 4, 3), weight("b.1", 4), weight("w.2", 4, 2)]
    return model(nodes, {"x": [2, 3]}, "y", tensors)


def test_tensors_are_parameters_by_path_in_the_layout_of_the_file() -> None:
    module = imported(layers())
    assert {path: tuple(each.shape) for path, each in module.tensors.items()} == {
        "w.1": (4, 3),
        "b.1": (4,),
        "w.2": (4, 2),
    }
    assert module.inputs == ["x"]
    assert module.outputs == ["y"]
    assert [id(each) for each in module.parameters()] == [
        id(each) for each in module.tensors.values()
    ]


def test_other_tensors_can_take_the_place_of_parameters() -> None:
    module = imported(layers())
    zero = torch.zeros(4, 2)
    assert module.compute({"x": X}, {"w.2": zero})["y"].tolist() == [[0, 0], [0, 0]]
    assert module.compute({"x": X})["y"].abs().sum() > 0


def test_gradients_for_each_sample_can_be_taken_at_once() -> None:
    module = imported(layers())

    def loss(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return module.compute({"x": x[None]}, {"w.2": w})["y"].sum()

    w, x = module.tensors["w.2"].detach(), torch.from_numpy(X)
    together = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
    one_by_one = torch.stack([torch.func.grad(loss)(w, sample) for sample in x])
    assert torch.allclose(together, one_by_one, atol=1e-6)


def test_second_derivatives_can_be_taken() -> None:
    nodes = [node("MatMul x w -> h"), node("Tanh h -> t"), node("MatMul t v -> y")]
    proto = model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 4), weight("v", 4, 2)])
    module = imported(proto, precision=torch.float64)
    tensors = [each.detach().requires_grad_() for each in module.tensors.values()]
    assert torch.autograd.gradgradcheck(
        lambda w, v: module.compute({"x": X}, {"w": w, "v": v})["y"], tensors
    )


def test_double_precision_is_for_values_and_feeds() -> None:
    module = imported(layers(), precision=torch.float64)
    assert {each.dtype for each in module.tensors.values()} == {torch.float64}
    found = module(x=X)["y"]
    assert found.dtype == torch.float64
    single = imported(layers())(x=X.astype(np.float64))["y"]
    assert single.dtype == torch.float32
    assert torch.allclose(found.float(), single, atol=1e-6)


def test_the_file_may_be_closed_once_it_is_imported(tmp_path: Path) -> None:
    path = models.save(tmp_path / "m.onnx", layers())
    with load_onnx(path) as opened:
        module = reimport(opened)
    path.unlink()
    assert module(x=X)["y"].shape == (2, 2)


def test_values_inside_the_graph_can_be_asked_for() -> None:
    module = imported(layers(), outputs=["r", "y"])
    found = module(x=X)
    assert module.outputs == ["r", "y"]
    assert found["r"].shape == (2, 4)
    assert (found["r"] >= 0).all()


def test_a_missing_input_is_named() -> None:
    with pytest.raises(InputError) as caught:
        imported(layers()).compute({})
    assert str(caught.value) == "no array for the model's input 'x'"


def test_an_input_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError) as caught:
        imported(layers()).compute({"x": X, "z": X})
    assert str(caught.value) == "the model has no input 'z'; it has 'x'"


def test_a_node_that_cannot_be_computed_is_named() -> None:
    with pytest.raises(UnsupportedError) as caught:
        imported(layers())(x=X[:, :2])
    assert str(caught.value).startswith("node 'first' (Gemm) cannot be computed here: ")


def test_tensors_that_no_gradient_reaches_are_told() -> None:
    nodes = [
        node("MatMul x w -> h"),
        node("ArgMax h -> a", axis=1, keepdims=0),
        node("Cast a -> f", to=TensorProto.FLOAT),
        node("MatMul x v -> g"),
        node("ReduceSum g axes -> s", keepdims=0),
        node("Add f s -> y"),
    ]
    tensors = [weight("w", 3, 4), weight("v", 3, 4), constant("axes", [1], np.int64)]
    module = imported(model(nodes, {"x": [2, 3]}, "y", tensors))
    assert module.unscored(["w", "v"], {"x": X}) == ["w"]
    assert module.unscored(["v"], {"x": X}) == []
    assert module.unscored([], {"x": X}) == []


def test_nothing_is_scored_where_all_outputs_are_integers() -> None:
    nodes = [node("MatMul x w -> h"), node("ArgMax h -> y")]
    module = imported(model(nodes, {"x": [2, 3]}, "y", [weight("w", 3, 4)]))
    assert module.unscored(["w"], {"x": X}) == ["w"]


def normalised() -> models.onnx.ModelProto:
    tensors = [
        constant("scale", [1, 2, 1]),
        constant("bias", [0, 1, 0]),
        constant("mean", [1, 1, 1]),
        constant("var", [4, 4, 4]),
    ]
    nodes = [node("BatchNormalization x scale bias mean var -> y", epsilon=1e-9)]
    return model(nodes, {"x": [2, 3]}, "y", tensors)


def test_normalisation_uses_the_statistics_of_the_file() -> None:
    module = imported(normalised())
    assert list(module.tensors) == ["scale", "bias"]
    assert torch.allclose(module(x=X)["y"], torch.tensor([[0.0, -2, 1], [-0.25, 4, -1]]))


def test_normalisation_uses_the_statistics_of_the_batch_if_asked() -> None:
    module = imported(normalised())
    module.batch_statistics = True
    assert torch.allclose(module(x=X)["y"], torch.tensor([[1.0, -1, 1], [-1, 3, -1]]))
    module.batch_statistics = False
    assert torch.allclose(module(x=X)["y"], torch.tensor([[0.0, -2, 1], [-0.25, 4, -1]]))


def test_constants_that_are_settings_are_no_parameters() -> None:
    nodes = [
        node("Clip x low high -> c"),
        node("Pad c pads value -> p"),
        node("Mul p factor -> m"),
        node("Add m bias -> a"),
        node("Pow a power -> y"),
    ]
    tensors = [
        constant("low", -1),
        constant("high", 1),
        constant("pads", [0, 1, 0, 0], np.int64),
        constant("value", 0.5),
        constant("factor", 2),
        constant("bias", [1, 2, 3, 4]),
        constant("power", [2]),
    ]
    module = imported(model(nodes, {"x": [2, 3]}, "y", tensors))
    assert list(module.tensors) == ["bias"]


def test_what_depends_on_constants_alone_is_computed_once() -> None:
    nodes = [
        node("Shape w -> s"),
        node("Add one two -> three"),
        node("Mul three two -> six"),
        node("Concat six two -> shape", axis=0),
        node("Reshape x shape -> y"),
    ]
    tensors = [constant("one", [1], np.int64), constant("two", [2], np.int64), weight("w", 3)]
    proto = model(nodes, {"x": [3, 4]}, "y", tensors)
    module = imported(proto)
    assert module(x=np.zeros((3, 4), np.float32))["y"].shape == (6, 2)
    labels = [step.label for step in module._program.block.steps]
    assert labels == ["node 's' (Shape)", "node 'y' (Reshape)"]


def test_a_parameter_is_never_folded_away() -> None:
    nodes = [
        node("Neg w -> n"),
        node("Transpose n -> t", perm=[1, 0]),
        node("MatMul x t -> y"),
    ]
    module = imported(model(nodes, {"x": [2, 3]}, "y", [weight("w", 4, 3)]))
    assert len(module._program.block.steps) == 3
    assert module.unscored(["w"], {"x": X}) == []


def test_shapes_are_settled_for_inputs_of_one_shape() -> None:
    nodes = [
        node("Shape x -> s"),
        node("Gather s zero -> rows"),
        node("Concat rows minus -> shape", axis=0),
        node("MatMul x w -> h"),
        node("Reshape h shape -> y"),
    ]
    tensors = [
        constant("zero", [0], np.int64),
        constant("minus", [-1], np.int64),
        weight("w", 3, 4),
    ]
    module = imported(model(nodes, {"x": ["n", 3]}, "y", tensors))
    before = module(x=X)["y"]
    module.specialise({"x": X})
    (program,) = module._programs.values()
    assert [step.label for step in program.block.steps] == [
        "node 'h' (MatMul)",
        "node 'y' (Reshape)",
    ]
    assert torch.equal(module(x=X)["y"], before)
    # Other shapes are computed as before.
    assert module(x=np.concatenate([X, X]))["y"].shape == (4, 4)


def test_an_attribute_that_nobody_knows_is_refused() -> None:
    made = node("Relu x -> y", "r")
    made.attribute.append(models.helper.make_attribute("slope", 0.5))
    with pytest.raises(UnsupportedError) as caught:
        imported(model([made], {"x": [2, 3]}))
    assert str(caught.value) == "node 'r' (Relu): attribute 'slope' is not known"


def test_an_operator_of_a_strange_domain_is_refused() -> None:
    made = node("Magic x -> y", "m", domain="elsewhere")
    with pytest.raises(UnsupportedError) as caught:
        imported(model([made], {"x": [2, 3]}))
    assert str(caught.value) == (
        "node 'm' (Magic): the operator of domain 'elsewhere' is not known"
    )


def test_a_node_with_too_many_inputs_is_refused() -> None:
    with pytest.raises(UnsupportedError) as caught:
        imported(model([node("Neg x x -> y", "n")], {"x": [2, 3]}))
    assert str(caught.value) == "node 'n' (Neg): too many positional arguments"


def test_texts_pass_through_untouched() -> None:
    proto = model([node("Identity x -> y")], {})
    proto.graph.input.append(models.port("x", [2], TensorProto.STRING))
    found = imported(proto)(x=np.array(["a", "bc"], object))["y"]
    assert found.tolist() == ["a", "bc"]
