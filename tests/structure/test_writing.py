"""What is written: other tensors, the numbers that tell of them, and every other word as it was."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.structure.removing import find_cut, value_shapes
from onnxprune.structure.surgery import Surgery
from onnxprune.structure.writing import write_cut
from tests import models
from tests.models import node
from tests.structure import nets
from tests.structure.cutting import TOLERANCE, apart, take_out, tensors_of, zero, zero_filters


def external(path: Path, model: onnx.ModelProto, threshold: int = 0) -> Path:
    """Write a model whose tensors lie in another file."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    onnx.save_model(
        made,
        path,
        save_as_external_data=True,
        location=f"{path.stem}.data",
        size_threshold=threshold,
    )
    return path


def shrink(source: Path, target: Path) -> list[Path]:
    with load_onnx(source) as opened:
        cut = find_cut(opened, value_shapes(opened))
        with write_cut(cut.surgery, target) as written:
            return written.commit()


@pytest.mark.parametrize("threshold", [128, 256])
def test_data_in_another_file_stay_in_another_file(threshold: int, tmp_path: Path) -> None:
    source = external(tmp_path / "m.onnx", zero_filters(nets.transformer(), 0.5), threshold)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    target = tmp_path / "out.onnx"
    main, data = shrink(source, target)
    assert main == target
    assert data.parent == tmp_path
    assert data.name.startswith("out-")
    assert data.suffix == ".data"
    assert data.stat().st_size < (tmp_path / "m.data").stat().st_size
    assert {path.name for path in tmp_path.iterdir()} == {*before, "out.onnx", data.name}
    assert all((tmp_path / name).read_bytes() == old for name, old in before.items())
    onnx.checker.check_model(target, full_check=True)
    assert apart(source, target, {}) <= TOLERANCE
    with load_onnx(target) as opened:
        assert [file.path.name for file in opened.all_files()] == ["out.onnx", data.name]


def test_large_tensors_begin_where_a_page_does(tmp_path: Path) -> None:
    net = nets.Net()
    net.inputs = {"x": [1, 600]}
    net.dense(net.add("Relu", net.dense("x", "a", 600, 600), out="r"), "y", 600, 600)
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [3])
    zero(tensors_of(model)["a.b"], 0, [3])
    source = external(tmp_path / "m.onnx", model)
    shrink(source, tmp_path / "out.onnx")
    made = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    places = {
        tensor.name: {each.key: each.value for each in tensor.external_data}
        for tensor in made.graph.initializer
    }
    assert [int(places[name]["offset"]) % 4096 for name in ("a.w", "y.w")] == [0, 0]
    assert apart(source, tmp_path / "out.onnx", {}) <= TOLERANCE


def test_words_that_tell_of_no_channels_stay(tmp_path: Path) -> None:
    model = zero_filters(nets.plain(), 0.5)
    model.producer_name, model.doc_string = "somebody", "a net"
    model.metadata_props.add(key="author", value="somebody")
    model.graph.doc_string = "a graph"
    tensors_of(model)["b.w"].doc_string = "weights"
    model.functions.append(models.function("Twice", "v -> w", [node("Add v v -> w")]))
    model.graph.quantization_annotation.add(tensor_name="x")
    made = take_out(model).model
    for name in (
        "producer_name",
        "doc_string",
        "opset_import",
        "ir_version",
        "metadata_props",
    ):
        assert getattr(made, name) == getattr(model, name)
    assert made.functions == model.functions
    assert made.graph.quantization_annotation == model.graph.quantization_annotation
    assert made.graph.doc_string == "a graph"
    assert tensors_of(made)["b.w"].doc_string == "weights"
    assert [each.name for each in made.graph.node] == [each.name for each in model.graph.node]
    assert list(tensors_of(made)) == list(tensors_of(model))
    assert made.graph.output == model.graph.output


