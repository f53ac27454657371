"""Computes attention from queries, keys and values that are split into heads.

All tensors are [batch, heads, positions, size]; what hides positions is said by a `Mask`.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """What is hidden from queries, and what is added to their scores.

    Args:
        allowed: true where a query may look; None for everywhere.
        added: added to the scores; minus infinity hides a position, too.
        causal: whether queries see no later keys, too, where there are as many of both.
    """

    allowed: Tensor | None = None
    added: Tensor | None = None
    causal: bool = False

    def also(self, allowed: Tensor) -> "Mask":
        """Hide what another condition hides, too."""
        both = allowed if self.allowed is None else self.allowed & allowed
        return Mask(both, self.added, self.causal)

    def plus(self, added: Tensor | None) -> "Mask":
        """Add more to the scores."""
        if added is None:
            return self
        both = added if self.added is None else self.added + added
        return Mask(self.allowed, both, self.causal)

    def spelled_out(self, query: Tensor, key: Tensor) -> "Mask":
        """Return the same mask with what causality hides among the rest."""
        if not self.causal:
            return self
        seen = see(query.shape[2], key.shape[2], 0, right=0).to(query.device)
        return replace(self.also(seen), causal=False)

    def bias(self, query: Tensor, key: Tensor) -> Tensor | None:
        """Return all of it as what is added to the scores."""
        mask = self.spelled_out(query, key)
        if mask.allowed is None:
            return mask.added
        added = query.new_zeros(()) if mask.added is None else mask.added
        return torch.where(mask.allowed, added, float("-inf"))


@dataclass(frozen=True, slots=True, eq=False)
class Attended:
    """What attention found, and the steps towards it."""

    output: Tensor
    raw: Tensor
    capped: Tensor
    biased: Tensor
    probabilities: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Mask, scale: float) -> Tensor:
    """Compute plain attention by torch's own function."""
    key, value = repeat_heads(key, query.shape[1]), repeat_heads(value, query.shape[1])
    alone = mask.causal and mask.allowed is None and mask.added is None
    bias: Tensor | None = None
    if not alone:
        mask = mask.spelled_out(query, key)
        bias = mask.allowed if mask.added is None else mask.bias(query, key)
    return functional.scaled_dot_product_attention(
        query, key, value, attn_mask=bias, is_causal=alone, scale=scale
    )


def attend_in_steps(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Mask,
    scale: float,
    softcap: float = 0.0,
    precision: torch.dtype | None = None,
) -> Attended:
    """Compute attention step by step, where scores are bounded or asked for."""
    key, value = repeat_heads(key, query.shape[1]), repeat_heads(value, query.shape[1])
    root = scale**0.5
    raw = (query * root) @ (key * root).transpose(2, 3)
    capped = softcap * torch.tanh(raw / softcap) if softcap else raw
    bias = mask.bias(query, key)
    biased = capped if bias is None else capped + bias
    ready = biased if precision is None else biased.to(precision)
    if bias is None:
        found = torch.softmax(ready, -1)
    else:
        # A query that may look nowhere gets zeros, not the undefined.
        dead = (bias == float("-inf")).all(-1, keepdim=True)
        found = torch.softmax(ready.masked_fill(dead, 0.0), -1).masked_fill(dead, 0.0)
    found = found.to(raw.dtype)
    return Attended(found @ value, raw, capped, biased, found)


def repeat_heads(x: Tensor, count: int) -> Tensor:
    """Repeat heads that several heads of queries share."""
    return x if x.shape[1] == count else x.repeat_interleave(count // x.shape[1], 1)


def split_heads(x: Tensor, count: int) -> Tensor:
    """Turn [batch, positions, hidden] into heads."""
    return torch.unflatten(x, 2, (count, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """Turn heads back into [batch, positions, hidden]."""
    return x.transpose(1, 2).flatten(2)


def see(
    queries: int,
    keys: int,
    offset: int | Tensor,
    left: int = -1,
    right: int = -1,
) -> Tensor:
    """Return which keys are within reach to the left and right of queries; -1 reaches all.

    Args:
        queries: how many there are.
        keys: how many there are.
        offset: the position of the first query, for each sample if it is a tensor.
        left: how far a query sees.
        right: the same for later keys.
    """
    device = offset.device if isinstance(offset, Tensor) else None
    rows = torch.arange(queries, device=device).unsqueeze(1)
    columns = torch.arange(keys, device=device)
    first = offset.reshape(-1, 1, 1, 1) if isinstance(offset, Tensor) else offset
    distance = rows + first - columns
    allowed = torch.ones_like(distance, dtype=torch.bool)
    if left >= 0:
        allowed = allowed & (distance <= left)
    if right >= 0:
        allowed = allowed & (distance >= -right)
    return allowed
