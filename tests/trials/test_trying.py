"""Variants of one open model: what is run, what fails, what is timed, and with what files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxprune
from onnxprune.errors import InputError, UnsupportedError, UsageError
from onnxprune.outcomes import Accuracy
from onnxprune.recipe import make_recipe
from onnxprune.trials import trying
from onnxprune.trials.trying import Workbench, workbench
from onnxprune.types import Recipe
from tests import models
from tests.trials.made import dividing, measured, quiet, staircase, steps


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    with workbench(staircase(tmp_path / "m.onnx"), quiet(steps(), latency=True)) as opened:
        yield opened


def magnitude(sparsity: float, **more: Any) -> Recipe:
    return make_recipe({"method": "magnitude", "sparsity": sparsity} | more)


def test_the_dense_model_is_measured_against_itself(bench: Workbench) -> None:
    assert bench.dense.accuracy == Accuracy(10, 10, 10, 0, 0)
    assert all(each.identical for each in bench.dense.outputs)
    assert bench.dense.headline == ("accuracy", 1.0, 1.0)


def test_points_do_not_depend_on_those_before(bench: Workbench, tmp_path: Path) -> None:
    tried = [0.9, 0.0, 0.5, 0.9]
    points = [bench.point("label", magnitude(sparsity))[0] for sparsity in tried]
    assert [point.zeros for point in points] == [9, 0, 5, 9]
    assert [point.method for point in points] == ["label"] * 4
    assert points[0].measured == points[3].measured
    assert points[1].measured == bench.dense
    output = tmp_path / "o.onnx"
    onnxprune.prune(bench.path, 0.5, "magnitude", output=output, verify=False)
    assert points[2].measured == measured(bench.path, output, steps())


def test_a_point_that_fails_keeps_the_reason(bench: Workbench) -> None:
    point, measures = bench.point("label", magnitude(0.9, max_layer_sparsity=0.5))
    assert (point.measured, measures, point.zeros) == (None, None, 0)
    assert point.failure == "the caps on tensors: at most 5 of 10 weights can go"


def test_without_a_variant_there_is_nothing_to_time(bench: Workbench) -> None:
    assert bench.latency() is None
    bench.point("label", magnitude(0.9, max_layer_sparsity=0.5))
    assert bench.latency() is None
    bench.point("label", magnitude(0.3))
    latency = bench.latency()
    assert latency is not None
    assert (latency.batch, latency.runs >= 5) == (16, True)


def test_a_wrong_recipe_is_no_failed_point(bench: Workbench) -> None:
    with pytest.raises(UsageError, match="unknown method 'lmap'"):
        bench.point("label", make_recipe({"method": "lmap", "sparsity": 0.5}))


def test_a_file_of_ratios_is_read_once(
    bench: Workbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.json"
    file.write_text('{"tensors": [{"name": "w", "zeros": 1, "size": 2}]}')
    read, plain = [], trying.read_ratios

    def noted(path: Path) -> Any:
        read.append(path)
        return plain(path)

    monkeypatch.setattr(trying, "read_ratios", noted)
    recipe = make_recipe({"allocation": f"from:{file}"})
    for sparsity in (0.2, None, 0.4):
        point, _ = bench.point("label", replace(recipe, sparsity=sparsity))
        assert point.zeros == {0.2: 2, None: 5, 0.4: 4}[sparsity]
    assert read == [file]


def test_a_study_says_what_it_ran_on(bench: Workbench) -> None:
    point, _ = bench.point("label", magnitude(0.3))
    study = bench.study("sweep", [point], ["a note"])
    assert (study.kind, study.points, study.warnings) == ("sweep", (point,), ("a note",))
    assert (study.measure, study.dense, study.data.samples) == ("accuracy", 1.0, 10)
    assert study.place.provider == "CPUExecutionProvider"
    assert study.seconds > point.seconds > 0
    assert len(study.sha256) == 64


def test_a_dense_model_without_numbers_is_bad_input(tmp_path: Path) -> None:
    model = dividing(tmp_path / "m.onnx", 0.0)
    with (
        pytest.raises(InputError) as caught,
        workbench(model, quiet({"x": np.eye(10, dtype=np.float32)})),
    ):
        pass
    assert caught.value.message == "the dense model's output 'r' is NaN at sample 0"


def test_samples_are_named_by_themselves_and_the_model_by_itself(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    missing = tmp_path / "none.npz"
    with pytest.raises(InputError) as caught, workbench(model, quiet(missing)):
        pass
    assert caught.value.message == f"{missing}: no such file or folder"
    with pytest.raises(InputError) as caught, workbench(missing, quiet(steps())):
        pass
    assert caught.value.message == f"{missing}: no such file"
    nope = models.model([models.node("Nope x -> y")], {"x": ["n", 10]}, "y")
    models.save(model, nope)
    with pytest.raises(InputError) as caught, workbench(model, quiet(steps())):
        pass
    assert caught.value.message.startswith(f"{model}: ONNX Runtime refuses the model: ")


def test_what_this_machine_cannot_run_is_not_supported(tmp_path: Path) -> None:
    kind = models.TensorProto.BFLOAT16
    proto = models.model([models.node("Cast x -> b", to=kind), models.node("MatMul b b -> m")])
    proto.graph.input.append(models.port("x", [2, 2]))
    proto.graph.output[0].CopyFrom(models.port("m", [2, 2], kind))
    model = models.save(tmp_path / "m.onnx", proto)
    data = {"x": np.ones((4, 2), np.float32)}
    with pytest.raises(UnsupportedError) as caught, workbench(model, quiet(data)):
        pass
    assert caught.value.message.startswith(f"{model}: ONNX Runtime cannot run the model here")
