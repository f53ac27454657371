"""Models whose accuracy is known answer the same number of samples rightly, form by form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from onnxprune.outcomes import Accuracy, DataFacts
from onnxprune.samples.reading import Reading
from onnxprune.studying import check
from tests.shared import needs_models
from tests.trials.known import BGR, CIFAR, needs_data
from tests.trials.made import compared, quiet

FEW = replace(CIFAR, limit=1000)
"""How many ONNX Runtime by itself has right of the first ones is known as well."""

GESTURES = "hand_gesture_point_history"
BASELINES: list[Any] = [
    ("hand_gesture/keypoint", "hand_gesture_keypoint_test", None, 2141),
    ("hand_gesture/keypoint", "hand_gesture_keypoint_calibration", None, 2154),
    ("hand_gesture/point_history", f"{GESTURES}_test", None, 2551),
    ("hand_gesture/point_history", f"{GESTURES}_calibration", None, 2543),
    ("hand_gesture/point_history_lstm", f"{GESTURES}_test", None, 2599),
    ("hand_gesture/point_history_lstm", f"{GESTURES}_calibration", None, 2593),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in (
            ("magika/standard_v3_3", "magika_basic", None, 76),
            ("mnist_cntk/mnist", "mnist_test", None, 2945),
            ("mnist_cntk/mnist", "mnist_calibration", None, 1993),
            ("resnet20/ts_bn", "cifar10_test", CIFAR, 3217),
            ("resnet20/ts_folded", "cifar10_test", FEW, 809),
            ("resnet20/dynamo", "cifar10_test", FEW, 809),
            ("resnet20/dynamo_ext/resnet20", "cifar10_test", FEW, 809),
            ("resnet20/fp16", "cifar10_test", FEW, 809),
            ("resnet20/qdq_int8", "cifar10_test", CIFAR, 3229),
            ("resnet20/qdq_int8", "cifar10_calibration", FEW, 860),
            ("resnet20/qoperator_int8", "cifar10_test", CIFAR, 3225),
            ("resnet20/qoperator_int8", "cifar10_calibration", FEW, 863),
            ("samplenet/samplenet", "cifar10_test", BGR, 2687),
        )
    ),
]


@pytest.mark.parametrize(("model", "data", "reading", "right"), BASELINES)
def test_a_known_model_answers_as_is_known(
    model: str, data: str, reading: Reading | None, right: int
) -> None:
    path = needs_models(f"{model}.onnx")
    found = compared(path, path, needs_data(data), reading=reading)
    accuracy = found.measured.accuracy
    assert accuracy is not None
    assert (accuracy.dense, accuracy.pruned, accuracy.lost, accuracy.won) == (
        right,
        right,
        0,
        0,
    )
    assert accuracy.total == found.data.samples
    assert accuracy.total == 1000 or reading is not FEW
    assert all(each.identical for each in found.measured.outputs)
    assert found.warnings == ()


def test_the_shipped_model_answers_as_its_readme_says(digits: Path) -> None:
    data = digits.parents[2] / "calibration" / "digits_test.npz"
    report = check(digits, digits, quiet(data))
    assert report.result.measured.accuracy == Accuracy(400, 395, 395, 0, 0)
    assert report.result.data == DataFacts(str(data), 400, True, False, 16)
    assert report.zeros == (0.0, 0.0)
