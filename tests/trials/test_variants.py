from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune.errors import UnsupportedError
from onnxprune.formats.edits import Edit
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.formats.saving import Saving
from onnxprune.planning import make_plan
from onnxprune.pruning import edits_of
from onnxprune.recipe import make_recipe
from onnxprune.trials.runner import Runner
from onnxprune.trials.variants import Variants, find_message, names_read
from tests import models
from tests.shared import all_models, needs_models

Array = models.Array
SPARSITIES = (0.3, 0.9)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    with Runner("cpu") as made:
        yield made


def feeds_of(ports: list[Any], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    generator = np.random.default_rng(7)
    feeds = {}
    for name, kind, shape in ports:
        sizes = [size if isinstance(size, int) and size > 0 else 1 for size in shape]
        dtype = np.dtype({"float": "f4", "double": "f8"}.get(kind[7:-1], kind[7:-1]))
        values = generator.standard_normal(shapes.get(name, tuple(sizes)))
        feeds[name] = np.asarray(values).astype(dtype)
        if name == "sr":
            feeds[name] = np.array(16000)
    return feeds


def outputs_of(runner: Runner, key: str, feeds: dict[str, Array]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in runner.run(key, feeds).items()}


def check_equal_to_files(
    runner: Runner,
    path: Path,
    folder: Path,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Variants answer bit by bit what files of the same masks answer, in any order."""
    ports = runner.open("dense", path)["inputs"]
    feeds = feeds_of(ports, shapes or {})
    expected = {0.0: outputs_of(runner, "dense", feeds)}
    for sparsity in SPARSITIES:
        output = folder / f"{sparsity}.onnx"
        onnxprune.prune(path, sparsity, output=output, verify=False)
        runner.open("file", output)
        expected[sparsity] = outputs_of(runner, "file", feeds)
    with load_onnx(path) as model, Variants(model) as variants:
        for sparsity in (*SPARSITIES, 0.0, SPARSITIES[0]):
            recipe = make_recipe({"sparsity": sparsity})
            plan = make_plan(recipe, model.weights, model.values)
            variants.open(runner, "variant", edits_of(plan))
            assert outputs_of(runner, "variant", feeds) == expected[sparsity]


def shared_with_weights() -> list[str]:
    return [name for name in all_models() if "bf16" not in name]


@pytest.mark.parametrize("name", shared_with_weights())
def test_variants_of_real_models_answer_as_their_files_do(
    runner: Runner, name: str, tmp_path: Path
) -> None:
    path = needs_models(name)
    try:
        with load_onnx(path) as model:
            prunable = bool(model.weights)
            inputs = [value.name for value in model.graph.model.graph.input]
    except onnxprune.OnnxpruneError:
        pytest.skip("not a model that can be loaded")
    if not prunable:
        pytest.skip("nothing to prune in it")
    shapes = {"input": (1, 576), "state": (2, 1, 128)} if "silero" in name else {}
    if "attention_head" in name:
        shapes = dict.fromkeys(inputs, (100, 100, 100))
    check_equal_to_files(runner, path, tmp_path, shapes)


def test_variants_of_the_example_answer_as_their_files_do(
    runner: Runner, digits: Path, tmp_path: Path
) -> None:
    check_equal_to_files(runner, digits, tmp_path)


def matrices(names: str, size: int = 40) -> list[onnx.TensorProto]:
    return [models.weight(name, size, size) for name in names.split()]


def test_weights_in_nodes_subgraphs_and_functions_are_changed_too(
    runner: Runner, tmp_path: Path
) -> None:
    then = models.graph([models.node("MatMul x inner -> t")], None, "t", matrices("inner"))
    other = models.graph(
        [
            models.node("Constant -> held", value=matrices("held")[0]),
            models.node("MatMul x held -> e"),
        ],
        None,
        "e",
    )
    body = [
        models.node("Constant -> fixed", value=matrices("fixed")[0]),
        models.node("MatMul a fixed -> b"),
    ]
    nodes = [
        models.node("ReduceSum x total_axes -> total", keepdims=0),
        models.node("Less total zero -> negative"),
        models.node("If negative -> i", then_branch=then, else_branch=other),
        models.node("Double i -> j", domain="local"),
        models.node("MatMul j outer -> y"),
    ]
    proto = models.model(
        nodes,
        {"x": [3, 40]},
        "y",
        [
            *matrices("outer"),
            models.constant("total_axes", [0, 1], np.int64),
            models.constant("zero", 0.0),
        ],
        [models.function("Double", "a -> b", body)],
    )
    path = models.save(tmp_path / "m.onnx", proto)
    check_equal_to_files(runner, path, tmp_path)
    with load_onnx(path) as model:
        assert len(model.weights) == 4


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.float32])
def test_weights_of_other_types_are_changed_too(
    runner: Runner, tmp_path: Path, dtype: Any
) -> None:
    kind = models.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    proto = models.model(
        [models.node("MatMul x w -> y")], {}, "y", [models.weight("w", 40, 30, dtype=dtype)]
    )
    proto.graph.input.append(models.port("x", [2, 40], kind))
    proto.graph.output[0].CopyFrom(models.port("y", [2, 30], kind))
    check_equal_to_files(runner, models.save(tmp_path / "m.onnx", proto), tmp_path)


def written(path: Path, edits: Mapping[str, Edit], **more: Any) -> Path:
    output = path.with_name("written.onnx")
    with load_onnx(path) as model:
        Saving(model, output, edits, verify=False, **more).run()
    return output


@pytest.mark.parametrize("size", [10, 400])
@pytest.mark.parametrize("external", [False, True])
def test_biases_and_what_normalises_are_changed_too(
    runner: Runner, tmp_path: Path, size: int, external: bool
) -> None:
    held = models.node("Constant -> held", value=models.weight("", size))
    floats = models.node("Constant -> floats", value_floats=[0.5] * size)
    nodes = [
        *(held, floats),
        models.node("MatMul x w -> a"),
        models.node("Add a bias -> b"),
        models.node("BatchNormalization b scale shift mean variance -> c"),
        models.node("Add c held -> d"),
        models.node("Add d floats -> y"),
    ]
    names = ["bias", "scale", "shift", "mean", "variance"]
    tensors = [models.weight("w", 10, size), *(models.weight(name, size) for name in names)]
    tensors[-1] = models.constant("variance", np.ones(size))
    proto = models.model(nodes, {"x": [2, 10]}, "y", tensors)
    path = models.save(tmp_path / "m.onnx", proto)
    if external:
        onnx.save(proto, path, save_as_external_data=True, location="d", size_threshold=0)
    random = np.random.default_rng(2)
    new = {
        name: random.uniform(1, 2, size).astype("f4") for name in [*names, "held", "floats"]
    }
    new["w"] = random.standard_normal(10 * size).astype("f4")
    edits = {name: Edit(values=values) for name, values in new.items()}
    edits["w"] = Edit(lambda start, values: values > 0, new["w"])
    x = {"x": random.standard_normal((2, 10)).astype("f4")}
    runner.open("dense", path)
    runner.open("file", written(path, edits))
    dense, expected = (outputs_of(runner, key, x) for key in ("dense", "file"))
    assert dense != expected
    with load_onnx(path) as model, Variants(model) as variants:
        for chosen, answer in ((edits, expected), ({}, dense), (edits, expected)):
            variants.open(runner, "variant", chosen)
            assert outputs_of(runner, "variant", x) == answer
        some = {name: edits[name] for name in ("w", "shift", "floats")}
        variants.open(runner, "variant", some)
        runner.open("file", written(path, some))
        assert outputs_of(runner, "variant", x) == outputs_of(runner, "file", x)


def test_a_variant_may_have_new_biases(runner: Runner, tmp_path: Path) -> None:
    proto = models.model([models.node("MatMul x w -> y")], {"x": [2, 40]}, "y", matrices("w"))
    path = models.save(tmp_path / "m.onnx", proto)
    bias = np.arange(40, dtype="f4")
    edits = {"w": Edit(values=np.eye(40, dtype="f4").reshape(-1))}
    x = {"x": np.ones((2, 40), "f4")}
    with load_onnx(path) as model, Variants(model) as variants:
        variants.open(runner, "variant", {}, {"w": bias + 1})
        variants.open(runner, "variant", edits, {"w": bias})
        assert np.array_equal(runner.run("variant", x)["y"], np.ones((2, 40)) + bias)
        variants.open(runner, "variant", edits)
        assert np.array_equal(runner.run("variant", x)["y"], np.ones((2, 40)))


def test_external_data_are_changed_too(runner: Runner, tmp_path: Path) -> None:
    proto = models.model(
        [models.node("MatMul x w -> h"), models.node("MatMul h v -> y")],
        {"x": [2, 40]},
        "y",
        matrices("w v"),
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "out").mkdir()
    check_equal_to_files(runner, path, tmp_path / "out")


def test_two_tensors_of_the_same_bytes_are_changed_together(
    runner: Runner, tmp_path: Path
) -> None:
    proto = models.model(
        [models.node("MatMul x w -> h"), models.node("MatMul h twin -> y")],
        {"x": [2, 40]},
        "y",
        matrices("w twin"),
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    written = onnx.load(path, load_external_data=False)
    for entry in written.graph.initializer[1].external_data:
        if entry.key == "offset":
            entry.value = "0"
    path.write_bytes(written.SerializeToString())
    (tmp_path / "out").mkdir()
    check_equal_to_files(runner, path, tmp_path / "out")


def test_an_initializer_that_nothing_reads_is_no_obstacle(
    runner: Runner, tmp_path: Path
) -> None:
    proto = models.model(
        [models.node("MatMul x w -> y")], {"x": [2, 40]}, "y", matrices("w unused")
    )
    check_equal_to_files(runner, models.save(tmp_path / "m.onnx", proto), tmp_path)


def test_a_session_keeps_its_values_when_the_next_variant_is_made(
    runner: Runner, tmp_path: Path
) -> None:
    proto = models.model([models.node("MatMul x w -> y")], {"x": [1, 40]}, "y", matrices("w"))
    x = {"x": np.ones((1, 40), np.float32)}
    with (
        load_onnx(models.save(tmp_path / "m.onnx", proto)) as model,
        Variants(model) as variants,
    ):
        variants.open(runner, "dense", {})
        before = runner.run("dense", x)["y"].copy()
        variants.open(
            runner, "none", {"w": Edit(lambda _, values: np.ones(values.shape, bool))}
        )
        assert not runner.run("none", x)["y"].any()
        assert runner.run("dense", x)["y"].tobytes() == before.tobytes()


def test_a_weight_that_shares_bytes_with_another_tensor_is_refused(
    runner: Runner, tmp_path: Path
) -> None:
    proto = models.model(
        [models.node("MatMul x w -> h"), models.node("Add h bias -> y")],
        {"x": [2, 40]},
        "y",
        [*matrices("w"), models.weight("bias", 2, 40)],
    )
    path = tmp_path / "m.onnx"
    onnx.save(proto, path, save_as_external_data=True, location="m.data", size_threshold=0)
    written = onnx.load(path, load_external_data=False)
    for entry in written.graph.initializer[1].external_data:
        if entry.key == "offset":
            entry.value = "0"
    path.write_bytes(written.SerializeToString())
    with load_onnx(path) as model, Variants(model) as variants:
        plan = make_plan(make_recipe({"sparsity": 0.5}), model.weights, model.values)
        with pytest.raises(UnsupportedError, match="'w' shares bytes with 'bias'"):
            variants.open(runner, "v", edits_of(plan))


def test_messages_are_found_by_their_address() -> None:
    inner = models.graph([], None, "", [models.constant("deep", [1.0, 2.0])])
    proto = models.model(
        [models.node("If c -> y", then_branch=inner, else_branch=inner)],
        {},
        "y",
        [models.constant("first", [1.0]), models.constant("second", [2.0])],
    )
    assert find_message(proto, (7, 0, 5, 1)).name == "second"
    branch = next(a.name for a in proto.graph.node[0].attribute)
    found = find_message(proto, (7, 0, 1, 0, 5, 0, 6, 0, 5, 0))
    assert found.name == "deep"
    assert branch in ("then_branch", "else_branch")


def test_names_that_subgraphs_read_are_read() -> None:
    inner = models.graph([models.node("Identity outer -> z")], None, "z")
    proto = models.model([models.node("If c -> y", then_branch=inner, else_branch=inner)])
    assert names_read(proto.graph) == {"c", "outer", "z", "y"}
