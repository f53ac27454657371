"""The reference masks against arrays small enough to work out by hand."""

import zlib
from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

from tests.reference import (
    Infeasible,
    Layer,
    Masks,
    er,
    erk,
    from_ratios,
    global_magnitude,
    lamp,
    min_threshold,
    random_global,
    random_uniform,
    uniform,
    uniform_plus,
    zero_counts,
)
from tests.reference_layers import as_text, make_layer, some_layers

Mode = Literal["protect", "rescale"]
Method = Callable[[list[Layer], int], Masks]
BY_MAGNITUDE: dict[str, Method] = {
    "global": global_magnitude,
    "uniform": uniform,
    "uniform_plus": uniform_plus,
    "er": er,
    "erk": erk,
    "lamp": lamp,
    "lamp, rounded sums": lambda layers, zeros: lamp(layers, zeros, round_sums=True),
    "protect": lambda layers, zeros: min_threshold(layers, zeros, 2),
    "rescale": lambda layers, zeros: min_threshold(layers, zeros, 2, mode="rescale"),
    "ratios": lambda layers, zeros: from_ratios(
        layers, zeros, {layer.name: 0.5 for layer in layers}
    ),
}
RANDOM: dict[str, Method] = {
    "random_global": lambda layers, zeros: random_global(layers, zeros, 7),
    "random_uniform": lambda layers, zeros: random_uniform(layers, zeros, 7),
}
every_method = pytest.mark.parametrize("method", (BY_MAGNITUDE | RANDOM).values())


@every_method
def test_all_equal_values_give_the_exact_count_or_the_largest_that_is_possible(
    method: Method,
) -> None:
    layers = [make_layer("a", [1] * 4, (1, 1, 2, 2)), make_layer("b", [1] * 6, (2, 3))]
    for zeros in range(12):
        try:
            asked = zeros
            masks = method(layers, asked)
        except Infeasible as error:
            assert error.largest_zeros < zeros
            asked = error.largest_zeros
            masks = method(layers, asked)
        assert sum(zero_counts(masks)) == asked
        assert [mask.shape for mask in masks] == [(1, 1, 2, 2), (2, 3)]


@pytest.mark.parametrize("method", BY_MAGNITUDE.values())
def test_within_a_layer_equal_magnitudes_go_from_the_first_index_on(method: Method) -> None:
    layers = [make_layer("a", [3, 1, 1, 1, 2, 3], (2, 3)), make_layer("b", [1, 1, 2, 2])]
    for zeros in range(5):
        for layer, mask in zip(layers, method(layers, zeros), strict=True):
            order = np.argsort(layer.magnitude.ravel(), kind="stable")
            dropped = int((~mask).sum())
            assert not mask.ravel()[order[:dropped]].any()


@every_method
def test_no_zeros_is_the_identity(method: Method) -> None:
    assert all(mask.all() for mask in method(some_layers(0), 0))


@every_method
def test_a_magnitude_that_is_not_finite_is_refused_by_name(method: Method) -> None:
    with pytest.raises(ValueError, match="'bad'"):
        method([make_layer("good", [1, 2, 3]), make_layer("bad", [1, np.nan, 3])], 1)


@every_method
def test_a_negative_count_is_refused(method: Method) -> None:
    with pytest.raises(ValueError, match="negative"):
        method(some_layers(0), -1)


@every_method
def test_more_zeros_than_weights_are_infeasible(method: Method) -> None:
    with pytest.raises(Infeasible) as caught:
        method(some_layers(0), 59)
    largest = caught.value.largest_zeros
    assert largest <= 58
    assert sum(zero_counts(method(some_layers(0), largest))) == largest


@pytest.mark.parametrize("name", ["global", "lamp", "protect"])
def test_masks_are_nested_in_the_number_of_zeros(name: str) -> None:
    before = BY_MAGNITUDE[name](some_layers(1), 0)
    for zeros in range(1, 49):
        after = BY_MAGNITUDE[name](some_layers(1), zeros)
        assert all((b >= a).all() for b, a in zip(before, after, strict=True))
        before = after


