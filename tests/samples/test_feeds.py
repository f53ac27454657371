"""Test data of the ONNX kind: whole feeds with their expected outputs."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxprune.errors import InputError, LimitError, UnsupportedError
from onnxprune.samples import feeds
from tests.samples.made import batches, floats, opened, port, refusal, sequence, tensor

PORTS = (port("x", (None, 2)), port("n", (), "int64"))


def feed(folder: Path, value: float = 0, rows: int = 3) -> Path:
    tensor(folder / "input_0.pb", floats(rows, 2) + np.float32(value))
    tensor(folder / "input_1.pb", np.array(7))
    tensor(folder / "output_0.pb", floats(rows), "y")
    return folder


def test_each_folder_is_one_feed_in_natural_order(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        feed(tmp_path / f"test_data_set_{number}", number, rows=number + 1)
    samples = opened(tmp_path, *PORTS)
    assert (samples.size, samples.whole, samples.labelled, samples.fixed) == (
        3,
        True,
        False,
        None,
    )
    found = batches(samples, 16)
    assert [batch.feeds["x"].shape for batch in found] == [(1, 2), (3, 2), (11, 2)]
    assert [batch.feeds["x"][0, 0] for batch in found] == [0, 2, 10]
    assert [(batch.start, batch.count) for batch in found] == [(0, 1), (1, 1), (2, 1)]
    assert all(batch.feeds["n"].shape == () for batch in found)
    assert np.array_equal(found[1].references["y"], floats(3))


def test_one_folder_is_a_set(tmp_path: Path) -> None:
    samples = opened(feed(tmp_path / "mine"), *PORTS)
    assert samples.size == 1
    assert np.array_equal(batches(samples)[0].feeds["x"], floats(3, 2))


def test_a_tensor_with_the_name_of_an_input_is_for_that(tmp_path: Path) -> None:
    tensor(tmp_path / "input_0.pb", np.array(7), "n")
    tensor(tmp_path / "input_1.pb", floats(1, 2), "x")
    tensor(tmp_path / "output_0.pb", floats(2))
    (batch,) = batches(opened(tmp_path, *PORTS))
    assert batch.feeds["n"] == 7
    assert list(batch.references) == ["output_0"]


def test_text_is_read(tmp_path: Path) -> None:
    tensor(tmp_path / "input_0.pb", np.array(["a", "bé"], object))
    (batch,) = batches(opened(tmp_path, port(shape=(None,), dtype="str")))
    assert batch.feeds["x"].tolist() == ["a", "bé"]


def test_folders_that_differ_are_refused(tmp_path: Path) -> None:
    feed(tmp_path / "test_data_set_0")
    other = feed(tmp_path / "test_data_set_1")
    (other / "input_1.pb").unlink()
    expected = f"{tmp_path}: test_data_set_1 has another 'n' than test_data_set_0"
    assert refusal(tmp_path, *PORTS).message == expected
    tensor(other / "input_1.pb", np.array(7, np.int32))
    assert refusal(tmp_path, *PORTS).message == expected


def test_every_feed_has_to_fit(tmp_path: Path) -> None:
    feed(tmp_path / "test_data_set_0")
    other = feed(tmp_path / "test_data_set_1")
    tensor(other / "input_0.pb", floats(3, 5))
    assert refusal(tmp_path, *PORTS).message == (
        f"{tmp_path}: 'x': samples of shape 3x5 do not fit the model's input of ?x2"
    )


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    tensor(tmp_path / "input_0.pb", floats(1, 2))
    tensor(tmp_path / "output_0.pb", floats(1, 2))
    assert refusal(tmp_path, *PORTS).message == (
        f"{tmp_path}: no array for the model's input 'n'; the set has 'x'"
    )


def test_inputs_that_the_model_lacks_are_refused(tmp_path: Path) -> None:
    folder = feed(tmp_path / "test_data_set_0")
    tensor(folder / "input_2.pb", floats(1))
    assert refusal(tmp_path, *PORTS).message == (
        f"{tmp_path}: test_data_set_0/input_2.pb is for no input of the model"
    )
    tensor(folder / "input_2.pb", floats(1, 2), "x")
    assert refusal(tmp_path, *PORTS).message == (
        f"{tmp_path}: test_data_set_0/input_2.pb is a second array for the model's input 'x'"
    )


def test_broken_and_foreign_tensors_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tensor(tmp_path / "input_0.pb", floats(3, 2))
    whole = path.read_bytes()
    start = f"{tmp_path}: {tmp_path.name}/input_0.pb"
    for data in (whole[:-1], whole[: len(whole) // 2], b"\xff" * 9, b"", b"no tensor"):
        path.write_bytes(data)
        error = refusal(tmp_path)
        assert (type(error), error.message) == (InputError, f"{start} is no whole tensor")
    for number in (99, 0):
        path.write_bytes(onnx.TensorProto(data_type=number, dims=[1]).SerializeToString())
        assert refusal(tmp_path).message == f"{start} is no whole tensor"
    sequence(path, floats(3))
    error = refusal(tmp_path)
    assert (type(error), error.message) == (
        UnsupportedError,
        f"{start} is a sequence or an optional value",
    )
    path.write_bytes(whole)
    monkeypatch.setattr(feeds, "SIZE_LIMIT", len(whole) - 1)
    assert isinstance(refusal(tmp_path), LimitError)


def test_data_in_another_file_are_not_fetched(tmp_path: Path) -> None:
    value = numpy_helper.from_array(floats(3, 2))
    value.ClearField("raw_data")
    value.data_location = onnx.TensorProto.EXTERNAL
    value.external_data.add(key="location", value="/etc/passwd")
    (tmp_path / "input_0.pb").write_bytes(value.SerializeToString())
    error = refusal(tmp_path)
    assert (type(error), error.message) == (
        UnsupportedError,
        f"{tmp_path}: {tmp_path.name}/input_0.pb has its data in another file",
    )


def test_a_pipe_among_tensors_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "input_0.pb")
    assert refusal(tmp_path).message == f"{tmp_path}: input_0.pb is not a regular file"


def test_sums_depend_on_content_but_not_on_the_path(tmp_path: Path) -> None:
    feed(tmp_path / "a" / "test_data_set_0")
    feed(tmp_path / "b" / "test_data_set_7")
    feed(tmp_path / "c" / "test_data_set_0", 1)
    one, two, three = (opened(tmp_path / name, *PORTS).digest() for name in "abc")
    assert one == two != three


def test_one_long_text_does_not_give_all_others_its_room(tmp_path: Path) -> None:
    texts = np.array(["a" * 70_000, *[""] * 1_000], object)
    tensor(tmp_path / "input_0.pb", texts)
    error = refusal(tmp_path, port(shape=(None,), dtype="str"))
    assert type(error) is LimitError
    assert "input_0.pb has texts of very different lengths: 280,280,000 bytes" in error.message
