"""Computes ONNX's own Attention; heads.py does the arithmetic."""

import torch
from torch import Tensor
from torch.nn import functional

from onnxprune.errors import InputError
from onnxprune.reimport.dtypes import torch_type
from onnxprune.reimport.operators.heads import (
    Attended,
    Mask,
    attend,
    attend_in_steps,
    merge_heads,
    see,
    split_heads,
)
from onnxprune.reimport.registry import operator

HEADS = 4
SCORES = 4


@operator("Attention")
def compute_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None = None,
    past_key: Tensor | None = None,
    past_value: Tensor | None = None,
    lengths: Tensor | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    outputs: int,
) -> tuple[Tensor, ...]:
    """Compute attention, the keys and values with those of the past, and scores."""
    flat = query.dim() != HEADS
    if flat:
        query = _into_heads(query, q_num_heads)
        key, value = _into_heads(key, kv_num_heads), _into_heads(value, kv_num_heads)
    if past_key is not None and past_value is not None:
        key, value = torch.cat([past_key, key], 2), torch.cat([past_value, value], 2)
    past = past_key.shape[2] if past_key is not None else 0
    right = min(right_window_size, 0) if right_window_size >= 0 else 0
    reach = (left_window_size, right if is_causal else right_window_size)
    hidden = _hide(query, key, mask, lengths, past, reach)
    factor = query.shape[3] ** -0.5 if scale is None else scale
    if outputs < SCORES and not softcap and softmax_precision is None:
        found = attend(query, key, value, hidden, factor)
        return (merge_heads(found) if flat else found, key, value)
    precision = torch_type(softmax_precision) if softmax_precision is not None else None
    steps = attend_in_steps(query, key, value, hidden, factor, softcap, precision)
    result = merge_heads(steps.output) if flat else steps.output
    return (result, key, value, _choose(steps, qk_matmul_output_mode))


def _into_heads(x: Tensor, count: int | None) -> Tensor:
    if count is None:
        raise InputError("Attention has three dimensions and no number of heads")
    return split_heads(x, count)


def _choose(steps: Attended, mode: int) -> Tensor:
    found = [steps.raw, steps.capped, steps.biased, steps.probabilities]
    if not 0 <= mode < len(found):
        raise InputError(f"Attention has qk_matmul_output_mode {mode}, which is not known")
    return found[mode]


def _hide(
    query: Tensor,
    key: Tensor,
    mask: Tensor | None,
    lengths: Tensor | None,
    past: int,
    reach: tuple[int, int],
) -> Mask:
    queries, keys = query.shape[2], key.shape[2]
    if mask is None and lengths is None and reach == (-1, 0) and not past and queries == keys:
        return Mask(causal=True)
    found = Mask()
    if mask is not None:
        found = _read_mask(mask.to(query.device), keys)
    offset: int | Tensor = past
    if lengths is not None:
        counts = lengths.to(query.device).reshape(-1, 1, 1, 1)
        offset = past if past else counts - queries
        found = found.also(torch.arange(keys, device=query.device) < counts)
    if max(reach) >= 0:
        found = found.also(see(queries, keys, offset, *reach).to(query.device))
    return found


def _read_mask(mask: Tensor, keys: int) -> Mask:
    missing = keys - mask.shape[-1]
    if mask.dtype == torch.bool:
        return Mask(allowed=functional.pad(mask, (0, missing), value=False))
    return Mask(added=functional.pad(mask, (0, missing), value=float("-inf")))
