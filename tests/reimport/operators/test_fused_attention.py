from typing import Any

import pytest
import torch
from torch import Tensor, tensor

from onnxprune.errors import InputError, UnsupportedError
from tests.reimport.nodes import apply, gradients_hold, runtime, sample

DOMAIN = "com.microsoft"
HEADS = 2


def agrees(name: str, *inputs: Tensor | None, outputs: int = 1, **settings: Any) -> None:
    expected = runtime(name, *inputs, outputs=outputs, domain=DOMAIN, **settings)
    found = apply(name, *inputs, outputs=outputs, domain=DOMAIN, **settings)
    for value, wanted in zip(found, expected, strict=False):
        torch.testing.assert_close(value, tensor(wanted), rtol=1e-4, atol=1e-5)


def whole(values: Any) -> Tensor:
    return tensor(values, dtype=torch.int32)


MASKS = {
    "none": None,
    "ends": whole([2, 3]),
    "starts": whole([3, 3, 1, 0]),
    "keys": whole([[1, 1, 0], [1, 0, 1]]),
    "pairs": whole([[[1, 0, 0], [1, 1, 0], [0, 0, 1]]] * 2),
}


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("settings", [{}, {"scale": 0.3, "mask_filter_value": -3.0}])
def test_packed_attention_is_that_of_the_runtime(
    mask: str, causal: int, settings: dict[str, float]
) -> None:
    inputs = [sample(2, 3, 5), sample(5, 24, seed=1), sample(24, seed=2), MASKS[mask]]
    agrees("Attention", *inputs, num_heads=HEADS, unidirectional=causal, **settings)


@pytest.mark.parametrize("causal", [0, 1])
def test_packed_attention_has_a_past_or_a_bias(causal: int) -> None:
    inputs = [sample(2, 3, 5), sample(5, 24, seed=1), sample(24, seed=2), None]
    past, added = sample(2, 2, HEADS, 2, 4, seed=3), sample(1, HEADS, 3, 3, seed=4)
    settings = {"num_heads": HEADS, "unidirectional": causal}
    agrees("Attention", *inputs, past, outputs=2, **settings)
    agrees("Attention", *inputs, None, added, **settings)


def test_values_may_be_narrower_than_keys() -> None:
    inputs = [sample(2, 3, 5), sample(5, 20, seed=1), sample(20, seed=2)]
    agrees("Attention", *inputs, num_heads=HEADS, qkv_hidden_sizes=[8, 8, 4])


@pytest.mark.parametrize("mask", ["none", "ends", "keys", "pairs"])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("bias", [None, sample(24, seed=3)])
def test_attention_of_heads_is_that_of_the_runtime(
    mask: str, causal: int, bias: Tensor | None
) -> None:
    inputs = [sample(2, 3, 8, seed=seed) for seed in range(3)]
    agrees(
        "MultiHeadAttention",
        *inputs,
        bias,
        MASKS[mask],
        num_heads=HEADS,
        unidirectional=causal,
    )


@pytest.mark.parametrize("causal", [0, 1])
def test_attention_of_heads_has_a_past_and_a_bias(causal: int) -> None:
    inputs = [sample(2, 3, 8, seed=seed) for seed in range(3)]
    added = sample(2, 1, 3, 5, seed=4)
    past = [sample(2, HEADS, 2, 4, seed=seed) for seed in (5, 6)]
    agrees(
        "MultiHeadAttention",
        *inputs,
        None,
        None,
        added,
        *past,
        num_heads=HEADS,
        unidirectional=causal,
        outputs=3,
    )


@pytest.mark.parametrize("bias", [None, sample(24, seed=3)])
def test_keys_may_come_in_heads(bias: Tensor | None) -> None:
    key, value = sample(2, HEADS, 5, 4, seed=1), sample(2, HEADS, 5, 4, seed=2)
    agrees("MultiHeadAttention", sample(2, 3, 8), key, value, bias, num_heads=HEADS)


