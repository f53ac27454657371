"""How batches are fed and answers told apart, on models whose outputs can be computed by eye."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxprune
from onnxprune.errors import InputError, UnsupportedError
from onnxprune.outcomes import Accuracy, OwnMetric
from onnxprune.studying import check, trial
from onnxprune.trials.runner import Runner
from tests import models
from tests.trials.made import Array, Arrays, compared, measured, quiet, staircase, steps


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """List what is fed to the runtime: the session, and the shape of the first input."""
    fed: list[tuple[str, tuple[int, ...]]] = []
    run = Runner.run

    def noted(self: Runner, key: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        fed.append((key, next(iter(feeds.values())).shape))
        return run(self, key, feeds)

    monkeypatch.setattr(Runner, "run", noted)
    return fed


def halved(path: Path) -> Path:
    output = path.with_suffix(".half.onnx")
    onnxprune.prune(path, 0.5, "magnitude", output=output, verify=False)
    return output


def doubled(
    path: Path,
    inputs: Mapping[str, list[int | str]] | None = None,
    head: str = "",
    tail: str = "Identity d -> y",
    *constants: onnx.TensorProto,
) -> Path:
    """Write a model that doubles its input, with a node before and one behind that."""
    before = [models.node(head)] if head else []
    source = head.partition("->")[2].strip() or "x"
    nodes = [*before, models.node(f"Mul {source} two -> d"), models.node(tail)]
    weights = [models.constant("two", 2.0), *constants]
    return models.save(path, models.model(nodes, inputs or {"x": ["n", 2]}, "y", weights))


def test_the_last_batch_may_be_smaller(counted: list[Any], tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 20)
    found = compared(model, model, steps(20))
    shapes = [shape for key, shape in counted if key == "pruned"]
    assert shapes == [(16, 20), (4, 20)]
    assert (found.data.batch, found.data.samples) == (16, 20)
    assert found.measured.accuracy == Accuracy(20, 20, 20, 0, 0)


@pytest.mark.parametrize("batch", [1, 3, 10, 64])
def test_the_batch_size_changes_no_figure(batch: int, tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    pruned = halved(model)
    found = measured(model, pruned, steps(), batch=batch)
    assert found.accuracy == Accuracy(10, 10, 5, 5, 0)
    (one,), (other,) = found.outputs, measured(model, pruned, steps()).outputs
    assert (one.kl, one.cosine, one.sqnr) == pytest.approx(
        (other.kl, other.cosine, other.sqnr)
    )


def test_a_batch_size_that_the_model_fixes_is_filled_up(
    counted: list[Any], tmp_path: Path
) -> None:
    fixed = staircase(tmp_path / "fixed.onnx", batch=4)
    free = staircase(tmp_path / "free.onnx")
    found = compared(fixed, halved(fixed), steps())
    assert {shape for _, shape in counted} == {(4, 10)}
    assert len([key for key, _ in counted if key == "pruned"]) == 3
    assert (found.data.batch, found.data.samples) == (4, 10)
    # Had the repeated samples counted, 12 would have been answered.
    assert found.measured.accuracy == Accuracy(10, 10, 5, 5, 0)
    assert found.measured == measured(free, halved(free), steps(), batch=4)


def test_a_metric_gets_no_repeated_sample(tmp_path: Path) -> None:
    fixed = staircase(tmp_path / "m.onnx", batch=4)
    lengths: list[tuple[int, int, int]] = []

    def metric(outputs: Arrays, samples: Arrays) -> float:
        lengths.append((len(outputs["y"]), len(samples["x"]), len(samples["labels"])))
        return float(outputs["y"][:, 0].max())

    study = onnxprune.sweep(fixed, quiet(steps(), metric=metric), ["magnitude"], [0.5])
    assert set(lengths) == {(4, 4, 4), (2, 2, 2)}
    point = study.points[0].measured
    assert point is not None
    # Of the batches of 4, 4 and 2 samples, the last has the highest score.
    dense, pruned = (4 * 4 + 4 * 8 + 2 * 10) / 10, (4 * 0 + 4 * 8 + 2 * 10) / 10
    assert point.own == OwnMetric("metric", dense, pruned)


def test_a_model_that_takes_one_sample_after_all_gets_them_one_by_one(
    counted: list[Any], tmp_path: Path
) -> None:
    shape = models.constant("shape", [1, 2], np.int64)
    model = doubled(
        tmp_path / "m.onnx", None, "Reshape x shape -> r", "Identity d -> y", shape
    )
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    found = compared(model, model, {"x": x})
    assert found.warnings == (
        "the model does not take 16 samples at once, though its inputs say so:"
        " they ran one by one",
    )
    assert (found.data.batch, found.data.samples) == (1, 5)
    assert [shape for key, shape in counted if key == "pruned"] == [(1, 2)] * 5
    with pytest.raises(InputError, match="cannot run the model on these data") as caught:
        compared(model, model, {"x": x}, batch=5)
    assert caught.value.message.startswith(f"{model}: ONNX Runtime")


@pytest.mark.parametrize(
    ("tail", "sums"),
    [
        ("Transpose d -> y", [2.0, 10.0, 18.0]),
        ("ReduceSum d -> y", [2.0, 10.0, 18.0]),
        ("ReduceMax d -> y", [2.0, 6.0, 10.0]),
    ],
)
def test_an_output_without_an_axis_of_samples_is_that_of_one_sample(
    tail: str, sums: list[float], tmp_path: Path
) -> None:
    model = doubled(tmp_path / "m.onnx", None, "", tail)
    if "Reduce" in tail:
        proto = onnx.load(model)
        proto.graph.node[-1].attribute.append(onnx.helper.make_attribute("keepdims", 0))
        models.save(model, proto)
    seen: list[float] = []

    def metric(outputs: Arrays, _: Arrays) -> float:
        assert len(outputs["y"]) == 1
        seen.append(float(outputs["y"].sum()))
        return 0.0

    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    found = compared(model, model, {"x": x}, metric=metric)
    assert seen[::2] == seen[1::2] == sums
    assert found.data.batch == 1
    assert len(found.warnings) == 1
    if "Transpose" in tail:
        with pytest.raises(UnsupportedError) as caught:
            compared(model, model, {"x": x}, batch=3)
        assert caught.value.message == (
            f"{model}: output 'y' of shape [2, 3] cannot be told apart into 3 samples"
        )
        assert caught.value.hint == "--batch 1 runs them one by one"


def test_a_single_sample_needs_no_axis_to_be_told_apart(tmp_path: Path) -> None:
    model = doubled(tmp_path / "m.onnx", None, "", "Transpose d -> y")
    found = compared(model, model, {"x": np.ones((1, 2), np.float32)})
    assert (found.data.samples, found.warnings) == (1, ())


def test_whole_feeds_are_run_one_at_a_time(counted: list[Any], tmp_path: Path) -> None:
    inputs: dict[str, list[int | str]] = {"x": [1, 2], "state": [2, "n", 3]}
    nodes = [models.node("MatMul x w -> y"), models.node("Identity state -> kept")]
    model = models.save(
        tmp_path / "m.onnx",
        models.model(nodes, inputs, "y kept", [models.constant("w", [[1], [2]])]),
    )
    feeds = {
        "x": np.ones((4, 1, 2), np.float32),
        "state": np.zeros((4, 2, 1, 3), np.float32),
    }
    found = compared(model, model, feeds)
    assert [shape for key, shape in counted if key == "pruned"] == [(1, 2)] * 4
    assert (found.data.batch, found.data.samples, found.warnings) == (1, 4, ())
    assert [each.identical for each in found.measured.outputs] == [True, True]


def test_an_output_that_is_no_tensor_is_left_out(tmp_path: Path) -> None:
    nodes = [models.node("SequenceConstruct x -> s"), models.node("Identity x -> y")]
    proto = models.model(nodes, {"x": ["n", 2]}, "y")
    sequence = onnx.helper.make_tensor_sequence_value_info("s", 1, None)
    proto.graph.output.insert(0, sequence)
    model = models.save(tmp_path / "m.onnx", proto)
    x = np.ones((3, 2), np.float32)
    assert [each.name for each in measured(model, model, {"x": x}).outputs] == ["y"]
    del proto.graph.output[1]
    models.save(model, proto)
    with pytest.raises(InputError, match=r"no output can be compared \('s' gave no arrays\)"):
        compared(model, model, {"x": x})


def test_texts_are_decisions(tmp_path: Path) -> None:
    text = models.TensorProto.STRING
    proto = models.model([models.node("Identity x -> y")], {}, "y")
    proto.graph.input.append(models.port("x", ["n"], text))
    proto.graph.output[0].CopyFrom(models.port("y", ["n"], text))
    model = models.save(tmp_path / "m.onnx", proto)
    (found,) = measured(model, model, {"x": np.array(["a", "bcd", "é"])}).outputs
    assert (found.kind, found.identical, found.agreed, found.answers) == (
        "classes",
        True,
        3,
        3,
    )


def test_of_two_outputs_the_one_that_labels_fit_has_the_accuracy(tmp_path: Path) -> None:
    path = staircase(tmp_path / "m.onnx")
    proto = onnx.load(path)
    proto.graph.output.insert(0, models.port("s", None))
    model = models.save(path, proto)
    first, second = measured(model, halved(model), steps()).outputs
    assert (first.name, first.kind, first.top1) == ("s", "values", None)
    assert first.max_abs == 5.0
    assert (second.name, second.kind) == ("y", "scores")
    assert second.top1 == Accuracy(10, 10, 5, 5, 0)


def test_a_single_number_goes_with_every_sample(tmp_path: Path) -> None:
    nodes = [models.node("Mul x factor -> y")]
    proto = models.model(nodes, {"x": ["n", 2], "factor": []}, "y")
    model = models.save(tmp_path / "m.onnx", proto)
    seen: list[float] = []

    def metric(outputs: Arrays, samples: Arrays) -> float:
        seen.append(float(samples["factor"]))
        return float(outputs["y"][0, 0])

    arrays = {"x": np.ones((20, 2), np.float32), "factor": np.array(3, np.float32)}
    found = measured(model, model, arrays, metric=metric)
    assert found.own == OwnMetric("metric", 3.0, 3.0)
    assert seen == [3.0] * 4


def test_a_function_of_samples_is_gone_through_again_for_each_model(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    calls = 0

    def parts() -> Iterator[Arrays]:
        nonlocal calls
        calls += 1
        for part in (slice(0, 4), slice(4, 10)):
            yield {name: array[part] for name, array in steps().items()}

    study = onnxprune.sweep(model, quiet(parts), ["magnitude"], [0.2, 0.5])
    found = [point.measured.accuracy for point in study.points if point.measured]
    assert found == [Accuracy(10, 10, 8, 2, 0), Accuracy(10, 10, 5, 5, 0)]
    assert study.data.samples == 10
    assert study.data.labelled
    assert calls > 2


def feed_folder(folder: Path, x: Array, y: Array) -> Path:
    folder.mkdir(parents=True)
    for name, array in (("input_0", x), ("output_0", y)):
        tensor = numpy_helper.from_array(array, {"input_0": "x", "output_0": "y"}[name])
        (folder / f"{name}.pb").write_bytes(tensor.SerializeToString())
    return folder


@pytest.mark.parametrize(
    ("expected", "notes"),
    [
        ([[2, 4]], ()),
        ([[2, 4.0001]], ()),
        ([[2, 5]], ("the dense model's 'y' is not what the set has as its reference",)),
        ([[2, 4, 6]], ("the set's reference for 'y' has another shape",)),
    ],
)
def test_the_dense_model_is_compared_with_outputs_that_come_with_the_samples(
    expected: list[list[float]], notes: tuple[str, ...], tmp_path: Path
) -> None:
    model = doubled(tmp_path / "m.onnx")
    x, y = np.array([[1, 2]], np.float32), np.array(expected, np.float32)
    feed_folder(tmp_path / "set" / "test_data_set_0", x, y)
    assert compared(model, model, tmp_path / "set").warnings == notes


def test_both_models_are_timed_on_the_first_batch(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx", 20)
    found = check(model, model, trial(steps(20), device="cpu")).result.latency
    assert found is not None
    assert found.batch == 16
    assert found.runs >= 5
    assert found.dense > 0
    assert found.pruned > 0
    assert found.ratio == found.pruned / found.dense
