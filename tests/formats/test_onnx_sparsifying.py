"""What is stored sparse is smaller, the same to a runtime, and made dense again bit by bit."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxprune
from onnxprune.errors import OutputError, TargetError
from onnxprune.formats import onnx_sparsifying
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.onnx_sparsifying import choose, write_sparse
from onnxprune.formats.output import Temporary
from onnxprune.types import Report
from tests.formats import files_made
from tests.formats.files_made import (
    BFLOAT16,
    DOUBLE,
    ENCODINGS,
    FLOAT,
    FLOAT16,
    INT8,
    NAMES,
    UINT8,
    graph_of,
    model_of,
    one_weight,
    scaling,
    some,
    tensor,
)
from tests.formats.sparse_made import product, save, sparse, with_sparse
from tests.shared import MODELS, all_models, needs_models

SHAPE = (40, 30)
FIXED = (FLOAT, DOUBLE)
"""Types whose numbers have a width of their own in every encoding."""


def written(path: Path, sparsity: float = 0.95, **options: Any) -> tuple[Path, Path, Report]:
    """Prune a model, once dense and once sparse."""
    dense, thin = path.with_name("dense.onnx"), path.with_name("thin.onnx")
    given = {"method": "global", "verify": False, **options}
    onnxprune.prune(path, sparsity, output=dense, **given)
    report = onnxprune.prune(path, sparsity, output=thin, storage="sparse", **given)
    assert report.storage is not None
    assert (report.storage.form, report.output) == ("sparse", str(thin))
    return dense, thin, report


def check_restored(dense: Path, thin: Path) -> None:
    """Hold the law: a file that was written sparse is made dense byte by byte."""
    again = thin.with_name("again.onnx")
    report = onnxprune.densify(thin, again, verify=False)
    assert again.read_bytes() == dense.read_bytes()
    assert report.storage is not None
    assert report.storage.form == "dense"


FED = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}


def outputs(path: Path) -> list[Any]:
    """Run a model on ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(1)
    feed = {}
    for port in session.get_inputs():
        sizes = [size if isinstance(size, int) else 1 for size in port.shape]
        feed[port.name] = random.standard_normal(sizes).astype(FED[port.type])
    return list(session.run(None, feed))


def check_same(dense: Path, thin: Path) -> None:
    """Hold the law: a runtime computes the same bits."""
    for first, second in zip(outputs(dense), outputs(thin), strict=True):
        assert first.tobytes() == second.tobytes()


def stays(report: Report) -> dict[str, int]:
    assert report.storage is not None
    return dict(report.storage.stay)


def quantised(kind: int, zero: int = 0) -> tuple[bytes, ...]:
    return scaling(kind, np.array(zero), np.array(0.5, np.float32))


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("kind", NAMES, ids=NAMES.values())
def test_every_type_and_encoding_gets_smaller_or_stays_as_it_was(
    kind: int, encoding: str, tmp_path: Path
) -> None:
    others = quantised(kind) if kind in (INT8, UINT8) else ()
    weight = tensor("w", kind, some(kind, SHAPE), encoding)
    path = save(tmp_path / "m.onnx", one_weight(kind, weight, SHAPE, *others))
    dense, thin, report = written(path)
    if encoding == "raw" or (encoding == "packed" and kind in FIXED):
        assert thin.stat().st_size < 0.6 * dense.stat().st_size
        onnx.checker.check_model(str(thin))
        assert (report.storage.tensors, stays(report)) == (1, {})  # type: ignore[union-attr]
        found = onnx.load(thin).graph.sparse_initializer[0]
        assert found.values.name == "w"
        assert list(found.dims) == list(SHAPE)
        assert found.indices.data_type == TensorProto.INT64
        check_restored(dense, thin)
    else:
        assert thin.read_bytes() == dense.read_bytes()
        assert stays(report) == {"in an encoding that could not be restored": 1}
    if kind != BFLOAT16:  # nothing multiplies these on a processor
        check_same(dense, thin)


