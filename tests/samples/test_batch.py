"""Batches of any size hold the same samples, every time, for every kind of source."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.errors import UsageError
from onnxprune.samples.batch import Samples
from onnxprune.samples.opening import Source
from tests.samples.made import Array, batches, floats, image, npz, opened, port, tensor

X, LABELS = floats(11, 2), np.arange(11) % 3
IMAGES = port("x", (None, 1, 2, 5))


def parts() -> Iterator[Mapping[str, Array]]:
    for start in range(0, 11, 4):
        yield {"x": X[start : start + 4], "labels": LABELS[start : start + 4]}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    """One set of eleven samples in every kind there is."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("shards", "arrays", "feeds", "images"):
        (folder / name).mkdir()
    for number, rows in enumerate((slice(0, 5), slice(5, 11))):
        npz(folder / "shards", f"{number}.npz", True, x=X[rows], labels=LABELS[rows])
    np.save(folder / "arrays" / "x.npy", np.asfortranarray(X))
    np.save(folder / "arrays" / "labels.npy", LABELS)
    np.save(folder / "one.npy", X)
    for number in range(11):
        tensor(
            folder / "feeds" / f"test_data_set_{number}" / "input_0.pb", X[number : number + 1]
        )
        pixels = np.full((2, 5), number * 20, np.uint8)
        image(folder / "images" / str(number % 3) / f"{number}.png", pixels)
    return {
        "stored": npz(folder, "stored.npz", x=X, labels=LABELS),
        "compressed": npz(folder, "compressed.npz", True, x=X, labels=LABELS),
        "fortran": npz(folder, "fortran.npz", True, x=np.asfortranarray(X), labels=LABELS),
        "array": folder / "one.npy",
        "shards": str(folder / "shards"),
        "arrays": folder / "arrays",
        "feeds": folder / "feeds",
        "images": folder / "images",
        "mapping": {"x": X, "labels": LABELS},
        "function": parts,
        "random": "random:11",
    }


KINDS = [
    "stored", "compressed", "fortran", "array", "shards", "arrays",
    "feeds", "images", "mapping", "function", "random",
]  # fmt: skip


def joined(samples: Samples, size: int) -> tuple[Array, list[int]]:
    """Return all samples and labels, after a look at how they are numbered."""
    found, labels, start = [], [], 0
    for batch in samples.batches(size):
        assert batch.start == start
        assert 0 < batch.count <= (samples.fixed or size)
        assert batch.feeds["x"].flags.c_contiguous
        assert batch.feeds["x"].dtype == np.float32
        assert len(batch.feeds["x"]) == (samples.fixed or batch.count)
        found.append(batch.feeds["x"][: batch.count])
        if batch.labels is not None:
            assert len(batch.labels) == batch.count
            labels += batch.labels.tolist()
        start += batch.count
    return np.concatenate(found), labels


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(size=st.integers(1, 13), limit=st.none() | st.integers(1, 11))
def test_batches_of_any_size_hold_the_same_samples_twice(
    sources: dict[str, Source], kind: str, size: int, limit: int | None
) -> None:
    own = IMAGES if kind == "images" else port()
    whole, all_labels = joined(opened(sources[kind], own), 11)
    with opened(sources[kind], own, limit=limit) as samples:
        for _ in range(2):
            values, labels = joined(samples, size)
            assert np.array_equal(values, whole[:limit])
            assert labels == all_labels[:limit]
        assert samples.size == (None if kind == "function" else limit or 11)
        assert samples.labelled == bool(all_labels)


def test_every_kind_but_images_and_noise_holds_the_same(sources: dict[str, Source]) -> None:
    for kind in KINDS:
        if kind not in ("images", "random"):
            assert np.array_equal(joined(opened(sources[kind]), 4)[0], X)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("feeds", "images")])
def test_a_fixed_batch_is_filled_with_its_last_sample(
    sources: dict[str, Source], kind: str
) -> None:
    samples = opened(sources[kind], port(shape=(4, 2)))
    assert samples.fixed == 4
    values, _ = joined(samples, 64)
    assert len(values) == 11
    last = batches(samples)[-1]
    rows = last.feeds["x"]
    assert len(rows) == 4
    assert all(np.array_equal(row, values[-1]) for row in rows[last.count :])
    short = batches(opened(sources[kind], port(shape=(4, 2)), limit=5))
    assert [batch.count for batch in short] == [4, 1]


def test_a_limit_beyond_the_set_takes_all_with_a_note() -> None:
    samples = opened({"x": X}, limit=12)
    assert samples.size == 11
    assert samples.notes == ("the set has 11 samples, --samples asks for 12",)
    assert opened({"x": X}, limit=11).notes == ()


def test_a_batch_has_a_sample_at_least() -> None:
    with pytest.raises(UsageError) as caught:
        batches(opened({"x": X}), 0)
    assert caught.value.message == "a batch has at least 1 sample, not 0"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "function"])
def test_sums_do_not_depend_on_passes(sources: dict[str, Source], kind: str) -> None:
    own = IMAGES if kind == "images" else port()
    samples = opened(sources[kind], own)
    before = samples.digest()
    batches(samples, 3)
    assert samples.digest() == before == opened(sources[kind], own).digest()
    assert len(before) == 64


def test_sums_depend_on_content_and_not_on_the_path(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    one = npz(tmp_path / "a", "one.npz", x=X)
    two = npz(tmp_path / "b", "two.npz", x=X)
    three = npz(tmp_path / "c", "one.npz", x=X + 1)
    assert opened(one).digest() == opened(two).digest() != opened(three).digest()
    for name, array in (("a/x.npy", X), ("b/other.npy", X), ("c/x.npy", X + 1)):
        np.save(tmp_path / name, array)
    sums = [opened(tmp_path / name).digest() for name in ("a/x.npy", "b/other.npy", "c/x.npy")]
    assert sums[0] == sums[1] != sums[2]


def test_sums_depend_on_how_samples_are_read(tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.zeros((3, 2, 2, 3), np.uint8), y=np.zeros(3, int))
    own = port(shape=(None, 2, 2, 3))
    readings = [
        {"mean": (1,)},
        {"mean": (1.5,)},
        {"std": (1,)},
        {"layout": "NHWC"},
        {"pixel_range": 255},
        {"channel_order": "BGR"},
        {"cast": True},
        {"cast": True, "limit": 2},
        {"cast": True, "labels": "y"},
        {"cast": True, "inputs": {"x": "x"}},
    ]
    assert len({opened(path, own, **each).digest() for each in readings}) == len(readings)
    ports = (port("a", (None, None)), port("b", (None, None)))
    one = opened("random", *ports, shapes={"a": (1,), "b": (2,)})
    two = opened("random", *ports, shapes={"b": (2,), "a": (1,)})
    assert one.digest() == two.digest()


def test_what_is_fed_can_be_run_as_it_is(tmp_path: Path) -> None:
    turned = npz(tmp_path, x=np.asfortranarray(X.astype(">f4")))
    for batch in opened(turned).batches(4):
        feed = batch.feeds["x"]
        assert feed.flags.c_contiguous
        assert feed.flags.aligned
        assert feed.dtype.isnative
