from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from onnxprune.errors import InputError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["Attention"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


def heads(positions: int = 3, count: int = 2, seed: int = 0) -> Tensor:
    return sample(2, count, positions, 4, seed=seed)


def by_hand(query: Tensor, key: Tensor, value: Tensor, added: Tensor) -> Tensor:
    scores = query @ key.transpose(2, 3) / 2 + added
    return torch.softmax(scores, -1) @ value


def test_attention_is_a_mean_of_the_values() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    found = apply("Attention", query, key, value)
    torch.testing.assert_close(found[0], by_hand(query, key, value, tensor(0.0)))


@pytest.mark.parametrize("softcap", [0.0, 5.0])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("causal", [0, 1])
def test_queries_keys_and_values_have_their_gradients(
    softcap: float, masked: bool, causal: int
) -> None:
    mask = [sample(2, 2, seed=3)] if masked else []
    with sdpa_kernel(SDPBackend.MATH):
        gradients_hold(
            "Attention",
            *[heads(2, 1, seed)[:1] for seed in range(3)],
            *mask,
            output=0,
            twice=True,
            softcap=softcap,
            is_causal=causal,
        )


def test_later_keys_are_hidden() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    hidden = tensor([[0.0, -torch.inf, -torch.inf], [0.0, 0.0, -torch.inf], [0.0] * 3])
    expected = by_hand(query, key, value, hidden)
    for settings in ({}, {"softmax_precision": 1}):
        found = apply("Attention", query, key, value, is_causal=1, **settings)
        torch.testing.assert_close(found[0], expected)


def test_a_causal_mask_holds_beside_another() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    mask = tensor([[True, True, True], [False, True, True], [True, False, True]])
    hidden = tensor([[True, False, False], [False, True, False], [True, False, True]])
    added = torch.where(hidden, 0.0, -torch.inf)
    for settings in ({}, {"softmax_precision": 1}):
        found = apply("Attention", query, key, value, mask, is_causal=1, **settings)
        torch.testing.assert_close(found[0], by_hand(query, key, value, added))


def test_keys_of_the_past_come_before_all_others() -> None:
    query, key, value = heads(1), heads(1, seed=1), heads(1, seed=2)
    past = heads(2, seed=3), heads(2, seed=4)
    found = apply("Attention", query, key, value, None, *past, is_causal=1)
    keys, values = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
    torch.testing.assert_close(found[0], by_hand(query, keys, values, tensor(0.0)))
    assert torch.equal(found[1], keys)
    assert torch.equal(found[2], values)


def test_a_query_that_sees_nothing_gets_zeros_and_no_gradient() -> None:
    mask = tensor([[True, True, True], [False, False, False], [True, True, True]])
    for settings in ({}, {"softcap": 2.0}):
        query = heads().requires_grad_()
        found = apply("Attention", query, heads(seed=1), heads(seed=2), mask, **settings)[0]
        assert found[:, :, 1].abs().max() == 0
        found.square().sum().backward()
        assert query.grad is not None
        assert query.grad[:, :, 1].abs().max() == 0
        assert bool(query.grad.isfinite().all())


def test_heads_of_keys_may_be_shared() -> None:
    query, key, value = heads(count=4), heads(seed=1), heads(seed=2)
    found = apply("Attention", query, key, value)[0]
    expected = apply(
        "Attention", query, key.repeat_interleave(2, 1), value.repeat_interleave(2, 1)
    )[0]
    assert torch.equal(found, expected)


def test_heads_may_lie_beside_each_other() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    flat = [each.transpose(1, 2).flatten(2) for each in (query, key, value)]
    found = apply("Attention", *flat, q_num_heads=2, kv_num_heads=2)
    expected = apply("Attention", query, key, value)
    torch.testing.assert_close(found[0], expected[0].transpose(1, 2).flatten(2))
    assert torch.equal(found[1], key)
    with pytest.raises(InputError) as caught:
        apply("Attention", *flat)
    assert str(caught.value) == "Attention has three dimensions and no number of heads"


def test_a_window_hides_what_is_far_away() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    away = tensor([[0.0, 0.0, -torch.inf], [0.0] * 3, [-torch.inf, 0.0, 0.0]])
    found = apply("Attention", query, key, value, left_window_size=1, right_window_size=1)
    torch.testing.assert_close(found[0], by_hand(query, key, value, away))


def test_scores_are_shown_at_four_places() -> None:
    query, key, value = heads(), heads(seed=1), heads(seed=2)
    mask = sample(3, 3, seed=3)
    raw = query @ key.transpose(2, 3) / 2
    capped = 2 * torch.tanh(raw / 2)
    expected = [raw, capped, capped + mask, torch.softmax(capped + mask, -1)]
    for mode, wanted in enumerate(expected):
        found = apply(
            "Attention",
            query,
            key,
            value,
            mask,
            outputs=4,
            softcap=2.0,
            qk_matmul_output_mode=mode,
        )
        torch.testing.assert_close(found[3], wanted)
    with pytest.raises(InputError) as caught:
        apply("Attention", query, key, value, outputs=4, qk_matmul_output_mode=4)
    assert str(caught.value) == "Attention has qk_matmul_output_mode 4, which is not known"