@pytest.mark.parametrize(
    ("kind", "share"), [(FLOAT, 2 / 3), (FLOAT16, 0.8), (DOUBLE, 0.5), (INT8, 8 / 9)]
)
def test_the_break_even_is_by_actual_bytes(kind: int, share: float, tmp_path: Path) -> None:
    values = np.zeros(9000)
    # A little above the share, what both forms have besides the values weighs in.
    for count, smaller in (
        (round(9000 * (1 - share)), False),
        (round(8500 * (1 - share)), True),
    ):
        values[:] = 0
        values[:count] = 1
        stored = values.astype(files_made.STORED[kind]).reshape(90, 100)
        others = quantised(kind) if kind == INT8 else ()
        content = one_weight(kind, tensor("w", kind, stored), (90, 100), *others)
        path = save(tmp_path / "m.onnx", content)
        with load_onnx(path) as model:
            choice = choose(model, ["w"])
        assert bool(choice.forms) == smaller


def test_a_tie_stays_dense_and_one_value_less_does_not(tmp_path: Path) -> None:
    sizes = set()
    for count in range(300, 340):
        values = np.zeros(1000, np.float32)
        values[:count] = 1
        content = one_weight(FLOAT, tensor("w", FLOAT, values.reshape(10, 100)), (10, 100))
        path = save(tmp_path / "m.onnx", content)
        with load_onnx(path) as model:
            choice = choose(model, ["w"])
        thin = choice.storage.sparse_bytes
        if choice.forms:
            assert thin < choice.storage.dense_bytes
            sizes.add(thin)
        else:
            assert choice.stay == {"would not get smaller": 1}
    assert max(sizes) >= choice_dense_bytes(path) - 12


def choice_dense_bytes(path: Path) -> int:
    with load_onnx(path) as model:
        frame = model.graph.by_path["w"].record.frame
        return frame.end - frame.length_at + 1


def test_zeros_with_a_sign_and_values_that_are_no_numbers_stay(tmp_path: Path) -> None:
    values = np.zeros(SHAPE, np.float32)
    values.reshape(-1)[:6] = [-0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45]
    path = save(tmp_path / "m.onnx", one_weight(FLOAT, tensor("w", FLOAT, values), SHAPE))
    with load_onnx(path) as model:
        assert [form.kept for form in choose(model, ["w"]).forms] == [6]
        with Temporary(tmp_path / "thin.onnx") as temporary:
            write_sparse(model, ["w"], temporary, {})
            temporary.commit()
    check_restored(path, tmp_path / "thin.onnx")


def test_a_zero_point_that_is_not_zero_leaves_nothing_out(tmp_path: Path) -> None:
    content = tensor("w", UINT8, some(UINT8, SHAPE))
    path = save(tmp_path / "m.onnx", one_weight(UINT8, content, SHAPE, *quantised(UINT8, 128)))
    dense, thin, report = written(path)
    assert thin.read_bytes() == dense.read_bytes()
    assert stays(report) == {"would not get smaller": 1}
    assert "no tensor gets smaller stored sparse" in report.warnings[-1]


def linear(names: str = "ab", **changes: Any) -> onnx.ModelProto:
    """Multiply by one weight after the other."""
    nodes = [helper.make_node("MatMul", ["x", name], [f"y{name}"]) for name in names]
    ports = [helper.make_tensor_value_info("x", FLOAT, (2, 40))]
    results = [helper.make_tensor_value_info(f"y{name}", FLOAT, (2, 30)) for name in names]
    tensors = [
        numpy_helper.from_array(some(FLOAT, SHAPE, seed), name)
        for seed, name in enumerate(names)
    ]
    graph = helper.make_graph(nodes, "g", ports, results, tensors)
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], **{"ir_version": 8, **changes})


def as_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("a", FLOAT, SHAPE))


def as_output(model: onnx.ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("a", FLOAT, SHAPE))


def in_a_node(model: onnx.ModelProto) -> None:
    given = model.graph.initializer.pop(0)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["a"], value=given))


def outside(model: onnx.ModelProto) -> None:
    given = model.graph.initializer[0]
    given.data_location = TensorProto.EXTERNAL
    given.external_data.add(key="location", value="a.bin")
    given.ClearField("raw_data")


REASONS: dict[str, Callable[[onnx.ModelProto], None]] = {
    "an input of the graph, too": as_input,
    "an output of the graph, too": as_output,
    "in a node, a subgraph or a function": in_a_node,
    "in a data file": outside,
}


