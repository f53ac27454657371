"""Two model files beside each other: what is compared, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxprune
from onnxprune.errors import InputError, LimitError, UsageError
from onnxprune.outcomes import Accuracy, DataFacts, OwnMetric, Place, Sizes
from onnxprune.studying import check
from onnxprune.trials import checking
from tests import models
from tests.trials.made import (
    Arrays,
    compared,
    dividing,
    quiet,
    staircase,
    steps,
    stored,
)


def test_a_report_says_what_was_compared(tmp_path: Path) -> None:
    dense = staircase(tmp_path / "m.onnx")
    pruned = tmp_path / "p.onnx"
    onnxprune.prune(dense, 0.3, "magnitude", output=pruned, verify=False)
    report = check(str(dense), pruned, quiet(stored(tmp_path / "set.npz", steps())))
    size = dense.stat().st_size
    assert (report.dense, report.pruned) == (str(dense), str(pruned))
    assert report.dense_sha256 != report.pruned_sha256
    assert report.zeros == (0.0, 0.3)
    assert isinstance(report.sizes, Sizes)
    assert (report.sizes.before, report.sizes.after) == (size, size)
    result = report.result
    assert result.measured.accuracy == Accuracy(10, 10, 7, 3, 0)
    assert result.data == DataFacts(str(tmp_path / "set.npz"), 10, True, False, 16)
    assert result.place == Place(
        "CPUExecutionProvider", result.place.threads, result.place.runtime
    )
    assert result.interval is not None
    assert result.interval[0] < 0.3 < result.interval[1]
    assert (result.conditions, result.latency, result.passed) == ((), None, True)


def test_the_weights_of_a_data_file_are_run(tmp_path: Path) -> None:
    plain = staircase(tmp_path / "m.onnx", 40)
    split = tmp_path / "split.onnx"
    onnx.save(
        onnx.load(plain), split, save_as_external_data=True, location="d", size_threshold=0
    )
    found = check(plain, split, quiet(steps(40)))
    assert all(each.identical for each in found.result.measured.outputs)
    assert found.sizes.after is not None
    assert found.sizes.after > (tmp_path / "d").stat().st_size


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs", "message"),
    [
        ("Identity z -> y", {"z": ["n", 2]}, "y", "have different inputs: x and z"),
        ("Identity x -> z", {"x": ["n", 2]}, "z", "have different outputs: y and z"),
    ],
)
def test_models_that_take_or_give_something_else_are_not_compared(
    nodes: str, inputs: dict[str, list[int | str]], outputs: str, message: str, tmp_path: Path
) -> None:
    one = models.model([models.node("Identity x -> y")], {"x": ["n", 2]}, "y")
    other = models.model([models.node(nodes)], inputs, outputs)
    paths = [models.save(tmp_path / name, proto) for name, proto in (("a", one), ("b", other))]
    with pytest.raises(InputError) as caught:
        compared(*paths, {"x": np.ones((2, 2), np.float32)})
    assert caught.value.message == f"the models {message}"


def test_outputs_of_another_shape_are_not_compared(tmp_path: Path) -> None:
    paths = []
    for count in (2, 3):
        weights = [models.weight("w", 4, count)]
        proto = models.model([models.node("MatMul x w -> y")], {"x": ["n", 4]}, "y", weights)
        paths.append(models.save(tmp_path / f"{count}.onnx", proto))
    with pytest.raises(InputError) as caught:
        compared(*paths, {"x": np.ones((2, 4), np.float32)})
    assert caught.value.message == (
        "output 'y' has shape (2, 2) in the dense model and (2, 3) in the pruned one"
    )


@pytest.mark.parametrize(("swapped", "which"), [(False, "pruned"), (True, "dense")])
def test_an_output_that_is_no_number_is_named_with_its_model_and_sample(
    swapped: bool, which: str, tmp_path: Path
) -> None:
    paths = [dividing(tmp_path / "a.onnx"), dividing(tmp_path / "b.onnx", 0.0)]
    data = {"x": np.eye(10, dtype=np.float32)[::-1]}
    with pytest.raises(InputError) as caught:
        compared(*(reversed(paths) if swapped else paths), data, batch=4)
    assert caught.value.message == f"the {which} model's output 'r' is NaN at sample 9"


def test_what_the_runtime_refuses_is_named_with_its_file(tmp_path: Path) -> None:
    good = models.model([models.node("Identity x -> y")], {"x": ["n", 2]}, "y")
    bad = models.model([models.node("Nope x -> y")], {"x": ["n", 2]}, "y")
    one = models.save(tmp_path / "good.onnx", good)
    other = models.save(tmp_path / "bad.onnx", bad)
    data = {"x": np.ones((2, 2), np.float32)}
    for pair in ((one, other), (other, one)):
        with pytest.raises(InputError) as caught:
            compared(*pair, data)
        assert caught.value.message.startswith(f"{other}: ONNX Runtime refuses the model: ")
        assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("arrays", "given", "message"),
    [
        (
            {"images": (3, 10), "labels": (3,)},
            {},
            "no array for the model's input 'x'; the set has 'images', 'labels'",
        ),
        (
            {"x": (3, 9)},
            {},
            "'x': samples of shape 9 do not fit the model's input of 10",
        ),
        (
            {"x": (3, 10), "labels": (4,)},
            {},
            "3 samples of 'x', but 4 of 'labels'",
        ),
        ({"x": (0, 10)}, {}, "the set has no samples"),
        (
            {"x": (3, 10), "labels": (3, 2)},
            {},
            "labels of shape (N, 2) fit no output ('y' has shape (N, 2))",
        ),
    ],
)
def test_samples_that_do_not_fit_are_refused(
    arrays: dict[str, tuple[int, ...]], given: Arrays, message: str, tmp_path: Path
) -> None:
    model = staircase(tmp_path / "m.onnx")
    data = {
        name: np.ones(shape, np.int64 if name == "labels" else np.float32)
        for name, shape in arrays.items()
    }
    with pytest.raises(InputError) as caught:
        compared(model, model, data, **given)
    assert message in caught.value.message


def test_labels_beyond_the_classes_are_refused(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    with pytest.raises(InputError) as caught:
        compared(model, model, steps() | {"labels": np.full(10, 2)})
    assert caught.value.message == "labels from 2 to 2 fit no output ('y' has 2 classes)"


def test_a_runtime_that_does_not_answer_ends_the_check(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    with pytest.raises(LimitError) as caught:
        compared(model, model, steps(), timeout=0.001)
    assert "gave no answer in 0.001 s on this model" in caught.value.message
    assert caught.value.hint == "--timeout gives it more"


def test_notes_say_what_is_odd_about_where_models_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = staircase(tmp_path / "m.onnx")
    monkeypatch.setattr(checking, "distribution", lambda name: None)
    found = compared(model, model, steps() | {"more": np.ones(10)}, limit=99)
    assert found.warnings == (
        "array 'more' is not used",
        "the set has 10 samples, --samples asks for 99",
        "onnxruntime and onnxruntime-gpu are both installed: whichever came last is used",
    )


def test_a_metric_of_ones_own_decides_the_gate(tmp_path: Path) -> None:
    dense = staircase(tmp_path / "m.onnx")
    pruned = tmp_path / "p.onnx"
    onnxprune.prune(dense, 0.3, "magnitude", output=pruned, verify=False)

    def first_score(outputs: Arrays, _: Arrays) -> Any:
        return outputs["y"][:, 0]

    found = compared(dense, pruned, steps(), metric=first_score, max_drop=0.6)
    # Dense scores are 1 to 10, the pruned model's first three of them 0.
    assert found.measured.own == OwnMetric("first_score", 5.5, 4.9)
    assert found.conditions[0].sentence.startswith("first_score fell by 0.6000")
    assert found.interval is None


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (lambda *_: 1 / 0, "failed: ZeroDivisionError: division by zero"),
        (
            lambda *_: None,
            "returned None; it must return one finite number for the 10 samples",
        ),
        (lambda *_: float("nan"), "returned NaN; it must return one finite number"),
        (lambda *_: np.ones(3), "returned numbers of shape (3,); it must return one"),
    ],
)
def test_a_metric_that_does_not_measure_is_wrong_usage(
    metric: Callable[..., Any], message: str, tmp_path: Path
) -> None:
    model = staircase(tmp_path / "m.onnx")
    with pytest.raises(UsageError) as caught:
        compared(model, model, steps(), metric=metric)
    assert message in caught.value.message
    with pytest.raises(UsageError, match="metric <lambda>"):
        onnxprune.sweep(model, quiet(steps(), metric=metric), ["magnitude"], [0.5])


def test_a_model_without_inputs_or_of_odd_ones_is_refused(tmp_path: Path) -> None:
    nodes = [models.node("MatMul w w -> y")]
    weight = models.weight("w", 2, 2)
    path = models.save(tmp_path / "m.onnx", models.model(nodes, {}, "y", [weight]))
    with pytest.raises(InputError, match="the model has no input that samples could be for"):
        compared(path, path, {"x": np.ones((1, 1), np.float32)})


def test_random_samples_are_marked(tmp_path: Path) -> None:
    model = staircase(tmp_path / "m.onnx")
    found = compared(model, model, "random:20")
    assert found.data == DataFacts("random:20", 20, False, True, 16)
