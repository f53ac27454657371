"""Real models on the GPU: as many right answers as they have on the processor."""

import json

import pytest

from tests.cli.started import started
from tests.gpu.probe import DEVICE, PROVIDER
from tests.shared import FOLDER, needs_models

pytestmark = pytest.mark.gpu

SHARE = 0.002
"""Another order of sums, and products of fewer bits, may decide so many near ties."""

PIXELS = ("--input", "images_u8=input")
PIXELS += ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
CASES = [
    ("mnist_cntk/mnist.onnx", "mnist_test", (), 2945, 3000),
    ("resnet20/ts_bn.onnx", "cifar10_test", PIXELS, 3217, 4000),
    ("resnet20/ts_folded.onnx", "cifar10_test", PIXELS, 3217, 4000),
    ("resnet20/dynamo.onnx", "cifar10_test", PIXELS, 3217, 4000),
    ("resnet20/fp16.onnx", "cifar10_test", PIXELS, 3217, 4000),
    ("resnet20/qdq_int8.onnx", "cifar10_test", PIXELS, 3229, 4000),
    ("magika/standard_v3_3.onnx", "magika_basic", (), 76, 76),
    ("hand_gesture/keypoint.onnx", "hand_gesture_keypoint_test", (), 2141, 2225),
    ("hand_gesture/point_history.onnx", "hand_gesture_point_history_test", (), 2551, 2648),
]


@pytest.mark.parametrize(
    ("model", "data", "options", "right", "total"), CASES, ids=[case[0] for case in CASES]
)
def test_a_model_gives_its_documented_answers_on_the_gpu(
    model: str, data: str, options: tuple[str, ...], right: int, total: int
) -> None:
    path = needs_models(*model.split("/"))
    samples = FOLDER / "data" / f"{data}.npz"
    if not samples.exists():
        pytest.skip(f"the optional samples {data} are not here")
    words = ["check", path, path, "--data", samples, *options]
    done = started([*words, "--device", DEVICE, "--no-latency", "--json"])
    assert (done.returncode, done.stderr) == (0, "")
    check = json.loads(done.stdout)["check"]
    assert check["place"]["provider"] == PROVIDER
    top1 = next(each["top1"] for each in check["outputs"] if each["top1"] is not None)
    assert top1["total"] == total
    assert top1["dense"] == pytest.approx(right, abs=max(1, round(SHARE * total)))
