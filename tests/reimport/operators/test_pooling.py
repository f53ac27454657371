"""Pools: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    same_as_runtime,
    sample,
)

POOLS = ["MaxPool", "AveragePool", "LpPool"]
WINDOWS: list[tuple[list[int], dict[str, Any]]] = [
    ([7], {"kernel_shape": [3]}),
    ([7], {"kernel_shape": [3], "strides": [2], "pads": [2, 0]}),
    ([7], {"kernel_shape": [3], "strides": [2], "pads": [1, 1], "ceil_mode": 1}),
    ([8], {"kernel_shape": [3], "strides": [3], "pads": [0, 2], "ceil_mode": 1}),
    ([7, 6], {"kernel_shape": [2, 3], "dilations": [2, 1]}),
    ([7, 6], {"kernel_shape": [2, 3], "dilations": [2, 2], "pads": [1, 1, 0, 2]}),
    ([7, 6], {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ([7, 6], {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ([7, 6], {"kernel_shape": [3, 2], "auto_pad": "VALID"}),
    ([7, 6], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [2, 2, 2, 2]}),
    ([7, 6], {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1}),
    ([4, 5, 3], {"kernel_shape": [2, 2, 2], "strides": [1, 2, 1], "pads": [1, 0, 0, 0, 1, 1]}),
]


@pytest.mark.parametrize(
    "case", cases([*POOLS, "GlobalAveragePool", "GlobalMaxPool", "MaxUnpool"])
)
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize(("sizes", "settings"), WINDOWS)
@pytest.mark.parametrize("storage_order", [0, 1])
def test_max_pool_and_its_indices_are_those_of_the_runtime(
    sizes: list[int], settings: dict[str, Any], storage_order: int
) -> None:
    x = sample(2, 3, *sizes)
    same_as_runtime("MaxPool", x, **settings)
    same_as_runtime("MaxPool", x, outputs=2, storage_order=storage_order, **settings)


@pytest.mark.parametrize(("sizes", "settings"), WINDOWS)
@pytest.mark.parametrize("padded", [0, 1])
def test_average_pool_is_that_of_the_runtime(
    sizes: list[int], settings: dict[str, Any], padded: int
) -> None:
    same_as_runtime("AveragePool", sample(2, 3, *sizes), count_include_pad=padded, **settings)


@pytest.mark.parametrize(("sizes", "settings"), WINDOWS)
@pytest.mark.parametrize("p", [1, 2, 3])
def test_lp_pool_is_that_of_the_runtime(
    sizes: list[int], settings: dict[str, Any], p: int
) -> None:
    same_as_runtime("LpPool", sample(2, 3, *sizes), p=p, **settings)


def test_windows_may_reach_over_the_end_where_torch_has_no_such_padding() -> None:
    x = torch.arange(1.0, 6.0).reshape(1, 1, 5)
    settings: dict[str, Any] = {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}
    found = apply("AveragePool", x, dilations=[2], pads=[1, 0], **settings)
    # Windows at -1, 1 and 3, of places two apart: 2 alone, 2 and 4, and 4 alone.
    assert found.tolist() == [[[2.0, 3.0, 4.0]]]
    padded = apply(
        "AveragePool", x, dilations=[2], pads=[1, 0], count_include_pad=1, **settings
    )
    assert padded.tolist() == [[[1.0, 3.0, 4.0]]]


def test_max_pool_of_whole_numbers() -> None:
    x = torch.tensor([[[1, 5, 3, 4]]], dtype=torch.uint8)
    y, places = apply("MaxPool", x, kernel_shape=[2], strides=[2], outputs=2)
    assert y.dtype == torch.uint8
    assert (y.tolist(), places.tolist()) == ([[[5, 4]]], [[[1, 3]]])
    assert apply("MaxPool", x, kernel_shape=[4]).tolist() == [[[5]]]


@pytest.mark.parametrize("name", ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"])
def test_global_pools_are_those_of_the_runtime(name: str) -> None:
    for shape in ([2, 3, 4], [2, 3, 4, 5], [2, 3, 2, 2, 2]):
        same_as_runtime(name, sample(*shape))


def test_a_global_maximum_may_be_over_more_dimensions_than_torch_has() -> None:
    x = torch.arange(16.0).reshape(1, 1, 2, 2, 2, 2)
    assert apply("GlobalMaxPool", x).flatten().tolist() == [15]


def test_a_global_pool_of_no_dimensions_is_the_input() -> None:
    x = sample(2, 3)
    assert apply("GlobalAveragePool", x) is x
    assert apply("GlobalMaxPool", x) is x


def test_a_window_of_zeros_has_a_gradient_of_zero() -> None:
    x = torch.zeros(1, 1, 4, requires_grad=True)
    apply("LpPool", x, kernel_shape=[2]).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[0, 0, 0, 0]]]


@pytest.mark.parametrize(("sizes", "settings"), [WINDOWS[n] for n in (1, 3, 5, 9)])
def test_gradients(sizes: list[int], settings: dict[str, Any]) -> None:
    x = sample(1, 1, *sizes)
    gradients_hold("MaxPool", x, twice=True, **settings)
    gradients_hold("MaxPool", x, outputs=2, output=0, **settings)
    gradients_hold("AveragePool", x, twice=True, **settings)
    gradients_hold("LpPool", x, twice=True, p=3, **settings)


def test_gradients_of_global_pools() -> None:
    for name in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
        gradients_hold(name, sample(1, 2, 3), twice=True)
    places = torch.tensor([[[1, 2]]])
    gradients_hold("MaxUnpool", sample(1, 1, 2), places, kernel_shape=[2], strides=[2])


def test_the_first_of_equals_gets_the_gradient_of_a_global_maximum() -> None:
    x = torch.ones(1, 1, 3, requires_grad=True)
    apply("GlobalMaxPool", x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[[1, 0, 0]]]


@pytest.mark.parametrize("name", POOLS)
def test_a_padding_that_runtimes_disagree_on_is_refused(name: str) -> None:
    x, message = (
        sample(1, 1, 6),
        (
            f"{name} with auto_pad SAME_UPPER and dilations, or a kernel shorter than its strides, "
            "means different things to different runtimes"
        ),
    )
    settings: dict[str, Any]
    for settings in (
        {"kernel_shape": [2], "dilations": [2]},
        {"kernel_shape": [1], "strides": [3]},
    ):
        with pytest.raises(UnsupportedError) as found:
            apply(name, x, auto_pad="SAME_UPPER", **settings)
        assert found.value.message == message
