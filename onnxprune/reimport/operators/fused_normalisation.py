"""Normalisations that ONNX Runtime's optimiser has fused with sums and lookups."""

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.reimport.registry import operator

MICROSOFT = "com.microsoft"


@operator("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    beta: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int = 1,
) -> Tensor | tuple[Tensor, ...]:
    """Normalise the sum of two inputs and a bias; the sum is the last output."""
    total = _total(x, skip, bias)
    y = F.layer_norm(total, total.shape[-1:], gamma, beta, epsilon)
    if outputs == 1:
        return y
    variance, mean = torch.var_mean(total, -1, correction=0, keepdim=True)
    return (y, mean, torch.rsqrt(variance + epsilon), total)[:outputs]


@operator("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(
    x: Tensor,
    skip: Tensor,
    gamma: Tensor,
    bias: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    outputs: int = 1,
) -> Tensor | tuple[Tensor | None, ...]:
    """Divide the sum of two inputs and a bias by its root mean square."""
    total = _total(x, skip, bias)
    y = F.rms_norm(total, total.shape[-1:], gamma, epsilon)
    if outputs == 1:
        return y
    inverse = torch.rsqrt((total * total).mean(-1, keepdim=True) + epsilon)
    return (y, None, inverse, total)[:outputs]


def _total(x: Tensor, skip: Tensor, bias: Tensor | None) -> Tensor:
    total = x + skip
    return total if bias is None else total + bias


@operator("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(
    input_ids: Tensor,
    segment_ids: Tensor | None,
    words: Tensor,
    positions: Tensor,
    segments: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    mask: Tensor | None = None,
    position_ids: Tensor | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
    outputs: int = 1,
) -> Tensor | tuple[Tensor | None, ...]:
    """Look up words, positions and segments, and normalise their sum."""
    length = input_ids.shape[1]
    total = F.embedding(_indices(input_ids, words), words)
    if position_ids is None:
        total = total + positions[:length]
    else:
        total = total + F.embedding(_indices(position_ids, positions), positions)
    if segments is not None and segment_ids is not None:
        total = total + F.embedding(_indices(segment_ids, segments), segments)
    y = F.layer_norm(total, total.shape[-1:], gamma, beta, epsilon)
    if outputs == 1:
        return y
    return (y, _mask_index(input_ids, mask, mask_index_type), total)[:outputs]


def _indices(given: Tensor, table: Tensor) -> Tensor:
    return given.to(table.device, torch.int64)


def _mask_index(input_ids: Tensor, mask: Tensor | None, kind: int) -> Tensor | None:
    """Count the words of each row that the mask keeps."""
    if kind == 0:
        return None
    if mask is None:
        return torch.zeros(input_ids.shape[0], dtype=torch.int32)
    return mask.sum(1, dtype=torch.int32)