def test_declared_shapes_are_corrected() -> None:
    model = onnx.shape_inference.infer_shapes(zero_filters(nets.plain(), 0.5))
    made = take_out(model).model
    sizes = {
        info.name: [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        for info in made.graph.value_info
    }
    assert sizes["ac"][1:] == [8, 8, 8]
    assert sizes["br"][1:] == [10, 4, 4]
    assert sizes["flat"][1:] == [160]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_types_of_floats_are_cut(kind: int) -> None:
    model = zero_filters(_small(), 0.5)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = kind
    if kind == TensorProto.DOUBLE:
        _in_double(model)
    result = take_out(model)
    assert result.dims("a.w") == [4, 6]
    assert result.largest <= (TOLERANCE if kind == TensorProto.DOUBLE else 4e-3)


def _small() -> onnx.ModelProto:
    net = nets.Net()
    net.inputs = {"x": [2, 6]}
    net.dense(net.add("Relu", net.dense("x", "a", 6, 8), out="r"), "y", 8, 3)
    return net.build()


def _in_double(model: onnx.ModelProto) -> None:
    """Let the ends of a model stay single: the tests feed nothing else."""
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.FLOAT
    model.graph.node[0].input[0] = "wide"
    model.graph.node[-1].output[0] = "long"
    model.graph.node.insert(0, node("Cast x -> wide", to=TensorProto.DOUBLE))
    model.graph.node.append(node("Cast long -> y", to=TensorProto.FLOAT))


def test_bfloat16_is_cut_by_its_bits(tmp_path: Path) -> None:
    model = zero_filters(_small(), 0.5)
    for tensor in model.graph.initializer:
        bits = numpy_helper.to_array(tensor).view(np.uint32) >> 16
        made = TensorProto(name=tensor.name, dims=tensor.dims, data_type=TensorProto.BFLOAT16)
        made.raw_data = bits.astype("<u2").tobytes()
        tensor.CopyFrom(made)
    for port in (*model.graph.input, *model.graph.output):
        port.type.tensor_type.elem_type = TensorProto.BFLOAT16
    before = tensors_of(model)["y.w"]
    shrink(models.save(tmp_path / "m.onnx", model), tmp_path / "out.onnx")
    after = tensors_of(onnx.load(tmp_path / "out.onnx"))["y.w"]
    kept = np.flatnonzero(np.frombuffer(tensors_of(model)["a.b"].raw_data, "<u2"))
    old = np.frombuffer(before.raw_data, "<u2").reshape(before.dims)
    new = np.frombuffer(after.raw_data, "<u2").reshape(after.dims)
    assert np.array_equal(old[:, kept], new)


@pytest.mark.parametrize("packed", [True, False])
def test_values_in_other_fields_are_cut(packed: bool) -> None:
    model = zero_filters(_small(), 0.5)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        made = helper.make_tensor(tensor.name, TensorProto.FLOAT, array.shape, array.ravel())
        tensor.CopyFrom(made)
    if not packed:
        floats = numpy_helper.to_array(tensors_of(model)["a.b"]).tolist()
        place = next(
            at for at, each in enumerate(model.graph.initializer) if each.name == "a.b"
        )
        del model.graph.initializer[place]
        model.graph.node.insert(0, node("Constant -> a.b", value_floats=floats))
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("a.w") == [4, 6]


def test_numbers_that_several_nodes_share_are_not_changed_for_all() -> None:
    net = nets.Net()
    net.inputs = {"x": [2, 8, 4, 4]}
    shape = net.numbers("shape", [2, 8, 16])
    a = net.add("Reshape", net.conv("x", "a", 8, 8), shape, out="lines")
    first = net.add("ReduceMean", a, net.numbers("axis", [2]), out="means", keepdims=0)
    other = net.add("Reshape", "x", shape, out="whole")
    second = net.add("ReduceMax", other, "axis", out="most", keepdims=0)
    net.add("Add", net.dense(first, "b", 8, 8), second, out="y")
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [1])
    zero(tensors_of(model)["a.b"], 0, [1])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert numpy_helper.to_array(tensors_of(result.model)["shape"]).tolist() == [2, 8, 16]
    assert numpy_helper.to_array(tensors_of(result.model)["shape_1"]).tolist() == [2, 7, 16]


