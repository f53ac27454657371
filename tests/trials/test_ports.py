"""The inputs and outputs of a model, as its graph declares them."""

from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from onnx import helper

from onnxprune.errors import InputError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.outcomes import Port
from onnxprune.trials.ports import NUMPY_NAMES, check_same_ports, input_ports, output_ports
from tests import models

FLOAT, STRING = models.TensorProto.FLOAT, models.TensorProto.STRING


def ports(path: Path, proto: onnx.ModelProto) -> tuple[list[Port], list[Port]]:
    with load_onnx(models.save(path, proto)) as model:
        return input_ports(model), output_ports(model)


def identity(
    inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]
) -> onnx.ModelProto:
    proto = models.model([models.node("Identity x -> y")], {}, "y")
    del proto.graph.output[:]
    proto.graph.input.extend(inputs)
    proto.graph.output.extend(outputs)
    return proto


def test_fixed_and_free_dimensions_are_told_apart(tmp_path: Path) -> None:
    x, y = models.port("x", ["n", 3, 0, 7]), models.port("y", None)
    found = ports(tmp_path / "m.onnx", identity([x], [y]))
    assert found == ([Port("x", "float32", (None, 3, None, 7))], [Port("y", "float32", None)])


def test_an_input_without_dimensions_is_a_number(tmp_path: Path) -> None:
    x = models.port("x", [])
    assert ports(tmp_path / "m.onnx", identity([x], [x]))[0] == [Port("x", "float32", ())]


def test_an_input_with_an_initializer_needs_no_array(tmp_path: Path) -> None:
    nodes = [models.node("MatMul x w -> h"), models.node("Add h s -> y")]
    inputs: dict[str, Sequence[int | str]] = {"x": [1, 2], "w": [2, 2], "s": [1, 2]}
    proto = models.model(nodes, inputs, "y", [models.weight("w", 2, 2)])
    values = models.constant("s", [1.0])
    places = models.constant("places", [0], "i8")
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [1, 2]))
    found, _ = ports(tmp_path / "m.onnx", proto)
    assert [port.name for port in found] == ["x"]


def test_what_is_no_tensor_has_no_type(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("x", FLOAT, None)
    found = ports(tmp_path / "m.onnx", identity([sequence], [models.port("y", [], STRING)]))
    assert found == ([Port("x", None, None)], [Port("y", "str", ())])


@pytest.mark.parametrize("kind", sorted(NUMPY_NAMES))
def test_every_type_that_numpy_has_is_named_as_numpy_does(kind: int, tmp_path: Path) -> None:
    port = models.port("x", [1], kind)
    ((found,), _) = ports(tmp_path / "m.onnx", identity([port], [port]))
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    assert found.dtype == (dtype.name if kind != STRING else "str")


def test_a_type_that_numpy_lacks_has_no_name(tmp_path: Path) -> None:
    port = models.port("x", [1], models.TensorProto.FLOAT8E5M2)
    ((found,), _) = ports(tmp_path / "m.onnx", identity([port], [port]))
    assert found == Port("x", None, (1,))


def test_the_order_of_ports_does_not_matter(tmp_path: Path) -> None:
    one, other = models.port("x", [1]), models.port("z", [1])
    y = models.port("y", [1])
    first = models.save(tmp_path / "a.onnx", identity([one, other], [y]))
    second = models.save(tmp_path / "b.onnx", identity([other, one], [y]))
    third = models.save(tmp_path / "c.onnx", identity([one], [y]))
    with load_onnx(first) as a, load_onnx(second) as b, load_onnx(third) as c:
        check_same_ports(a, b)
        with pytest.raises(InputError) as caught:
            check_same_ports(b, c)
    assert caught.value.message == "the models have different inputs: z, x and x"