def test_global_prunes_ties_by_layer_then_index() -> None:
    layers = [make_layer("a", [1, 2, 3]), make_layer("b", [1, 1, 1, 1])]
    assert as_text(global_magnitude(layers, 4)) == [".##", "...#"]


def test_uniform_gives_the_missing_zero_to_the_largest_remainder() -> None:
    # 5 of 12: targets 5/3 and 10/3.
    layers = [make_layer("a", [4, 3, 2, 1]), make_layer("b", [1, 2, 3, 4, 5, 6, 7, 8])]
    assert as_text(uniform(layers, 5)) == ["##..", "...#####"]


def test_uniform_gives_equal_remainders_to_the_first_layer() -> None:
    layers = [make_layer(name, [1, 2, 3, 4]) for name in "abc"]
    assert zero_counts(uniform(layers, 5)) == [2, 2, 1]


@pytest.mark.parametrize(
    ("zeros", "counts"),
    [
        (6, [0, 2, 4]),  # rate 0.4 on fifteen weights
        (11, [0, 4, 7]),  # 11/3 and 22/3; the last keeps round(8/3) = 3, and 2 are enough
        (13, [0, 5, 8]),  # the last would keep round(4/3) = 1, so it loses 8 of 10
    ],
)
def test_uniform_plus_keeps_the_first_convolution_dense_and_a_fifth_of_the_last(
    zeros: int, counts: list[int]
) -> None:
    layers = [
        make_layer("first", range(4), (1, 1, 2, 2)),
        make_layer("body", range(5), (1, 5)),
        make_layer("last", range(10), (2, 5)),
    ]
    assert zero_counts(uniform_plus(layers, zeros)) == counts
    with pytest.raises(Infeasible) as caught:
        uniform_plus(layers, 14)
    assert caught.value.largest_zeros == 13


def test_uniform_plus_prunes_a_first_layer_that_is_no_2d_convolution() -> None:
    layers = [make_layer("first", range(4), (2, 2)), make_layer("last", range(4), (2, 2))]
    assert zero_counts(uniform_plus(layers, 4)) == [2, 2]


def test_uniform_plus_can_prune_nothing_from_one_convolution() -> None:
    with pytest.raises(Infeasible) as caught:
        uniform_plus([make_layer("only", range(4), (1, 1, 2, 2))], 1)
    assert caught.value.largest_zeros == 0


def test_erk_keeps_in_proportion_to_the_sum_of_the_shape() -> None:
    # Sums 4 and 8. Kept 10: 10/3 and 20/3. Kept 16: the first would get 16/3 of its 4.
    layers = [make_layer("a", range(4), (2, 2)), make_layer("b", range(16), (4, 4))]
    assert zero_counts(erk(layers, 10)) == [1, 9]
    assert zero_counts(erk(layers, 4)) == [0, 4]


def test_er_ignores_the_kernel_and_erk_does_not() -> None:
    # ER shares 36 * 4/4 = 36 and 32 * 12/32 = 12, ERK 10 and 12; 20 are kept.
    layers = [make_layer("conv", range(36), (2, 2, 3, 3)), make_layer("fc", range(32), (8, 4))]
    assert zero_counts(er(layers, 48)) == [36 - 15, 32 - 5]
    assert zero_counts(erk(layers, 48)) == [36 - 9, 32 - 11]


def test_protect_keeps_the_largest_of_each_layer() -> None:
    layers = [make_layer("a", [4, 1, 3, 2]), make_layer("b", [5, 6, 7, 8])]
    assert as_text(min_threshold(layers, 4, 1)) == ["#...", ".###"]


