"""Why channels stay: each case has its sentence, and stays indeed."""

import itertools
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.structure.groups import find_channels
from tests import models
from tests.models import node
from tests.structure.cutting import TOLERANCE, shapes_of, take_out, zero_filters
from tests.structure.nets import Net

COUNTER = itertools.count()


def reason(model: onnx.ModelProto, folder: Path, path: str = "a.w") -> str | None:
    file = models.save(folder / f"m{next(COUNTER)}.onnx", model)
    with load_onnx(file) as opened:
        groups = find_channels(opened, shapes_of(model))
    (found,) = [group.reason for group in groups if path in group.producers]
    return found


def between(op: str, *more: str, **attributes: object) -> Net:
    """Put an operator between two convolutions."""
    net = Net()
    net.conv("x", "a", 3, 8)
    net.add(op, "a", *more, out="mid", **attributes)
    net.conv("mid", "y", 8, 4)
    return net


@pytest.mark.parametrize(
    ("op", "attributes", "sentence"),
    [
        ("Softmax", {"axis": 1}, "Softmax 'mid' goes over it"),
        ("LRN", {"size": 3}, "LRN 'mid' goes over it"),
        ("CumSum", {}, "CumSum 'mid' is not followed"),
        ("SpaceToDepth", {"blocksize": 1}, "SpaceToDepth 'mid' is not followed"),
    ],
)
def test_an_operator_that_compares_channels_is_named(
    op: str, attributes: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    net = between(op, **attributes)
    if op == "CumSum":
        net = between(op, "axis")
        net.numbers("axis", 1)
    assert reason(net.build(), tmp_path) == sentence


def test_what_does_not_mind_channels_lets_them_go(tmp_path: Path) -> None:
    assert reason(between("Softmax", axis=2).build(), tmp_path) is None


def test_an_input_that_has_a_value_may_be_overridden(tmp_path: Path) -> None:
    model = between("Relu").build()
    model.graph.input.append(models.port("a.w", [8, 3, 3, 3]))
    assert reason(model, tmp_path) == "'a.w' is also an input of the model"


def test_inputs_that_the_format_wants_are_no_reason(tmp_path: Path) -> None:
    model = between("Relu").build()
    for tensor in model.graph.initializer:
        model.graph.input.append(models.port(tensor.name, list(tensor.dims)))
    assert reason(model, tmp_path) is None
    result = take_out(zero_filters(model, 0.5))
    assert result.largest <= TOLERANCE
    sizes = {
        port.name: [dim.dim_value for dim in port.type.tensor_type.shape.dim]
        for port in result.model.graph.input
    }
    assert sizes["a.w"] == [4, 3, 3, 3]
    assert sizes["y.w"] == [4, 4, 3, 3]


def test_a_weight_that_a_subgraph_reads_stays(tmp_path: Path) -> None:
    net = between("Relu")
    inner = helper.make_graph(
        [node("Identity a.b -> inner")], "then", [], [models.port("inner", [8])]
    )
    net.tensors.append(models.constant("yes", True, bool))
    net.nodes.append(
        helper.make_node("If", ["yes"], ["z"], "if", then_branch=inner, else_branch=inner)
    )
    model = net.build("y z")
    assert reason(model, tmp_path) == "a subgraph of 'if' reads it"


def test_a_function_is_not_looked_into(tmp_path: Path) -> None:
    body = models.function("Twice", "v -> w", [node("Add v v -> w")])
    net = Net()
    net.conv("x", "a", 3, 8)
    net.nodes.append(node("Twice a -> mid", "twice", domain="local"))
    net.conv("mid", "y", 8, 4)
    made = net.build()
    made.functions.append(body)
    assert reason(made, tmp_path) == "Twice 'twice' is not followed"


def test_a_count_of_channels_that_is_reckoned_with_stays(tmp_path: Path) -> None:
    net = Net()
    net.conv("x", "a", 3, 8)
    net.add("Shape", "a", out="shape")
    net.add("Gather", "shape", net.numbers("one", 1), out="count")
    net.add("Cast", "count", out="real", to=TensorProto.FLOAT)
    net.add("Div", "a", "real", out="mid")
    net.conv("mid", "y", 8, 4)
    assert reason(net.build(), tmp_path) == "Cast 'real' computes with a shape"


def test_a_value_that_is_also_an_output_stays(tmp_path: Path) -> None:
    net = between("Relu")
    assert reason(net.build("y mid"), tmp_path) == "it reaches the model's output 'mid'"


def test_groups_that_do_not_divide_stay(tmp_path: Path) -> None:
    net = Net()
    net.conv("x", "a", 3, 8)
    net.nodes.append(node("Conv a g.w -> y", "g", group=3))
    net.weight("g.w", 9, 2, 1, 1)
    model = models.model(net.nodes, net.inputs, "y", net.tensors)
    assert reason(model, tmp_path) == "Conv 'g' has 3 groups that do not divide"


def test_channels_that_are_merged_whole_with_unknown_pixels_stay(tmp_path: Path) -> None:
    net = Net()
    net.inputs = {"x": ["N", 3, "H", "W"]}
    net.conv("x", "a", 3, 8)
    net.add("Reshape", "a", net.numbers("shape", [0, -1]), out="mid")
    net.add("ReduceMax", "mid", net.numbers("axis", [1]), out="y")
    assert (
        reason(net.build(), tmp_path) == "a shape that is computed at run time (Reshape 'mid')"
    )