@pytest.mark.parametrize(
    "rotated", [{}, {"do_rotary": 1}, {"do_rotary": 1, "rotary_interleaved": 1}]
)
@pytest.mark.parametrize(
    "settings", [{}, {"softcap": 2.0, "scale": 0.4}, {"local_window_size": 2}]
)
@pytest.mark.parametrize("past", [0, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_shared_heads_are_those_of_the_runtime(
    rotated: dict[str, int], settings: dict[str, float], past: int, packed: bool
) -> None:
    inputs: list[Tensor | None]
    if packed:
        inputs = [sample(1, 3, 8 * 16), None, None]
    else:
        inputs = [sample(1, 3, 4 * 16), sample(1, 3, 2 * 16), sample(1, 3, 2 * 16, seed=1)]
    held = [sample(1, 2, past, 16, seed=seed) if past else None for seed in (2, 3)]
    angles = [sample(8, 8, seed=seed) if rotated else None for seed in (4, 5)]
    counts = [whole([past + 2]), whole([past + 3])]
    agrees(
        "GroupQueryAttention",
        *inputs,
        *held,
        *counts,
        *angles,
        num_heads=4,
        kv_num_heads=2,
        outputs=3,
        **rotated,
        **settings,
    )


def test_positions_may_be_given() -> None:
    inputs = [sample(1, 3, 2 * 16, seed=seed) for seed in range(3)]
    angles = [sample(8, 8, seed=seed) for seed in (4, 5)]
    agrees(
        "GroupQueryAttention",
        *inputs,
        None,
        None,
        whole([2]),
        whole([3]),
        *angles,
        tensor([[0, 1, 2]]),
        num_heads=2,
        kv_num_heads=2,
        do_rotary=1,
        outputs=3,
    )


def test_scores_are_shown_on_demand() -> None:
    query, key, value = (sample(1, 2, 4, seed=seed) for seed in range(3))
    added = sample(1, 1, 2, 2, seed=3)
    settings = {"domain": DOMAIN, "num_heads": 1, "unidirectional": 1}
    found = apply(
        "MultiHeadAttention", query, key, value, None, None, added, outputs=4, **settings
    )
    scores = query @ key.transpose(1, 2) / 2 + added[0]
    scores[0, 0, 1] = torch.finfo(torch.float32).min
    torch.testing.assert_close(found[3], scores.unsqueeze(1))


def test_attention_in_groups_may_look_ahead() -> None:
    x = [sample(1, 3, 8, seed=seed) for seed in range(3)]
    counts = [None, None, whole([2]), whole([3])]
    settings = {"domain": DOMAIN, "num_heads": HEADS}
    found = apply("GroupQueryAttention", *x, *counts, kv_num_heads=2, causal=0, **settings)
    expected = apply("MultiHeadAttention", *x, **settings)
    torch.testing.assert_close(found[0], expected[0])


def test_fused_attention_has_its_gradients() -> None:
    settings: dict[str, Any] = {"domain": DOMAIN, "num_heads": HEADS, "output": 0}
    packed = [sample(1, 2, 3), sample(3, 12, seed=1), sample(12, seed=2)]
    gradients_hold("Attention", *packed, MASKS["none"], unidirectional=1, **settings)
    inputs = [sample(1, 2, 4, seed=seed) for seed in range(3)]
    gradients_hold("MultiHeadAttention", *inputs, sample(12, seed=3), **settings)
    shared = [sample(1, 2, 4), sample(1, 2, 2, seed=1), sample(1, 2, 2, seed=2)]
    counts = [whole([1]), whole([2])]
    gradients_hold(
        "GroupQueryAttention", *shared, None, None, *counts, kv_num_heads=1, **settings
    )


def refused(name: str, *inputs: Any, **settings: Any) -> str:
    with pytest.raises((InputError, UnsupportedError)) as caught:
        apply(name, *inputs, domain=DOMAIN, num_heads=HEADS, **settings)
    return str(caught.value)


def test_what_shares_buffers_or_packs_is_refused() -> None:
    x = sample(2, 3, 8)
    assert refused("Attention", x, sample(8, 24), do_rotary=1) == (
        "Attention of com.microsoft rotates or shares its buffers"
    )
    assert refused("MultiHeadAttention", sample(2, 3, 2, 3, 4)) == (
        "MultiHeadAttention of packed queries, keys and values"
    )
    assert refused("MultiHeadAttention", x, x, x, *[None] * 5, whole([1])) == (
        "MultiHeadAttention shares its buffers or searches with beams"
    )
    assert refused("MultiHeadAttention", x, x, x, None, whole([1] * 8)) == (
        "a mask of shape [8] of a fused attention"
    )


def test_a_causal_attention_to_other_keys_is_refused() -> None:
    x, other = sample(2, 3, 8), sample(2, 5, 8)
    assert refused("MultiHeadAttention", x, other, other, unidirectional=1) == (
        "a causal attention has 3 queries, 5 keys"
    )


def test_shared_heads_of_unknown_kinds_are_refused() -> None:
    x, counts = sample(2, 3, 8), [None, None, whole([2, 2]), whole([3])]
    given = [x, x, x, *counts]
    name, settings = "GroupQueryAttention", {"kv_num_heads": 2}
    assert refused(name, *given, k_quant_type="PER_TENSOR", **settings) == (
        "GroupQueryAttention has sinks, norms or scores to show, or is quantised"
    )
    assert refused(name, *given, *[None] * 4, torch.ones(2), **settings) == (
        "GroupQueryAttention has sinks, norms or scores to show, or is quantised"
    )
    assert refused(name, *given, do_rotary=1, **settings) == (
        "GroupQueryAttention rotates and has no cosines and sines"
    )
    assert refused(name, x, x, x, None, None, whole([1, 2]), **settings) == (
        "GroupQueryAttention has sequences of different lengths"
    )
