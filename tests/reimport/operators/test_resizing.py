"""Resampling: onnx's node tests, ONNX Runtime beside them, and gradients."""

from typing import Any

import numpy as np
import pytest
import torch

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import (
    apply,
    cases,
    gradients_hold,
    run_case,
    runtime,
    same_as_runtime,
    sample,
)

DISAGREED = (
    "test_resize_downsample_scales_linear_align_corners",
    "test_resize_downsample_scales_cubic_align_corners",
)
"""Cases that mean something else to ONNX Runtime, so they are refused."""

OTHERS = ["Upsample", "GridSample", "AffineGrid", "DepthToSpace", "SpaceToDepth"]


@pytest.mark.parametrize("case", cases(["Resize", *OTHERS], without=DISAGREED))
def test_node(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("case", [each for each in cases(["Resize"]) if each.id in DISAGREED])
def test_a_node_that_runtimes_disagree_on_is_refused(case: Any) -> None:
    with pytest.raises(UnsupportedError, match="with aligned corners means different things"):
        run_case(case)


TRANSFORMS = [
    "half_pixel",
    "pytorch_half_pixel",
    "asymmetric",
    "align_corners",
    "half_pixel_symmetric",
]


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("sizes", [[6, 8], [5, 7], [3, 2], [1, 1]])
def test_sizes_are_those_of_the_runtime(transform: str, mode: str, sizes: list[int]) -> None:
    x, target = sample(2, 1, 3, 4), torch.tensor([2, 1, *sizes])
    settings = {"mode": mode, "coordinate_transformation_mode": transform}
    same_as_runtime("Resize", x, None, None, target, **settings)


@pytest.mark.parametrize("transform", ["half_pixel", "asymmetric", "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scales", [[2.0, 3.0], [0.7, 2.5], [1.0, 0.5], [1.4, 1.0]])
def test_scales_are_those_of_the_runtime(
    transform: str, mode: str, scales: list[float]
) -> None:
    x, factors = sample(2, 1, 7, 4), torch.tensor([1.0, 1.0, *scales])
    settings = {"mode": mode, "coordinate_transformation_mode": transform}
    same_as_runtime("Resize", x, None, factors, **settings)


@pytest.mark.parametrize("how", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("transform", ["asymmetric", "half_pixel", "tf_half_pixel_for_nn"])
@pytest.mark.parametrize("scales", [[2.0, 3.0], [0.5, 1.5]])
def test_nearest_values_are_those_of_the_runtime(
    how: str, transform: str, scales: list[float]
) -> None:
    x, factors = sample(1, 2, 4, 6), torch.tensor([1.0, 1.0, *scales])
    settings = {"nearest_mode": how, "coordinate_transformation_mode": transform}
    nothing = torch.zeros(0)
    same_as_runtime("Resize", x, nothing, factors, opset=11, **settings)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("exclude", [0, 1])
def test_antialias_is_that_of_the_runtime(mode: str, exclude: int) -> None:
    x, target = sample(1, 2, 9, 8), torch.tensor([1, 2, 4, 3])
    settings = {"mode": mode, "antialias": 1, "exclude_outside": exclude}
    same_as_runtime("Resize", x, None, None, target, opset=18, **settings)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_region_is_that_of_the_runtime(mode: str) -> None:
    x, roi = sample(1, 1, 5, 6), torch.tensor([0.0, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 1.1])
    same_as_runtime(
        "Resize",
        x,
        roi,
        None,
        torch.tensor([1, 1, 4, 8]),
        mode=mode,
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    )


def test_other_cubic_kernels_and_ranks_are_those_of_the_runtime() -> None:
    target = torch.tensor([1, 2, 7, 5])
    same_as_runtime(
        "Resize", sample(1, 2, 4, 3), None, None, target, mode="cubic", cubic_coeff_a=-0.5
    )
    for mode in ("nearest", "linear"):
        factors = torch.tensor([1.0, 1.0, 2.0, 1.5, 2.0])
        same_as_runtime("Resize", sample(1, 2, 3, 4, 2), None, factors, mode=mode)
        same_as_runtime("Resize", sample(1, 2, 3), None, factors[:3], mode=mode)


@pytest.mark.parametrize(("policy", "expected"), [("not_larger", 4), ("not_smaller", 6)])
def test_the_aspect_may_be_kept(policy: str, expected: int) -> None:
    x, target = sample(1, 1, 2, 4), torch.tensor([3, 4])
    settings = {"axes": [2, 3], "keep_aspect_ratio_policy": policy}
    found = apply("Resize", x, None, None, target, **settings)
    assert list(found.shape) == [1, 1, expected // 2, expected]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_old_versions_are_those_of_the_runtime(mode: str) -> None:
    x, factors = sample(1, 1, 5, 4), torch.tensor([1.0, 1.0, 2.0, 1.5])
    same_as_runtime("Upsample", x, factors, mode=mode, opset=9)
    same_as_runtime("Upsample", x, scales=factors.tolist(), mode=mode, opset=7)
    same_as_runtime("Resize", x, factors, mode=mode, opset=10)
    fewer = torch.tensor([1.0, 1.0, 0.6, 0.5])
    same_as_runtime("Resize", x, fewer, mode=mode, opset=10)


def test_the_oldest_upsample_names_height_and_width() -> None:
    x = torch.tensor([[[[1.0, 2.0]]]])
    found = apply("Upsample", x, height_scale=2.0, width_scale=1.0, opset=1)
    assert found.tolist() == [[[[1, 2], [1, 2]]]]
    with pytest.raises(UnsupportedError, match="Upsample has no scales"):
        apply("Upsample", x, opset=1)


def test_whole_numbers_are_only_repeated() -> None:
    x, factors = torch.tensor([[[1, 2]]]), torch.tensor([1.0, 1.0, 2.0])
    assert apply("Resize", x, None, factors).tolist() == [[[1, 1, 2, 2]]]
    with pytest.raises(UnsupportedError) as found:
        apply("Resize", x, None, factors, mode="linear")
    assert found.value.message == "Resize of whole numbers by mode linear"


def test_what_keeps_its_size_is_not_touched() -> None:
    x = sample(1, 1, 3)
    assert apply("Resize", x, None, torch.ones(3), mode="cubic") is x


def test_a_resize_to_nothing_or_by_an_unknown_mode_is_refused() -> None:
    x, target = sample(1, 1, 3), torch.tensor([1, 1, 5])
    with pytest.raises(UnsupportedError, match="neither scales nor sizes"):
        apply("Resize", x)
    with pytest.raises(UnsupportedError, match="Resize has no mode 'lanczos'"):
        apply("Resize", x, None, None, target, mode="lanczos")
    with pytest.raises(UnsupportedError, match="no keep_aspect_ratio_policy 'squeeze'"):
        apply("Resize", x, None, None, target, keep_aspect_ratio_policy="squeeze")


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_grid_sample_is_that_of_the_runtime(mode: str, padding: str) -> None:
    x, grid = sample(1, 2, 4, 3), sample(1, 3, 5, 2, seed=1, low=-1.3, high=1.3)
    same_as_runtime("GridSample", x, grid, mode=mode, padding_mode=padding, opset=16)


def test_a_grid_of_other_ranks_is_refused() -> None:
    with pytest.raises(UnsupportedError) as found:
        apply("GridSample", sample(1, 1, 3), sample(1, 2, 1))
    assert found.value.message == (
        "GridSample by mode linear over 1 dimensions cannot be computed with gradients"
    )


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space_undo_each_other(mode: str) -> None:
    x = sample(2, 8, 3, 2)
    spread = apply("DepthToSpace", x, blocksize=2, mode=mode)
    np.testing.assert_array_equal(
        spread, runtime("DepthToSpace", x, blocksize=2, mode=mode, opset=13)[0]
    )
    assert torch.equal(apply("SpaceToDepth", spread, blocksize=2, mode=mode), x)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("transform", ["half_pixel", "asymmetric", "align_corners"])
def test_gradients(mode: str, transform: str) -> None:
    settings = {"mode": mode, "coordinate_transformation_mode": transform}
    target = torch.tensor([1, 1, 5, 4])
    gradients_hold("Resize", sample(1, 1, 3, 2), None, None, target, twice=True, **settings)


def test_gradients_of_grids_and_blocks() -> None:
    grid = sample(1, 2, 2, 2, seed=1, low=-0.9, high=0.9)
    gradients_hold("GridSample", sample(1, 1, 3, 3), grid)
    gradients_hold("AffineGrid", sample(1, 2, 3), torch.tensor([1, 1, 2, 2]))
    gradients_hold("DepthToSpace", sample(1, 4, 1, 2), blocksize=2)
    gradients_hold("SpaceToDepth", sample(1, 1, 2, 2), blocksize=2)
