"""Pictures that are flipped, shifted and mixed: what they become is made of what they were."""

from typing import Any

import pytest
import torch
from torch import Tensor

from onnxprune.errors import UsageError
from onnxprune.recover.augmenting import Augmenting, choose_ways, find_pictures
from onnxprune.recovery_fields import AUGMENTS
from tests.statistics.nets import drawn

COUNT, HIGH, WIDE = 64, 16, 24
FIRST = torch.from_numpy(drawn(1, COUNT, 3, HIGH, WIDE))
LAST = FIRST.permute(0, 2, 3, 1).contiguous()
LAYOUTS = [(FIRST, 1), (LAST, 3)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def changed(value: Tensor, channels: int, *ways: str, seed: int = 0) -> Tensor:
    found = Augmenting(ways, {"x": channels}, generator(seed))({"x": value})["x"]
    assert isinstance(found, Tensor)
    return found


def as_first(value: Tensor, channels: int) -> Tensor:
    """Return pictures with their channels in front."""
    return value if channels == 1 else value.permute(0, 3, 1, 2)


def moved(size: int, by: int) -> list[int]:
    """Return which places a picture takes that moves; beyond its edges it is mirrored."""
    places = []
    for place in range(by, size + by):
        inside = -place if place < 0 else place
        places.append(2 * (size - 1) - inside if inside >= size else inside)
    return places


@pytest.mark.parametrize(("value", "channels"), LAYOUTS, ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("ways", [("flip",), ("shift",), ("mix",), AUGMENTS, ()])
def test_shapes_and_types_are_kept_and_what_is_given_is_not_touched(
    ways: tuple[str, ...], value: Tensor, channels: int
) -> None:
    for kind in (torch.float64, torch.float32, torch.float16):
        given = value.to(kind)
        before = given.clone()
        found = changed(given, channels, *ways)
        assert (found.shape, found.dtype) == (given.shape, kind)
        assert torch.equal(given, before)
        assert torch.equal(found, before) is (not ways)


@pytest.mark.parametrize("ways", [("flip",), ("shift",), ("mix",), AUGMENTS])
def test_the_same_seed_gives_the_same_samples(ways: tuple[str, ...]) -> None:
    first = changed(FIRST, 1, *ways)
    assert torch.equal(first, changed(FIRST, 1, *ways))
    assert not torch.equal(first, changed(FIRST, 1, *ways, seed=1))


@pytest.mark.parametrize("ways", [("flip",), ("shift",), ("mix",), AUGMENTS])
def test_where_channels_lie_makes_no_difference(ways: tuple[str, ...]) -> None:
    assert torch.equal(changed(FIRST, 1, *ways), as_first(changed(LAST, 3, *ways), 3))


def test_samples_are_not_changed_alike_twice() -> None:
    augmenting = Augmenting(AUGMENTS, {"x": 1}, generator())
    first, second = (augmenting({"x": FIRST})["x"] for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("value", "channels"), LAYOUTS, ids=["NCHW", "NHWC"])
def test_about_half_of_the_pictures_are_mirrored_left_to_right(
    value: Tensor, channels: int
) -> None:
    found = as_first(changed(value, channels, "flip"), channels)
    flipped = [torch.equal(each, old.flip(2)) for each, old in zip(found, FIRST, strict=True)]
    same = [torch.equal(each, old) for each, old in zip(found, FIRST, strict=True)]
    assert [one != other for one, other in zip(flipped, same, strict=True)] == [True] * COUNT
    assert COUNT // 4 < sum(flipped) < 3 * COUNT // 4


@pytest.mark.parametrize(("value", "channels"), LAYOUTS, ids=["NCHW", "NHWC"])
def test_a_shift_moves_a_picture_by_up_to_an_eighth_and_mirrors_its_edge(
    value: Tensor, channels: int
) -> None:
    found = as_first(changed(value, channels, "shift"), channels)
    moves = []
    for each, old in zip(found, FIRST, strict=True):
        fits = [
            (down, across)
            for down in range(-2, 3)
            for across in range(-3, 4)
            if torch.equal(each, old[:, moved(HIGH, down)][:, :, moved(WIDE, across)])
        ]
        assert len(fits) == 1
        moves += fits
    assert {down for down, _ in moves} == set(range(-2, 3))
    assert {across for _, across in moves} == set(range(-3, 4))


def test_pictures_that_are_too_small_are_not_shifted() -> None:
    small = FIRST[:, :, :7, :7]
    assert torch.equal(changed(small, 1, "shift"), small)


def test_a_picture_that_is_low_is_only_shifted_across() -> None:
    low = FIRST[:, :, :7]
    moves = set()
    for each, old in zip(changed(low, 1, "shift"), low, strict=True):
        fits = [by for by in range(-3, 4) if torch.equal(each, old[:, :, moved(WIDE, by)])]
        assert len(fits) == 1
        moves |= set(fits)
    assert moves == set(range(-3, 4))


def test_up_to_half_of_the_sample_before_is_mixed_into_each() -> None:
    found = changed(FIRST, 1, "mix")
    shares = []
    for number in range(COUNT):
        own, before = FIRST[number], FIRST[number - 1]
        share = float(((found[number] - own) / (before - own)).median())
        assert torch.allclose(found[number], own * (1 - share) + before * share)
        shares.append(share)
    assert 0 <= min(shares) < 0.1
    assert 0.4 < max(shares) <= 0.5


def test_all_pictures_of_a_sample_are_mixed_alike() -> None:
    feeds = {"x": FIRST, "z": LAST * 2}
    found = Augmenting(("mix",), {"x": 1, "z": 3}, generator())(feeds)
    assert torch.allclose(found["x"], found["z"].permute(0, 3, 1, 2) / 2)


@pytest.mark.parametrize("ways", [("flip",), ("shift",), AUGMENTS])
def test_what_is_no_picture_stays(ways: tuple[str, ...]) -> None:
    other: dict[str, Any] = {"n": torch.arange(COUNT), "words": ["a"], "x": FIRST}
    found = Augmenting(ways, {"x": 1}, generator())(other)
    assert list(found) == list(other)
    assert found["n"] is other["n"]
    assert found["words"] is other["words"]
    assert not torch.equal(found["x"], FIRST)
    assert other["x"] is FIRST


def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype)


@pytest.mark.parametrize(
    ("value", "known", "channels"),
    [
        (zeros(2, 3, 32, 32), True, 1),
        (zeros(2, 3, 32, 32), False, 1),
        (zeros(2, 1, 28, 28), False, 1),
        (zeros(2, 32, 32, 3), True, 3),
        (zeros(2, 32, 32, 1), False, 3),
        (zeros(2, 3, 32, 4), False, 1),
        (zeros(2, 16, 32, 32), True, 1),
        (zeros(2, 16, 32, 32), False, None),
        (zeros(2, 3, 32), True, None),
        (zeros(2, 3), False, None),
        (zeros(2, 3, 32, 32, dtype=torch.int64), True, None),
        (zeros(2, 3, 32, 32, dtype=torch.uint8), False, None),
    ],
)
def test_pictures_have_four_dimensions_and_few_channels(
    value: Tensor, known: bool, channels: int | None
) -> None:
    feeds = {"x": value, "words": ["a"]}
    found = find_pictures(feeds, {"x"} if known else set())
    assert found == ({} if channels is None else {"x": channels})


@pytest.mark.parametrize(
    ("asked", "pictures", "known", "ways"),
    [
        (None, True, True, ("flip", "shift")),
        (None, True, False, ()),
        (None, False, False, ()),
        ((), True, True, ()),
        ((), False, False, ()),
        (("mix",), True, False, ("mix",)),
        (["shift", "flip"], True, True, ("shift", "flip")),
    ],
)
def test_ways_are_those_that_are_asked_for_or_right_for_pictures(
    asked: list[str] | None, pictures: bool, known: bool, ways: tuple[str, ...]
) -> None:
    assert choose_ways(asked, pictures, known) == ways


def test_ways_without_pictures_are_refused() -> None:
    with pytest.raises(UsageError) as caught:
        choose_ways(("mix",), False, False)
    assert caught.value.message == (
        "--augment changes pictures, and no input takes four dimensions with channels"
    )
    assert caught.value.hint == "--augment none"
