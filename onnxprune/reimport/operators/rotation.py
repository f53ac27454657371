"""Rotates pairs of numbers by angles that depend on the position (RoPE, arXiv:2104.09864)."""

import torch
from torch import Tensor

from onnxprune.errors import InputError, UnsupportedError
from onnxprune.reimport.registry import operator

HEADS = 4


@operator("RotaryEmbedding")
def embed_positions(
    x: Tensor,
    cosines: Tensor,
    sines: Tensor,
    positions: Tensor | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Tensor:
    """Rotate the heads of queries or keys."""
    if positions is not None:
        places = positions.to(cosines.device, torch.int64)
        cosines, sines = cosines[places], sines[places]
    if x.dim() == HEADS:
        return rotate(
            x, cosines.unsqueeze(1), sines.unsqueeze(1), interleaved, rotary_embedding_dim
        )
    if not num_heads:
        raise InputError("RotaryEmbedding has three dimensions and no number of heads")
    heads = torch.unflatten(x, 2, (num_heads, -1))
    turned = rotate(
        heads, cosines.unsqueeze(2), sines.unsqueeze(2), interleaved, rotary_embedding_dim
    )
    return turned.flatten(2)


@operator("RotaryEmbedding", domain="com.microsoft")
def embed_microsoft_positions(
    x: Tensor,
    positions: Tensor,
    cosines: Tensor,
    sines: Tensor,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float = 1.0,
) -> Tensor:
    """Rotate as ONNX does, from caches whose width says how much of a head is rotated."""
    if is_packed_batching or scale != 1.0:
        raise UnsupportedError("RotaryEmbedding has packed batches or a scale of its own")
    length = x.shape[2] if x.dim() == HEADS else x.shape[1]
    if positions.dim() == 1:
        positions = positions.reshape(1, 1) + torch.arange(length, device=positions.device)
        positions = positions.expand(x.shape[0], -1)
    width = 2 * cosines.shape[1]
    heads = num_heads
    if x.dim() != HEADS and not rotary_embedding_dim:
        heads = x.shape[2] // width
    found: Tensor = embed_positions(
        x,
        cosines,
        sines,
        positions,
        interleaved=interleaved,
        num_heads=heads,
        rotary_embedding_dim=rotary_embedding_dim,
    )
    return found


def rotate(
    x: Tensor, cosines: Tensor, sines: Tensor, interleaved: int = 0, width: int = 0
) -> Tensor:
    """Rotate the first numbers of each head, all of them if no width is given."""
    width = width or x.shape[-1]
    if 2 * cosines.shape[-1] != width:
        raise InputError(f"{cosines.shape[-1]} angles rotate {width} numbers of a head")
    turned, rest = x[..., :width], x[..., width:]
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned.chunk(2, -1)
    real = cosines * first - sines * second
    imaginary = sines * first + cosines * second
    if interleaved:
        turned = torch.stack([real, imaginary], -1).flatten(-2)
    else:
        turned = torch.cat([real, imaginary], -1)
    return turned if rest.shape[-1] == 0 else torch.cat([turned, rest], -1)
