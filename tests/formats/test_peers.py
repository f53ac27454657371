"""What other pruners get wrong when they write a file, each as a test of ours.

Nothing here trusts our reader: both files are read whole with the onnx package.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from onnxprune.errors import OnnxpruneError, TargetError
from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from onnxprune.types import Report
from tests.formats.everything import rich
from tests.formats.files_made import BFLOAT16, FLOAT, one_weight, prune, real, some, tensor

MODELS = Path(__file__).resolve().parents[2] / ".." / "shared" / "models"
FOUND = sorted(str(path.relative_to(MODELS)) for path in MODELS.rglob("*.onnx"))
ABSENT = pytest.param("", marks=pytest.mark.skip(f"the test models are not in {MODELS}"))
WITHOUT_WEIGHTS = {
    "trt_testmodels/constant_fold_bloater.onnx": 7,
    "trt_testmodels/ext_weights.onnx": 7,
    "trt_testmodels/loop.onnx": 7,
    "trt_testmodels/nested_local_function.onnx": 7,
    "trt_testmodels/weightless.qdq_conv.onnx": 3,
}


def tensors(message: Any) -> Iterator[TensorProto]:
    """Yield every tensor of a proto, in the order in which they are written."""
    for _, content in message.ListFields():
        for part in content if hasattr(content, "__len__") else [content]:
            if isinstance(part, TensorProto):
                yield part
            elif hasattr(part, "ListFields"):
                yield from tensors(part)


def compared(before: Path, after: Path) -> tuple[int, int]:
    """Check that two models differ in zeroed values alone; count these, and their tensors."""
    old, new = onnx.load(before), onnx.load(after)
    zeroed = touched = 0
    for was, now in zip(tensors(old), tensors(new), strict=True):
        if was == now:
            continue
        assert (was.name, was.dims, was.data_type) == (now.name, now.dims, now.data_type)
        first, second = stored(was), stored(now)
        changed = first != second
        assert np.unique(second[changed]).size <= 1
        assert was.data_type in (2, 3) or not second[changed].any()
        zeroed += int(changed.sum())
        touched += 1
        now.CopyFrom(was)
    assert old == new
    assert old.SerializeToString() == new.SerializeToString()
    assert len(list(old.graph.initializer)) == len(list(new.graph.initializer))
    return zeroed, touched


def stored(proto: TensorProto) -> np.ndarray:
    values = numpy_helper.to_array(proto)
    return real(BFLOAT16, values.view(np.uint16)) if proto.data_type == BFLOAT16 else values


def assert_same_but_zeros(report: Report, path: Path, output: Path) -> None:
    zeroed, touched = compared(path, output)
    before = sum(row.tally.zeros_before for row in report.tensors)
    assert zeroed == report.zeros - before
    assert touched <= sum(row.mask_zeros > 0 for row in report.tensors)
    assert report.mask_zeros == round(0.5 * report.size)
    assert report.zeros >= report.mask_zeros


@pytest.fixture
def pruned(tmp_path: Path) -> tuple[Path, Path, Report]:
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    model = rich()
    path.write_bytes(model.SerializeToString())
    report = prune(path, output, 0.5)
    # What is sparse is written dense, in its place and under its name.
    for sparse in model.graph.sparse_initializer:
        values = np.zeros(tuple(sparse.dims), np.float32)
        values[numpy_helper.to_array(sparse.indices)] = numpy_helper.to_array(sparse.values)
        model.graph.initializer.append(numpy_helper.from_array(values, sparse.values.name))
    del model.graph.sparse_initializer[:]
    dense = tmp_path / "dense.onnx"
    dense.write_bytes(model.SerializeToString())
    return dense, output, report


def test_nothing_but_weights_changes(pruned: tuple[Path, Path, Report]) -> None:
    path, output, report = pruned
    assert_same_but_zeros(report, path, output)
    assert output.stat().st_size == path.stat().st_size


def test_names_and_order_of_initializers_stay(pruned: tuple[Path, Path, Report]) -> None:
    names = [each.name for each in onnx.load(pruned[1]).graph.initializer]
    assert names == ["tied", "unused", "double", "typed", "table", "thin"]


def test_a_weight_of_two_operators_stays_one_tensor(
    pruned: tuple[Path, Path, Report],
) -> None:
    _, output, report = pruned
    model = onnx.load(output)
    readers = [node.name for node in model.graph.node if "tied" in node.input]
    assert readers == ["first", "second"]
    assert [row.weight.path for row in report.tensors].count("tied") == 1
    (found,) = (row for row in report.tensors if row.weight.path == "tied")
    values = numpy_helper.to_array(model.graph.initializer[0])
    assert found.tally.zeros == np.count_nonzero(values == 0) > 0


def test_a_tied_embedding_is_pruned_for_both_its_operators_or_for_none(
    pruned: tuple[Path, Path, Report],
) -> None:
    _, output, report = pruned
    table = numpy_helper.to_array(onnx.load(output).graph.initializer[4])
    zeros = int(np.count_nonzero(table == 0))
    rows = {row.weight.path: row.mask_zeros for row in report.tensors}
    assert zeros == rows.get("table", 0)
    assert "table" in rows or "table" in [skipped.name for skipped in report.skipped]


def test_weights_are_found_where_others_do_not_look(
    pruned: tuple[Path, Path, Report],
) -> None:
    rows = {row.weight.path: row for row in pruned[2].tensors}
    hidden = ["k", "double", "typed", "choice.then_branch/w", "choice.else_branch/w"]
    for path in [*hidden, "function:F/k"]:
        assert rows[path].tally.zeros == rows[path].mask_zeros > 0


def test_what_a_model_says_of_itself_stays(pruned: tuple[Path, Path, Report]) -> None:
    model = onnx.load(pruned[1])
    assert (model.ir_version, model.model_version) == (9, 41)
    assert (model.producer_name, model.producer_version) == ("someone", "7")
    assert (model.domain, model.doc_string) == ("org.example", "a model")
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    assert opsets == [("", 18), ("my", 1), ("ai.onnx.ml", 3)]
    said = [(entry.key, entry.value) for entry in model.metadata_props]
    assert said == [("the same key", "first"), ("the same key", "second")]
    assert [function.name for function in model.functions] == ["F"]
    assert len(model.training_info) == 1
    assert model.graph.node[0].metadata_props[0].value == "a node"
    assert model.graph.initializer[0].doc_string == "a tensor"


def test_onnx_runtime_runs_what_was_written(pruned: tuple[Path, Path, Report]) -> None:
    model = onnx.load(pruned[1])
    session = onnxruntime.InferenceSession(pruned[1], providers=["CPUExecutionProvider"])
    feed = {"x": np.ones((2, 8), np.float32), "c": np.array(True), "ids": np.array([1, 10])}
    tied = numpy_helper.to_array(model.graph.initializer[0])
    typed = numpy_helper.to_array(model.graph.initializer[3])
    (made,) = session.run(["t"], feed)
    assert np.allclose(made, feed["x"] @ tied @ typed, atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.9, 0.99])
@pytest.mark.parametrize("method", ["uniform", "global", "lamp"])
def test_the_asked_sparsity_is_met_exactly(
    tmp_path: Path, method: str, sparsity: float
) -> None:
    # A tool that rounds per output row makes 0.9063 and 0.9844 of these, at 64 columns.
    values = some(FLOAT, (64, 64))
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(FLOAT, tensor("w", FLOAT, values), (64, 64)))
    recipe = make_recipe({"sparsity": sparsity, "method": method})
    prune_file(path, recipe, Settings(output=output, verify=False))
    found = numpy_helper.to_array(onnx.load(output).graph.initializer[0])
    assert np.count_nonzero(found == 0) == round(sparsity * 4096)


def test_bfloat16_is_pruned_by_magnitude(tmp_path: Path) -> None:
    values = np.array([[0x3F80, 0x3E80, 0x4000, 0xBD00]], np.uint16)  # 1, 1/4, 2, -1/32
    path, output = tmp_path / "model.onnx", tmp_path / "out.onnx"
    path.write_bytes(one_weight(BFLOAT16, tensor("w", BFLOAT16, values), (1, 4)))
    prune(path, output)
    found = stored(onnx.load(output).graph.initializer[0])
    assert found.tolist() == [[1.0, 0.0, 2.0, 0.0]]


def test_no_weight_to_prune_is_an_error_and_no_file(tmp_path: Path) -> None:
    model = rich()
    del model.graph.node[:], model.functions[:]
    model.graph.node.add(op_type="Identity", input=["x"], output=["y"])
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(TargetError, match="nothing to prune"):
        prune(path, tmp_path / "out.onnx")
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]


@pytest.mark.parametrize("name", FOUND or [ABSENT])
def test_a_real_model_changes_in_nothing_but_zeros(tmp_path: Path, name: str) -> None:
    path, output = MODELS / name, tmp_path / "out.onnx"
    recipe = make_recipe({"sparsity": 0.5, "method": "lamp"})
    try:
        report = prune_file(path, recipe, Settings(output=output, verify=False))
    except OnnxpruneError as error:
        assert error.exit_code == WITHOUT_WEIGHTS[name]
        assert not output.exists()
        return
    assert name not in WITHOUT_WEIGHTS
    assert_same_but_zeros(report, path, output)
    assert report.sizes.before == report.sizes.after