def test_protect_takes_the_last_of_equal_magnitudes() -> None:
    layers = [make_layer("a", [1, 1, 1, 1]), make_layer("b", [2, 2])]
    assert as_text(min_threshold(layers, 2, 2)) == ["..##", "##"]
    with pytest.raises(Infeasible) as caught:
        min_threshold(layers, 3, 2)
    assert caught.value.largest_zeros == 2


@pytest.mark.parametrize("mode", ["protect", "rescale"])
def test_a_threshold_of_zero_is_global_magnitude(mode: Mode) -> None:
    layers = some_layers(5)
    for zeros in range(0, 59, 7):
        expected = as_text(global_magnitude(layers, zeros))
        assert as_text(min_threshold(layers, zeros, 0, mode=mode)) == expected


@pytest.mark.parametrize("mode", ["protect", "rescale"])
def test_a_threshold_no_layer_exceeds_leaves_nothing_to_prune(mode: Mode) -> None:
    layers = some_layers(5)
    with pytest.raises(Infeasible) as caught:
        min_threshold(layers, 1, 24, mode=mode)
    assert caught.value.largest_zeros == 0


def test_rescale_clips_the_global_ratios_and_passes_the_rest_on() -> None:
    # Global takes 4 and 1; the first layer may lose 3, so the second loses 2.
    layers = [make_layer("a", [1, 2, 3, 4]), make_layer("b", [5, 6, 7, 8])]
    assert as_text(min_threshold(layers, 5, 1, mode="rescale")) == ["...#", "..##"]


def test_rescale_cannot_reach_a_layer_that_global_leaves_dense() -> None:
    layers = [make_layer("a", [1, 2, 3, 4]), make_layer("b", [5, 6, 7, 8])]
    with pytest.raises(Infeasible) as caught:
        min_threshold(layers, 4, 1, mode="rescale")
    assert caught.value.largest_zeros == 3


def test_rescale_is_where_repeated_clipping_and_scaling_ends() -> None:
    layers, sigma, zeros = some_layers(6), 7, 25
    sizes = np.array([layer.magnitude.size for layer in layers])
    targets = np.array(zero_counts(global_magnitude(layers, zeros)), dtype=np.float64)
    targets[sizes < sigma] = 0
    for _ in range(1000):
        targets = np.minimum(targets * zeros / targets.sum(), np.maximum(sizes - sigma, 0))
    counts = zero_counts(min_threshold(layers, zeros, sigma, mode="rescale"))
    assert np.abs(counts - targets).max() < 1
    assert counts != zero_counts(global_magnitude(layers, zeros))


def test_ratios_are_scaled_by_one_factor_and_capped_at_the_layer() -> None:
    layers = [make_layer("a", range(4)), make_layer("b", range(8))]
    ratios = {"b": 0.25, "a": 0.5}
    assert zero_counts(from_ratios(layers, 6, ratios)) == [3, 3]
    assert zero_counts(from_ratios(layers, 10, ratios)) == [4, 6]


def test_a_layer_with_ratio_zero_stays_dense() -> None:
    layers = [make_layer("a", range(4)), make_layer("b", range(8))]
    with pytest.raises(Infeasible) as caught:
        from_ratios(layers, 5, {"a": 0.1, "b": 0.0})
    assert caught.value.largest_zeros == 4


def test_random_scores_depend_on_seed_and_name_only() -> None:
    layers = [make_layer("a", range(6), (2, 3)), make_layer("b", range(6))]
    scores = np.random.default_rng([7, zlib.crc32(b"a")]).random(6)
    kept = (np.argsort(np.argsort(scores)) >= 3).reshape(2, 3)
    forward, backward = random_uniform(layers, 6, 7), random_uniform(layers[::-1], 6, 7)
    assert (forward[0] == kept).all()
    assert as_text(forward) == as_text(backward)[::-1]
    assert (
        as_text(random_global(layers, 6, 7))
        == as_text(random_global(layers[::-1], 6, 7))[::-1]
    )
    assert as_text(random_global(layers, 6, 7)) != as_text(random_global(layers, 6, 8))
