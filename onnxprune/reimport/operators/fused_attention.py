"""Computes attention as ONNX Runtime's fused operators do; heads.py does the arithmetic."""

import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.operators.heads import (
    Mask,
    attend,
    attend_in_steps,
    merge_heads,
    see,
    split_heads,
)
from onnxprune.reimport.operators.rotation import rotate
from onnxprune.reimport.registry import operator

DOMAIN = "com.microsoft"
FILTER = -10000.0


@operator("Attention", domain=DOMAIN)
def compute_packed(
    x: Tensor,
    weights: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    past: Tensor | None = None,
    added: Tensor | None = None,
    past_length: Tensor | None = None,
    *,
    num_heads: int,
    do_rotary: int = 0,
    mask_filter_value: float = FILTER,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: list[int] | None = None,
    rotary_embedding_dim: int = 0,
    scale: float = 0.0,
    unidirectional: int = 0,
) -> tuple[Tensor, ...]:
    """Project to queries, keys and values with one matrix, and attend."""
    if do_rotary or past_present_share_buffer:
        raise UnsupportedError("Attention of com.microsoft rotates or shares its buffers")
    projected = x @ weights if bias is None else x @ weights + bias
    sizes = qkv_hidden_sizes or [projected.shape[2] // 3] * 3
    query, key, value = [
        split_heads(each, num_heads) for each in torch.split(projected, sizes, 2)
    ]
    if past is not None:
        key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
    length = past.shape[3] if past is not None else 0
    begin = length if unidirectional else None
    hidden = _hide(query, key, mask, mask_filter_value, begin).plus(added)
    found = attend(query, key, value, hidden, scale or query.shape[3] ** -0.5)
    sizes_match = key.shape == value.shape
    return (
        (merge_heads(found), torch.stack([key, value]))
        if sizes_match
        else (merge_heads(found),)
    )


@operator("MultiHeadAttention", domain=DOMAIN)
def compute_heads(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    added: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    past_length: Tensor | None = None,
    beams: Tensor | None = None,
    *,
    num_heads: int,
    mask_filter_value: float = FILTER,
    scale: float = 0.0,
    unidirectional: int = 0,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Attend with queries, keys and values that are projected already."""
    if key is None or value is None or query.dim() != 3:
        raise UnsupportedError("MultiHeadAttention of packed queries, keys and values")
    if past_length is not None or beams is not None:
        raise UnsupportedError("MultiHeadAttention shares its buffers or searches with beams")
    first, second, third = _project(query, key, value, bias)
    query = split_heads(first, num_heads)
    key = split_heads(second, num_heads) if second.dim() == 3 else second
    value = split_heads(third, num_heads) if third.dim() == 3 else third
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    length = past_key.shape[2] if past_key is not None else 0
    begin = length if unidirectional else None
    hidden = _hide(query, key, mask, mask_filter_value, begin).plus(added)
    factor = scale or query.shape[3] ** -0.5
    if outputs > 3:
        steps = attend_in_steps(query, key, value, hidden, factor)
        scores = steps.biased.clamp(min=torch.finfo(query.dtype).min)
        return (merge_heads(steps.output), key, value, scores)
    return (merge_heads(attend(query, key, value, hidden, factor)), key, value)


def _project(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    if bias is None:
        return query, key, value
    width = query.shape[2]
    first, second, third = torch.split(bias, [width, width, bias.shape[0] - 2 * width])
    if key.dim() != 3:
        return query + first, key, value
    return query + first, key + second, value + third


def _hide(
    query: Tensor, key: Tensor, mask: Tensor | None, filling: float, past: int | None
) -> Mask:
    queries, keys = query.shape[2], key.shape[2]
    hidden = Mask()
    if past is not None and keys - past != queries:
        # ONNX Runtime lets the last query see every key, however many there are.
        raise UnsupportedError(f"a causal attention has {queries} queries, {keys - past} keys")
    if past == 0:
        hidden = Mask(causal=True)
    elif past is not None:
        hidden = Mask(allowed=see(queries, keys, past, right=0).to(query.device))
    if mask is None:
        return hidden
    seen = _read_mask(mask.to(query.device), query.shape[0], keys)
    return hidden.plus(torch.where(seen, 0.0, filling).to(query.dtype))


def _read_mask(mask: Tensor, batch: int, keys: int) -> Tensor:
    places = torch.arange(keys, device=mask.device)
    if mask.shape == (batch,):
        return (places < mask.unsqueeze(1))[:, None, None]
    if mask.shape == (2 * batch,):
        ends, starts = torch.split(mask.unsqueeze(1), batch)
        return ((places < ends) & (places >= starts))[:, None, None]
    if mask.dim() == 2 and mask.shape[1] == keys:
        return (mask > 0)[:, None, None]
    if mask.dim() == 3:
        return (mask > 0)[:, None]
    raise UnsupportedError(f"a mask of shape {list(mask.shape)} of a fused attention")


@operator("GroupQueryAttention", domain=DOMAIN)
def compute_groups(
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    total: Tensor | None = None,
    cosines: Tensor | None = None,
    sines: Tensor | None = None,
    positions: Tensor | None = None,
    added: Tensor | None = None,
    *others: Tensor | None,
    kv_num_heads: int,
    num_heads: int,
    causal: int = 1,
    do_rotary: int = 0,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
    local_window_size: int = -1,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float = 0.0,
    smooth_softmax: int = 0,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
) -> tuple[Tensor, ...]:
    """Attend with heads that share keys, for batches without padding."""
    quantised = (k_quant_type, v_quant_type, kv_cache_bit_width) != ("NONE", "NONE", 0)
    if (
        quantised
        or qk_output
        or smooth_softmax == 1
        or any(each is not None for each in others)
    ):
        raise UnsupportedError(
            "GroupQueryAttention has sinks, norms or scores to show, or is quantised"
        )
    parts = _split_groups(query, key, value, num_heads, kv_num_heads)
    past = past_key.shape[2] if past_key is not None else 0
    heads, new_key, new_value = parts
    keys = past + new_key.shape[2]
    if lengths is None or bool((lengths + 1 != keys).any()):
        raise UnsupportedError("GroupQueryAttention has sequences of different lengths")
    if do_rotary:
        angles = _angles(cosines, sines, positions, (past, keys))
        heads, new_key = [
            rotate(each, *angles, rotary_interleaved, 2 * angles[0].shape[-1])
            for each in (heads, new_key)
        ]
    if past_key is not None and past_value is not None:
        new_key = torch.cat([past_key, new_key], 2)
        new_value = torch.cat([past_value, new_value], 2)
    # The window counts the query's own position, unlike that of ONNX's Attention.
    left = local_window_size - 1 if local_window_size > 0 else -1
    seen = see(heads.shape[2], keys, past, left, 0 if causal else -1).to(heads.device)
    factor = scale or heads.shape[3] ** -0.5
    steps = attend_in_steps(heads, new_key, new_value, Mask(seen, added), factor, softcap)
    return (merge_heads(steps.output), new_key, new_value)


def _split_groups(
    query: Tensor, key: Tensor | None, value: Tensor | None, count: int, shared: int
) -> tuple[Tensor, Tensor, Tensor]:
    if key is not None and value is not None:
        return split_heads(query, count), split_heads(key, shared), split_heads(value, shared)
    first, second, third = torch.split(
        split_heads(query, count + 2 * shared), [count, shared, shared], 1
    )
    return first, second, third


def _angles(
    cosines: Tensor | None,
    sines: Tensor | None,
    positions: Tensor | None,
    span: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    if cosines is None or sines is None:
        raise InputError("GroupQueryAttention rotates and has no cosines and sines")
    places = torch.arange(*span, device=cosines.device).unsqueeze(0)
    if positions is not None:
        places = positions.to(cosines.device, torch.int64)
    return cosines[places].unsqueeze(1), sines[places].unsqueeze(1)