@pytest.mark.parametrize("reason", REASONS)
def test_what_cannot_be_sparse_stays_dense_and_is_counted(reason: str, tmp_path: Path) -> None:
    model = linear()
    REASONS[reason](model)
    (tmp_path / "a.bin").write_bytes(some(FLOAT, SHAPE).tobytes())
    dense, thin, report = written(save(tmp_path / "m.onnx", model))
    assert stays(report) == {reason: 1}
    assert report.storage is not None
    assert report.storage.tensors == 1
    found = onnx.load(thin, load_external_data=False).graph
    assert [each.values.name for each in found.sparse_initializer] == ["b"]
    if reason != "in a data file":
        check_restored(dense, thin)
    check_same(dense, thin)


def test_older_formats_have_no_sparse_tensors(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", linear(ir_version=5))
    dense, thin, report = written(path)
    assert stays(report) == {"in IR version 5, which has no sparse tensors": 2}
    assert thin.read_bytes() == dense.read_bytes()


def test_lengths_that_are_longer_than_need_be_stay(tmp_path: Path) -> None:
    values = some(FLOAT, SHAPE)
    content = tensor("w", FLOAT, values)
    graph = graph_of(FLOAT, SHAPE).SerializeToString()
    head = files_made.number_field(1, 10)
    tail = files_made.field(8, files_made.number_field(2, 21))
    long = files_made.varint(5 << 3 | 2) + files_made.varint(len(content), 5) + content
    inner = graph + files_made.field(5, content)
    outer = files_made.varint(7 << 3 | 2) + files_made.varint(len(inner), 5) + inner
    tagged = (
        graph + files_made.varint(5 << 3 | 2, 3) + files_made.varint(len(content)) + content
    )
    for data in (
        head + files_made.field(7, graph + long) + tail,
        head + outer + tail,
        head + files_made.field(7, tagged) + tail,
    ):
        dense, thin, report = written(save(tmp_path / "m.onnx", data))
        assert stays(report) == {"in an encoding that could not be restored": 1}
        assert thin.read_bytes() == dense.read_bytes()
        dense.unlink()
        thin.unlink()


def test_all_else_that_is_said_of_a_tensor_is_kept_in_any_order(tmp_path: Path) -> None:
    said = files_made.field(12, b"what it is") + files_made.field(
        16, files_made.field(1, b"k")
    )
    unknown = files_made.number_field(90, 7)
    values = files_made.field(9, some(FLOAT, SHAPE).tobytes())
    dims = b"".join(files_made.number_field(1, size) for size in SHAPE)
    kind, name = files_made.number_field(2, FLOAT), files_made.field(8, b"w")
    for number, content in enumerate(
        (
            name + said + values + unknown + dims + kind,
            kind + dims + unknown + name + values + said,
            values + dims + kind + name,
        )
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = save(folder / "m.onnx", model_of([content], graph_of(FLOAT, SHAPE)))
        dense, thin, report = written(path)
        assert report.storage is not None
        assert report.storage.tensors == 1
        check_restored(dense, thin)
        check_same(dense, thin)


def test_nothing_else_changes(tmp_path: Path) -> None:
    dense, thin, _ = written(save(tmp_path / "m.onnx", linear("abcd")))
    before, after = onnx.load(dense), onnx.load(thin)
    names = [each.values.name for each in after.graph.sparse_initializer]
    assert names == [each.name for each in before.graph.initializer] == list("abcd")
    for whole, found in zip(
        before.graph.initializer, after.graph.sparse_initializer, strict=True
    ):
        flat = numpy_helper.to_array(whole).reshape(-1)
        places = numpy_helper.to_array(found.indices)
        assert places.tolist() == np.flatnonzero(flat).tolist()
        assert numpy_helper.to_array(found.values).tolist() == flat[places].tolist()
    del before.graph.initializer[:], after.graph.sparse_initializer[:]
    assert before == after


def test_several_threads_write_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "m.onnx", linear("abcd"))
    _, thin, _ = written(path)
    first = thin.read_bytes()
    monkeypatch.setenv("ONNXPRUNE_THREADS", "4")
    monkeypatch.setattr(onnx_sparsifying, "ROWS", 77)
    monkeypatch.setattr(onnx_sparsifying, "CHUNK", 33)
    output = tmp_path / "again.onnx"
    given: dict[str, Any] = {"method": "global", "verify": False, "storage": "sparse"}
    onnxprune.prune(path, 0.95, output=output, **given)
    assert output.read_bytes() == first


def test_what_was_sparse_is_written_so_again(tmp_path: Path) -> None:
    dense, thin, report = written(save(tmp_path / "m.onnx", linear()))
    given: dict[str, Any] = {"method": "global", "verify": False, "force": True}
    again = tmp_path / "again.onnx"
    # Nothing more falls: the file stays as it is, also where a tensor is left alone.
    for options in ({}, {"exclude": ["a"]}):
        sparsity = 0.5
        found = onnxprune.prune(
            thin, sparsity, output=again, storage="sparse", **given, **options
        )
        assert again.read_bytes() == thin.read_bytes()
        assert found.storage == report.storage
        assert not found.warnings
    found = onnxprune.prune(thin, 0.5, output=again, **given)
    assert again.read_bytes() == dense.read_bytes()
    assert found.warnings == (
        "2 sparse tensors were made dense; --storage sparse writes them so again",
    )
    assert found.storage is not None
    assert found.storage.form == "dense"
    assert found.sha256 == onnxprune.inspect(thin, verify=False).sha256
    assert found.sizes.before == thin.stat().st_size


def test_a_plan_says_what_would_be_written(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", linear())
    _, _, report = written(path)
    given: dict[str, Any] = {"method": "global", "verify": False, "storage": "sparse"}
    planned = onnxprune.prune(path, 0.95, dry_run=True, **given)
    assert planned.storage == report.storage
    assert planned.output is None


def test_what_cannot_be_made_dense_again_is_not_put_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(tmp_path / "m.onnx", linear())

    def write_others(cells: Any, descriptor: int, at: int, target: Path) -> None:
        os.pwrite(descriptor, b"\1" * 16, at)

    monkeypatch.setattr(onnx_sparsifying, "_write_values", write_others)
    given: dict[str, Any] = {"verify": False, "storage": "sparse"}
    with pytest.raises(
        OutputError, match="what was written sparse is not read back as it was"
    ):
        onnxprune.prune(path, 0.9, output=tmp_path / "thin.onnx", **given)
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


def test_nothing_sparse_is_no_work_for_densify(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", linear())
    with pytest.raises(TargetError, match="no tensor is stored sparse") as refused:
        onnxprune.densify(path)
    assert refused.value.exit_code == 7
    odd = sparse(helper.make_tensor("w", TensorProto.INT4, [3], [1, 2, 3]))
    with pytest.raises(TargetError, match="no tensor is stored sparse"):
        onnxprune.densify(save(path, with_sparse(odd)))
    assert product().graph.node[0].name == "product"
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("name", ["ts_folded", "fp16", "qdq_int8"])
def test_a_trained_model_shrinks_and_computes_the_same(name: str, tmp_path: Path) -> None:
    source = needs_models("resnet20", f"{name}.onnx")
    path = save(tmp_path / "m.onnx", source.read_bytes())
    dense, thin, _ = written(path, 0.9, method="lamp")
    ratio = thin.stat().st_size / dense.stat().st_size
    assert ratio <= {"ts_folded": 0.31, "fp16": 0.49, "qdq_int8": 0.75}[name]
    check_restored(dense, thin)
    check_same(dense, thin)


def test_all_real_models_come_back_byte_by_byte(tmp_path: Path) -> None:
    names = all_models()
    if not names:
        pytest.skip("the optional test models are not here")
    pruned = thinner = 0
    for number, name in enumerate(names):
        folder = tmp_path / str(number)
        folder.mkdir()
        dense, thin = folder / "dense.onnx", folder / "thin.onnx"
        try:
            onnxprune.prune(MODELS / name, 0.9, output=dense, verify=False)
        except onnxprune.OnnxpruneError:
            continue
        pruned += 1
        report = onnxprune.prune(
            MODELS / name, 0.9, output=thin, storage="sparse", verify=False
        )
        assert report.storage is not None
        assert report.storage.tensors + sum(stays(report).values()) == len(report.tensors)
        if report.storage.tensors:
            thinner += 1
            assert thin.stat().st_size < dense.stat().st_size
            check_restored(dense, thin)
        elif len(report.files) == 1:
            assert thin.read_bytes() == dense.read_bytes()
    assert thinner > pruned / 2 > 0
