"""The optional data sets fit the optional models that they belong to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.outcomes import Port
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.trials.ports import input_ports
from tests.shared import FOLDER, needs_models

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def data(name: str) -> Path:
    path = FOLDER / "data" / name
    if not path.exists():
        pytest.skip(f"the optional data set {name} is not here")
    return path


def ports(model: str) -> list[Port]:
    path = needs_models(*model.split("/"))
    with load_onnx(path) as loaded:
        return input_ports(loaded)


def opened(name: str, model: str, **reading: Any) -> Samples:
    return open_samples(data(name), Reading(**reading), ports(model))


def test_photographs_are_prepared_for_a_network_of_floats() -> None:
    name = "cifar10_test.npz"
    model = "resnet20/ts_folded.onnx"
    samples = opened(name, model, inputs={"images_u8": "input"}, mean=MEAN, std=STD)
    assert (samples.size, samples.labelled, samples.notes) == (4000, True, ())
    with np.load(data(name), allow_pickle=False) as arrays:
        images, labels = arrays["images_u8"], arrays["labels"]
    start = 0
    for batch in samples.batches(1000):
        stop = start + batch.count
        expected = (images[start:stop] / 255 - MEAN) / STD
        wanted = expected.transpose(0, 3, 1, 2).astype(np.float32)
        assert np.array_equal(batch.feeds["input"], wanted)
        assert np.array_equal(batch.labels, labels[start:stop])
        start = stop
    assert start == 4000


def test_photographs_are_turned_to_the_other_order_of_channels() -> None:
    name = "cifar10_test.npz"
    model = "samplenet/samplenet.onnx"
    mean, std = (125.307, 122.961, 113.8575), (51.5865, 50.847, 51.255)
    samples = opened(
        name,
        model,
        inputs={"images_u8": "data"},
        channel_order="BGR",
        pixel_range=255,
        mean=mean,
        std=std,
        limit=3,
    )
    with np.load(data(name), allow_pickle=False) as arrays:
        images = arrays["images_u8"][:3, :, :, ::-1]
    expected = ((images - np.array(mean)) / std).transpose(0, 3, 1, 2).astype(np.float32)
    found = [batch.feeds["data"][: batch.count] for batch in samples.batches(3)]
    assert np.array_equal(np.concatenate(found), expected)


def test_a_model_that_takes_one_digit_gets_one_at_a_time() -> None:
    samples = opened("mnist_test.npz", "mnist_cntk/mnist.onnx", limit=5)
    assert (samples.size, samples.fixed) == (5, 1)
    assert [batch.count for batch in samples.batches(16)] == [1] * 5


def test_speech_comes_as_whole_feeds() -> None:
    state = [Port("input", "float32", (None, 576)), Port("state", "float32", (2, None, 128))]
    real = open_samples(
        data("silero_chunks.npz"), Reading(), [*state, Port("sr", "int64", ())]
    )
    assert (real.whole, real.fixed, real.size, real.labelled) == (True, None, 400, False)
    assert real.notes == ("array 'reference_prob' is not used",)
    with np.load(data("silero_chunks.npz"), allow_pickle=False) as arrays:
        inputs, states = arrays["input"], arrays["state"]
    for batch in real.batches(16):
        assert batch.count == 1
        assert np.array_equal(batch.feeds["input"], inputs[batch.start])
        assert np.array_equal(batch.feeds["state"], states[batch.start])
        assert (batch.feeds["sr"].shape, batch.feeds["sr"].item()) == ((), 16000)


@pytest.mark.parametrize(
    ("name", "model", "size"),
    [
        ("magika_basic.npz", "magika/standard_v3_3.onnx", 76),
        ("hand_gesture_keypoint_test.npz", "hand_gesture/keypoint.onnx", 2225),
        ("hand_gesture_point_history_test.npz", "hand_gesture/point_history.onnx", 2648),
        ("hand_gesture_point_history_test.npz", "hand_gesture/point_history_lstm.onnx", 2648),
        ("silero_chunks.npz", "silero_vad/silero_vad.onnx", 400),
    ],
)
def test_sets_hold_what_their_models_take(name: str, model: str, size: int) -> None:
    wanted = ports(model)
    samples = open_samples(data(name), Reading(), wanted)
    assert samples.size == size
    with np.load(data(name), allow_pickle=False) as arrays:
        stored = dict(arrays)
    total = 0
    for batch in samples.batches(100):
        total += batch.count
        assert set(batch.feeds) == {port.name for port in wanted}
        for port in wanted:
            rows = stored[port.name]
            if rows.ndim == 0:
                assert batch.feeds[port.name].item() == rows.item()
            elif not samples.whole:
                found = batch.feeds[port.name][: batch.count]
                stop = batch.start + batch.count
                assert np.array_equal(found, rows[batch.start : stop])
    assert total == size
