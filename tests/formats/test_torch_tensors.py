"""Tensors divided into regions: which show the same values, and which lie in gaps."""

import itertools
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.formats.torch_pickle import Storage, StoredView
from onnxprune.formats.torch_tensors import NOT_TOGETHER, TWO_TYPES, dense_order, divide


def view(
    shape: Sequence[int],
    stride: Sequence[int],
    offset: int = 0,
    key: str = "data/0",
    kind: str = "FLOAT",
) -> StoredView:
    return StoredView(Storage(key, kind, 999), offset, tuple(shape), tuple(stride))


@pytest.mark.parametrize(
    ("shape", "stride", "order"),
    [
        ((), (), []),
        ((5,), (1,), [0]),
        ((2, 3), (3, 1), [0, 1]),
        ((3, 2), (1, 3), [1, 0]),
        ((2, 3, 4, 5), (60, 20, 5, 1), [0, 1, 2, 3]),
        ((2, 3, 4, 5), (60, 1, 15, 3), [0, 2, 3, 1]),
        ((4, 1, 3), (3, 99, 1), [0, 2]),
        ((1,), (7,), []),
        ((1, 1), (0, 0), []),
        ((5,), (2,), None),
        ((2, 3), (4, 1), None),
        ((2, 3), (1, 1), None),
        ((3, 3), (2, 1), None),
        ((4, 3), (0, 1), None),
        ((4,), (0,), None),
        ((2, 2), (0, 0), None),
        ((2, 3), (6, 2), None),
    ],
    ids=[
        "a number",
        "a row",
        "as it is written",
        "transposed",
        "four sizes",
        "channels last",
        "a size of one",
        "one value",
        "one value, expanded",
        "every second value",
        "rows with a gap",
        "rows that are one",
        "rows that overlap",
        "a row many times",
        "a value many times",
        "a value in two ways many times",
        "every second value in rows",
    ],
)
def test_the_order_is_that_of_memory(
    shape: tuple[int, ...], stride: tuple[int, ...], order: list[int] | None
) -> None:
    assert dense_order(shape, stride) == order


@given(
    shape=st.lists(st.integers(1, 4), max_size=4),
    step=st.lists(st.integers(0, 24), min_size=4, max_size=4),
    place=st.permutations(range(4)),
    dense=st.booleans(),
)
def test_an_order_is_found_where_each_value_lies_next_to_another(
    shape: list[int], step: list[int], place: list[int], dense: bool
) -> None:
    stride = step[: len(shape)]
    if dense:
        width = 1
        for each in (each for each in place if each < len(shape)):
            stride[each], width = width, width * shape[each]
    order = dense_order(shape, stride)
    indices = list(itertools.product(*map(range, shape)))
    at = [sum(i * s for i, s in zip(index, stride, strict=True)) for index in indices]
    assert (order is not None) == (sorted(at) == list(range(len(indices))))
    if order is not None:
        values = torch.arange(len(indices)).as_strided(shape, stride)
        ones = [each for each in range(len(shape)) if each not in order]
        turned = values.permute([*order, *ones])
        assert turned.reshape(-1).tolist() == list(range(len(indices)))


def test_each_tensor_has_its_region() -> None:
    views = {
        "a": view((2, 3), (3, 1)),
        "b": view((4,), (1,), 6),
        "c": view((), (), 0, "data/1"),
    }
    regions, unusable = divide(views, [])
    assert [(each.path, each.key, each.start, each.size) for each in regions] == [
        ("a", "data/0", 0, 6),
        ("b", "data/0", 6, 4),
        ("c", "data/1", 0, 1),
    ]
    assert not any(each.permuted for each in regions)
    assert not unusable


def test_tied_tensors_are_one_region() -> None:
    views = {
        "head": view((2, 3), (3, 1)),
        "flat": view((6,), (1,)),
        "table": view((2, 3), (3, 1)),
    }
    (region,), _ = divide(views, [])
    assert region.paths == ["head", "flat", "table"]
    assert region.shape == (2, 3)


def test_parameters_have_the_first_word_on_names_and_shapes() -> None:
    views = {"buffer": view((3, 2), (1, 3)), "weight": view((2, 3), (3, 1))}
    (region,), _ = divide(views, ["gone", "weight"])
    assert region.paths == ["weight", "buffer"]
    assert region.shape == (2, 3)
    assert not region.permuted
    (region,), _ = divide(views, [])
    assert region.paths == ["buffer", "weight"]
    assert region.permuted


def test_a_region_has_its_sizes_in_the_order_of_memory() -> None:
    last = torch.empty(2, 3, 4, 5).to(memory_format=torch.channels_last)
    views = {
        "conv": view(last.shape, last.stride()),
        "one": view((1, 3, 2), (6, 1, 3), 0, "data/1"),
    }
    (conv, one), _ = divide(views, [])
    assert conv.permuted
    assert conv.shape == (2, 4, 5, 3)
    assert one.permuted
    assert one.shape == (2, 3)
    assert one.size == 6


def test_sizes_of_one_stay_where_nothing_is_turned() -> None:
    (region,), _ = divide({"a": view((4, 1, 3, 1), (3, 3, 1, 1))}, [])
    assert region.shape == (4, 1, 3, 1)
    assert not region.permuted


def test_overlapping_tensors_are_regions_of_their_own() -> None:
    views = {
        "all": view((4, 3), (3, 1)),
        "rows": view((2, 3), (3, 1), 3),
        "first": view((3,), (1,)),
    }
    regions, unusable = divide(views, [])
    assert [(each.path, each.start, each.size) for each in regions] == [
        ("all", 0, 12),
        ("rows", 3, 6),
        ("first", 0, 3),
    ]
    assert not unusable


def test_tensors_with_gaps_or_repeated_values_have_no_region() -> None:
    views = {
        "column": view((4,), (3,)),
        "expanded": view((5, 3), (0, 1)),
        "window": view((3, 2), (1, 1)),
        "whole": view((4, 3), (3, 1)),
    }
    regions, unusable = divide(views, ["window"])
    assert [each.path for each in regions] == ["whole"]
    assert unusable == [(each, NOT_TOGETHER) for each in ("window", "column", "expanded")]


def test_tensors_without_values_have_no_region() -> None:
    assert divide({"a": view((0, 3), (3, 1)), "b": view((3, 0), (1, 1))}, []) == ([], [])


def test_bytes_that_are_values_of_two_types_have_no_region() -> None:
    views = {
        "a": view((2,), (1,)),
        "b": view((4,), (1,), 0, kind="FLOAT16"),
        "c": view((4,), (1,), 0, key="data/1", kind="FLOAT16"),
    }
    regions, unusable = divide(views, [])
    assert [each.path for each in regions] == ["c"]
    assert unusable == [("a", TWO_TYPES), ("b", TWO_TYPES)]
