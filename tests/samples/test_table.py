"""Tables of samples: arrays, several files as one, and what their columns must agree on."""

from pathlib import Path

import numpy as np
import pytest

from onnxprune.errors import InputError
from onnxprune.samples.table import Arrays, plain_array, same_constant
from tests.samples.made import Array, batches, floats, npz, opened, port, read, refusal


def test_arrays_of_different_lengths_are_refused_where_both_are_used() -> None:
    error = refusal({"x": floats(4, 2), "labels": np.zeros(3, int)})
    assert error.message == "4 samples of 'x', but 3 of 'labels'"
    assert error.hint == "what goes with every sample is an array without dimensions"
    samples = opened({"x": floats(4, 2), "names": np.array(["a", "b"])})
    assert samples.notes == ("array 'names' is not used",)
    assert samples.size == 4


def test_text_as_objects_is_text() -> None:
    found = plain_array("x", np.array(["a", "bé"], object))
    assert found.tolist() == ["a", "bé"]
    assert found.dtype.kind == "U"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([{}, 1], object), "'x' holds Python objects, not numbers"),
        (None, "'x' holds Python objects, not numbers"),
        ([[1, 2], [3]], "'x' cannot be made an array: setting an array element with a"),
        (np.zeros(2, [("a", object)]), "'x' holds Python objects, not numbers"),
    ],
)
def test_what_is_no_array_is_refused(value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        plain_array("x", value)
    assert caught.value.message.startswith(message)


def test_lists_are_arrays() -> None:
    samples = opened({"x": [[1, 2], [3, 4]]}, port(dtype="int64"))  # type: ignore[dict-item]
    assert read(samples).tolist() == [[1, 2], [3, 4]]


def test_shards_are_one_set_in_natural_order(tmp_path: Path) -> None:
    npz(tmp_path, "part10.npz", x=floats(3, 2) + 100)
    npz(tmp_path, "part2.npz", compress=True, x=floats(2, 2))
    samples = opened(tmp_path)
    assert samples.size == 5
    assert read(samples, 2)[:, 0].tolist() == [0, 2, 100, 102, 104]
    assert [batch.start for batch in batches(samples, 2)] == [0, 2, 4]
    assert [batch.count for batch in batches(samples, 2)] == [2, 2, 1]


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"x": np.zeros((2, 2), np.float64)}, "x"),
        ({"x": floats(2, 3)}, "x"),
        ({"x": floats(2, 2), "labels": np.zeros(2, int)}, "labels"),
        ({"x": floats(2, 2), "rate": np.array(2)}, "rate"),
        ({"y": floats(2, 2)}, "x"),
    ],
)
def test_shards_that_differ_are_refused(
    tmp_path: Path, other: dict[str, Array], name: str
) -> None:
    first = {"x": floats(2, 2)}
    if name == "rate":
        first["rate"] = np.array(1)
    if name == "labels":
        first["labels"] = np.zeros(2, np.int8)
    npz(tmp_path, "a.npz", **first)
    npz(tmp_path, "b.npz", **other)
    error = refusal(tmp_path)
    if name == "x" and "x" not in other:
        assert error.message == f"{tmp_path}: b.npz: the set has no arrays with samples"
    else:
        assert error.message == f"{tmp_path}: b.npz has another '{name}' than a.npz"
    assert isinstance(error, InputError)


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    npz(tmp_path, "a.npz", x=floats(2, 2))
    (tmp_path / "b.npz").write_bytes(b"PK")
    error = refusal(tmp_path)
    assert error.message == (
        f"{tmp_path}: b.npz: damaged, or no file of arrays: File is not a zip file"
    )


def test_many_shards_hold_no_files_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    for number in range(40):
        npz(tmp_path, f"{number}.npz", x=floats(2, 2), y=floats(2, 2))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    before = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (before + 20, limits[1]))
    try:
        assert len(read(opened(tmp_path, port(), port("y")))) == 80
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_constants_are_compared_byte_by_byte() -> None:
    nan = np.array(np.nan)
    assert same_constant(nan, nan.copy())
    assert not same_constant(nan, np.array(1.0))
    assert not same_constant(np.array(1), np.array(1.0))
    assert not same_constant(None, nan)
    assert same_constant(None, None)


def test_arrays_with_and_without_files_have_sums(tmp_path: Path) -> None:
    sums = {
        Arrays("a", {"x": floats(2, 2)}).digest(),
        Arrays("a", {"y": floats(2, 2)}).digest(),
        Arrays("a", {"x": floats(4)}).digest(),
        Arrays("a", {"x": floats(2, 2).astype(np.float64)}).digest(),
        Arrays("a", {"x": floats(2, 2), "k": np.array(1)}).digest(),
        Arrays("a", {"x": np.array(["a", "b"])}).digest(),
    }
    assert len(sums) == 6
    turned = np.asfortranarray(floats(2, 2))
    assert Arrays("b", {"x": turned}).digest() == Arrays("a", {"x": floats(2, 2)}).digest()