def test_what_only_made_an_old_shape_goes_with_it() -> None:
    net = nets.Net()
    net.inputs = {"x": ["N", 3, 4, 4]}
    net.conv("x", "a", 3, 8)
    net.add("Shape", "a", out="dims")
    net.add("Gather", "dims", net.numbers("zero", 0), out="batch")
    net.add("Unsqueeze", "batch", net.numbers("axes", [0]), out="batch1")
    net.add(
        "Concat",
        "batch1",
        net.numbers("eight", [8]),
        net.numbers("rest", [-1]),
        out="shape",
        axis=0,
    )
    net.add("Reshape", "a", "shape", out="lines")
    net.add("ReduceMean", "lines", net.numbers("axis", [2]), out="means", keepdims=0)
    net.dense("means", "y", 8, 3)
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [1, 2])
    zero(tensors_of(model)["a.b"], 0, [1, 2])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert result.dims("a.w")[0] == 6
    operators = [each.op_type for each in result.model.graph.node]
    assert operators == ["Conv", "Reshape", "ReduceMean", "Gemm"]
    assert "eight" not in tensors_of(result.model)


def test_an_input_that_nothing_reads_any_more_is_still_an_input() -> None:
    net = nets.Net()
    net.inputs = {"x": [2, 3, 4, 4], "like": [2, 8, 16]}
    net.conv("x", "a", 3, 8)
    net.add("Reshape", "a", net.add("Shape", "like", out="shape"), out="lines")
    net.add("ReduceMean", "lines", net.numbers("axis", [2]), out="means", keepdims=0)
    net.dense("means", "y", 8, 3)
    model = net.build()
    zero(tensors_of(model)["a.w"], 0, [1])
    zero(tensors_of(model)["a.b"], 0, [1])
    result = take_out(model)
    assert result.largest <= TOLERANCE
    assert [port.name for port in result.model.graph.input] == ["x", "like"]
    assert result.dims("a.w")[0] == 7


def test_nothing_is_left_where_writing_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = external(tmp_path / "m.onnx", zero_filters(nets.plain(), 0.5))
    before = sorted(path.name for path in tmp_path.iterdir())

    def fails(self: Surgery, proto: onnx.ModelProto) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Surgery, "mend", fails)
    with pytest.raises(KeyboardInterrupt):
        shrink(source, tmp_path / "out.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_tensors_over_the_same_bytes_stay_so(tmp_path: Path) -> None:
    net = nets.Net()
    net.inputs = {"x": [2, 6]}
    for name in ("a", "b"):
        net.dense(
            net.add("Relu", net.dense("x", name, 6, 8), out=f"{name}r"), f"{name}y", 8, 3
        )
    net.add("Add", "ay", "by", out="y")
    model = net.build()
    tensors = tensors_of(model)
    for name in ("ay.w", "by.w"):
        tensors[name].CopyFrom(numpy_helper.from_array(np.ones((3, 8), np.float32), name))
    zero(tensors["a.w"], 0, [1])
    zero(tensors["a.b"], 0, [1])
    zero(tensors["b.w"], 0, [1])
    zero(tensors["b.b"], 0, [1])
    source = external(tmp_path / "m.onnx", model)
    made = onnx.load(source, load_external_data=False)
    places = {
        tensor.name: {each.key: each for each in tensor.external_data}
        for tensor in made.graph.initializer
    }
    places["by.w"]["offset"].value = places["ay.w"]["offset"].value
    models.save(source, made)
    shrink(source, tmp_path / "out.onnx")
    after = onnx.load(tmp_path / "out.onnx", load_external_data=False)
    offsets = {
        tensor.name: next(each.value for each in tensor.external_data if each.key == "offset")
        for tensor in after.graph.initializer
    }
    assert offsets["ay.w"] == offsets["by.w"]
    assert apart(source, tmp_path / "out.onnx", {}) <= TOLERANCE
