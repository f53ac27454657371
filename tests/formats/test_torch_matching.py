import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.errors import UnsupportedError
from onnxprune.formats import torch_matching as matching
from onnxprune.types import Array

FLOAT = TensorProto.FLOAT


def counted(*shape: int, start: int = 1) -> Array:
    return np.arange(start, start + np.prod(shape), dtype=np.float32).reshape(shape)


def tensor(name: str, values: Array) -> TensorProto:
    return numpy_helper.from_array(values, name)


def constant(name: str, values: Array) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=tensor("", values))


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, FLOAT, shape)


def model(
    nodes: list[onnx.NodeProto],
    stored: dict[str, Array],
    inputs: tuple[str, ...] = ("x",),
    outputs: tuple[str, ...] = ("y",),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [value(name, 2, 2) for name in inputs],
        [value(name, 2, 2) for name in outputs],
        [tensor(name, values) for name, values in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def product(name: str) -> onnx.ModelProto:
    return model([helper.make_node("MatMul", ["x", name], ["y"])], {name: counted(2, 2)})


def chosen(branches: list[list[onnx.NodeProto]], stored: dict[str, Array]) -> onnx.ModelProto:
    """Make a model whose branches each compute `y`."""
    made = [
        helper.make_graph(nodes, f"branch {n}", [], [value(nodes[-1].output[0], 2, 2)])
        for n, nodes in enumerate(branches)
    ]
    choice = helper.make_node("If", ["c"], ["y"], then_branch=made[0], else_branch=made[1])
    return model([choice], stored, ("x", "c"))


def stored_names(made: onnx.ModelProto) -> list[str]:
    return [each.name for each in made.graph.initializer]


def test_a_tensor_of_its_name_is_found_as_it_is() -> None:
    made = product("layer.weight")
    before = made.SerializeToString()
    found = matching.find_tensors(made, {"layer.weight": counted(2, 2)})
    assert found == {"layer.weight": "layer.weight"}
    assert made.SerializeToString() == before


@pytest.mark.parametrize(
    "name",
    [
        "onnx::MatMul_278",
        "val_12",
        "_tensor_constant3",
        "p_layer_weight",
        "_param_1",
        "17",
        "lifted_tensor_0",
        "_lifted_tensor_constant0",
        "b__tensor_constant0",
    ],
)
def test_generic_names_become_paths_everywhere(name: str) -> None:
    made = product(name)
    made.graph.value_info.append(value(name, 2, 2))
    found = matching.find_tensors(made, {"layer.weight": counted(2, 2)})
    assert found == {"layer.weight": "layer.weight"}
    assert made.graph.node[0].input[1] == "layer.weight"
    assert stored_names(made) == [made.graph.value_info[0].name] == ["layer.weight"]


def test_names_that_somebody_chose_stay() -> None:
    made = product("encoder.weight")
    found = matching.find_tensors(made, {"decoder.weight": counted(2, 2)})
    assert found == {"decoder.weight": "encoder.weight"}


def test_a_path_that_is_taken_is_not_given_twice() -> None:
    made = product("val_1")
    assert matching.find_tensors(made, {"x": counted(2, 2)}) == {"x": "val_1"}


def test_tied_tensors_share_an_initializer() -> None:
    made = product("val_1")
    values = counted(2, 2)
    found = matching.find_tensors(made, {"a": values, "b": values})
    assert found == {"a": "a", "b": "a"}


def test_equal_tensors_get_initializers_of_their_own_where_there_are_some() -> None:
    values = counted(2, 2)
    nodes = [helper.make_node("Sum", ["x", "val_1", "val_2", "b"], ["y"])]
    made = model(nodes, {"val_1": values, "val_2": values, "b": values})
    found = matching.find_tensors(made, {"a": values, "b": values, "c": values})
    assert found == {"a": "a", "b": "b", "c": "c"}


def test_other_values_are_missing() -> None:
    made = product("layer.weight")
    almost = counted(2, 2)
    almost[0, 0] = np.nextafter(almost[0, 0], 2)
    assert matching.find_tensors(made, {"layer.weight": almost}) == {}
    assert matching.find_tensors(made, {"layer.weight": counted(2, 2)[::-1] * 2}) == {}


def test_the_same_numbers_in_another_order_are_not_the_same() -> None:
    made = product("layer.weight")
    mixed = np.array([[2, 1], [3, 4]], np.float32)
    assert matching.find_tensors(made, {"layer.weight": mixed}) == {}


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_any_order_of_axes_is_found(axes: tuple[int, ...]) -> None:
    values = counted(2, 3, 4)
    assert matching.holds(values.transpose(axes), values)
    assert matching.holds(values.transpose(axes).reshape(1, 24), values)


def test_types_count_and_signs_of_zeros_do_not() -> None:
    values = counted(2, 2, start=0)
    assert matching.holds(np.where(values == 0, np.float32(-0.0), values), values)
    assert not matching.holds(values.astype(np.float64), values)
    assert not matching.holds(values.astype(np.int32), values)
    assert not matching.holds(values[:1], values)
    odd = np.array([np.nan, 1], np.float32)
    assert matching.holds(odd, odd)


def test_gates_in_the_order_of_onnx_are_found() -> None:
    i, f, g, o = (counted(2, 3, start=n) for n in (1, 10, 20, 30))
    lstm = np.concatenate([i, f, g, o])
    assert matching.holds(np.concatenate([i, o, f, g])[None], lstm)
    assert not matching.holds(np.concatenate([o, i, f, g])[None], lstm)
    gru = np.concatenate([i, f, g])
    assert matching.holds(np.concatenate([f, i, g])[None], gru)


def test_a_direction_of_a_layer_is_found_and_keeps_the_layers_name() -> None:
    i, f, g, o = (counted(2, 3, start=n) for n in (1, 10, 20, 30))
    both = np.stack([np.concatenate([i, o, f, g]), np.concatenate([g, i, o, f])])
    made = model([helper.make_node("LSTM", ["x", "val_1", "r"], ["y"])], {"val_1": both})
    forward, backward = np.concatenate([i, f, g, o]), np.concatenate([g, o, f, i])
    found = matching.find_tensors(made, {"l0": forward, "l0_reverse": backward})
    assert found == {"l0": "val_1", "l0_reverse": "val_1"}


def test_a_constant_becomes_an_initializer() -> None:
    nodes = [constant("c", counted(2, 2)), helper.make_node("MatMul", ["x", "c"], ["y"])]
    nodes.insert(0, constant("other", counted(3)))
    made = model(nodes, {})
    assert matching.find_tensors(made, {"w": counted(2, 2).T}) == {"w": "c"}
    assert stored_names(made) == ["c"]
    assert [node.op_type for node in made.graph.node] == ["Constant", "MatMul"]
    onnx.checker.check_model(made, full_check=True)


def test_constants_of_branches_become_initializers_of_the_main_graph() -> None:
    one, two = counted(2, 2), counted(2, 2, start=9)
    branches = [
        [constant("val_0", one), helper.make_node("MatMul", ["x", "val_0"], ["t"])],
        [constant("val_0", two), helper.make_node("MatMul", ["x", "val_0"], ["e"])],
    ]
    made = chosen(branches, {})
    found = matching.find_tensors(made, {"one": one, "two": two})
    assert found == {"one": "one", "two": "two"}
    assert stored_names(made) == ["one", "two"]
    inner = [each.g for each in made.graph.node[0].attribute]
    assert sorted(node.input[1] for graph in inner for node in graph.node) == ["one", "two"]


def test_constants_of_one_name_in_two_branches_are_told_apart() -> None:
    one, two = counted(2, 2), counted(2, 2, start=9)
    branches = [
        [constant("k", one), helper.make_node("MatMul", ["x", "k"], ["t"])],
        [constant("k", two), helper.make_node("MatMul", ["x", "k"], ["e"])],
    ]
    made = chosen(branches, {})
    found = matching.find_tensors(made, {"one": one, "two": two})
    assert found == {"one": "k_1", "two": "k_2"}
    assert stored_names(made) == ["k_1", "k_2"]


def test_what_a_branch_gives_back_stays_in_it() -> None:
    one, two = counted(2, 2), counted(2, 2, start=9)
    made = chosen([[constant("t", one)], [constant("e", two)]], {})
    assert matching.find_tensors(made, {"one": one}) == {}


def test_initializers_of_the_main_graph_are_renamed_in_branches() -> None:
    node = helper.make_node("MatMul", ["x", "val_0"], ["t"])
    other = helper.make_node("MatMul", ["val_0", "x"], ["e"])
    made = chosen([[node], [other]], {"val_0": counted(2, 2)})
    assert matching.find_tensors(made, {"w": counted(2, 2)}) == {"w": "w"}
    inner = [each.g.node[0].input for each in made.graph.node[0].attribute]
    assert sorted([list(each) for each in inner]) == [["w", "x"], ["x", "w"]]


def test_ports_get_the_names_that_are_asked_for() -> None:
    nodes = [
        helper.make_node("Add", ["arg0_1", "b"], ["x"]),
        helper.make_node("Add", ["x", "arg1_1"], ["sum"]),
    ]
    made = model(nodes, {"b": counted(2, 2)}, ("arg0_1", "arg1_1"), ("sum",))
    assert not matching.name_ports(made, ["x", "n", "b"], [False, True, False])
    assert [list(node.input) for node in made.graph.node] == [["x", "b_1"], ["x_1", "b"]]
    assert [list(node.output) for node in made.graph.node] == [["x_1"], ["output"]]
    assert stored_names(made) == ["b_1"]
    onnx.checker.check_model(made, full_check=True)


def test_outputs_that_are_inputs_or_given_twice_get_names_of_their_own() -> None:
    made = model([helper.make_node("Abs", ["x"], ["y"])], {}, ("x",), ("y", "x", "y"))
    matching.name_ports(made, ["x"], [False])
    assert [each.name for each in made.graph.output] == ["output_0", "output_1", "output_2"]
    onnx.checker.check_model(made, full_check=True)
    arguments = [-counted(2, 2)]
    expected = [-arguments[0], arguments[0], -arguments[0]]
    assert matching.compare(made, ["x"], arguments, expected) == 0


def test_inputs_that_are_lost_are_an_error() -> None:
    made = model([helper.make_node("Abs", ["x"], ["y"])], {})
    with pytest.raises(UnsupportedError, match="the exporter left 1 of 2 inputs"):
        matching.name_ports(made, ["x", "z"], [False, False])


def test_sizes_get_one_name_or_their_number() -> None:
    made = model([helper.make_node("Add", ["a", "b"], ["y"])], {}, ("a", "b"))
    sizes = [
        each.type.tensor_type.shape.dim for each in (*made.graph.input, *made.graph.output)
    ]
    for dim, name in zip(sizes, ("s22", "s55", "s22"), strict=True):
        dim[0].dim_param = name
        dim[1].dim_param = "2"
    assert matching.name_ports(made, ["a", "b"], [False, False])
    assert [(dim[0].dim_param, dim[1].dim_value) for dim in sizes] == [("batch", 2)] * 3


def test_differences_are_relative_to_the_largest_value() -> None:
    ours, theirs = np.array([1.0, 9.0, np.inf]), np.array([1.0, 10.0, np.inf])
    assert matching.difference([ours], [theirs]) == pytest.approx(0.1)
    nothing = np.array([np.nan, 0.0])
    assert matching.difference([nothing], [nothing]) == 0
    assert matching.difference([np.array([1.0])], [np.array([0.0])]) == np.inf
    assert matching.difference([np.array([np.nan])], [np.array([1.0])]) == np.inf
    assert matching.difference([ours[:2]], [theirs]) == np.inf
    assert matching.difference([], [theirs]) == np.inf


def test_a_batch_is_what_all_arguments_agree_on() -> None:
    row = counted(3, 2)
    assert matching.batch_of([row, np.array(1), counted(3)]) == 3
    assert matching.batch_of([row, row[:2]]) == 0
    assert matching.batch_of([np.array(1)]) == 0
    repeated = matching.repeat_first([row, np.array(1)], 4)
    assert repeated[0].tolist() == [[1, 2]] * 4
    assert repeated[1].shape == ()
