"""Limits of time and memory: how they are spelt, where they hold, and what they refuse."""

import pytest

from onnxprune.bounds import (
    FREE,
    Bounds,
    bounds,
    limit,
    limiting,
    parse_size,
    refuse_amplified,
    size_words,
)
from onnxprune.errors import LimitError, UsageError


@pytest.mark.parametrize(
    ("spelled", "size"),
    [
        ("16G", 16 << 30),
        ("16g", 16 << 30),
        ("1.5 GiB", 3 << 29),
        ("300MB", 300 << 20),
        ("524288K", 512 << 20),
        ("2T", 2 << 40),
        (1 << 30, 1 << 30),
        ("1073741824", 1 << 30),
    ],
)
def test_a_size_may_be_spelt_in_several_ways(spelled: str | int, size: int) -> None:
    assert parse_size(spelled) == size


@pytest.mark.parametrize(
    "spelled", ["", "G", "-1G", "16 gigs", "1e9", "nan", "16G 2", "0x10G"]
)
def test_what_is_no_size_is_refused(spelled: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_size(spelled)
    told = f"--memory-limit is a size such as 16G, not '{spelled}'"
    assert refused.value.message == told


@pytest.mark.parametrize("spelled", ["0", "255M", "9999999999T"])
def test_a_size_that_nothing_could_work_with_is_refused(spelled: str) -> None:
    with pytest.raises(UsageError, match="--memory-limit is at least 256 MiB, got"):
        parse_size(spelled)


def test_sizes_are_spelt_for_people() -> None:
    assert size_words(16 << 30) == "16 GiB"
    assert size_words(3 << 29) == "1.5 GiB"
    assert size_words(300 << 20) == "300 MiB"
    assert size_words(4 << 40) == "4 TiB"
    assert size_words(5) == "5 bytes"


def test_without_limits_every_place_has_its_default() -> None:
    assert bounds() == Bounds()
    assert (bounds().seconds(60), bounds().bytes(1 << 34), bounds().times(8)) == (
        60,
        1 << 34,
        8,
    )


def test_limits_hold_inside_and_no_longer() -> None:
    with limiting(timeout=5, memory_limit="1G"):
        assert bounds() == Bounds(5, 1 << 30)
        with limiting(max_amplification=20, timeout=6):
            assert bounds() == Bounds(6, 1 << 30, 20)
            limit(memory_limit="2G")
            assert bounds().bytes(1) == 2 << 30
        assert bounds() == Bounds(5, 1 << 30)
        with pytest.raises(ValueError, match="inside"), limiting(timeout=9):
            raise ValueError("inside")
        assert bounds().seconds(60) == 5
    assert bounds() == Bounds()


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_limits_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(UsageError, match="--timeout is more than 0 seconds, got"):
        limit(timeout=value)
    with pytest.raises(UsageError, match="--max-amplification is a number of at least 1"):
        limit(max_amplification=value)
    assert bounds() == Bounds()


def test_little_may_be_claimed_by_nothing_but_not_much() -> None:
    refuse_amplified("it makes", FREE, 0, 8)
    refuse_amplified("it makes", 8 * FREE, FREE, 8)
    with pytest.raises(LimitError) as refused:
        refuse_amplified("it makes", 8 * FREE + 1, FREE, 8)
    told = "it makes 536,870,913 bytes from 67,108,864 (at most 8 times as many)"
    assert refused.value.message == told
    assert refused.value.hint == "--max-amplification allows more"
    with limiting(max_amplification=9):
        refuse_amplified("it makes", 8 * FREE + 1, FREE, 8)
    with limiting(max_amplification=2), pytest.raises(LimitError, match="at most 2 times"):
        refuse_amplified("it makes", 3 * FREE, FREE, 8)
