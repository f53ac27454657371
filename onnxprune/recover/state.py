"""A model on its way: its values as they are now, those it had, and what may change."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from onnxprune.types import Array, Layout

Tensors = dict[str, Tensor]


@dataclass(slots=True, eq=False)
class State:
    """The tensors of a module, of which some are masked and some must stay.

    Args:
        values: the module's own parameters, which are changed in place.
        dense: what they were.
        masks: which values of a tensor are kept.
        free: the tensors that may change.
        layouts: how weights are read as matrices.
    """

    values: dict[str, nn.Parameter]
    free: set[str]
    layouts: Mapping[str, Layout]
    masks: Tensors = field(default_factory=dict)
    dense: Tensors = field(init=False)

    def __post_init__(self) -> None:
        self.dense = {path: each.detach().clone() for path, each in self.values.items()}

    @torch.no_grad()
    def put_masks(self, masks: Mapping[str, Array]) -> None:
        """Let some values fall, and keep them away; those that return are what they were."""
        for path, mask in masks.items():
            value = self.values[path]
            kept = torch.from_numpy(np.array(mask, bool)).reshape(value.shape)
            kept = like(kept.to(value.device), value)
            if path in self.masks:
                back = kept & ~self.masks[path]
                value.copy_(torch.where(back, self.dense[path], value))
            self.masks[path] = kept
        self.enforce()

    @torch.no_grad()
    def enforce(self) -> None:
        """Set to zero what has fallen."""
        for path, mask in self.masks.items():
            self.values[path].masked_fill_(~mask, 0.0)

    @torch.no_grad()
    def put(self, path: str, values: Tensor | Array) -> None:
        """Give a tensor other values; what has fallen stays zero."""
        target = self.values[path]
        given = torch.as_tensor(values).reshape(target.shape)
        target.copy_(given.to(target.device, target.dtype))
        if path in self.masks:
            target.masked_fill_(~self.masks[path], 0.0)

    def snapshot(self) -> Tensors:
        """Return a copy of everything that may have changed."""
        return {path: self.values[path].detach().clone() for path in sorted(self.free)}

    @torch.no_grad()
    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go back to an earlier state."""
        for path, values in snapshot.items():
            self.values[path].copy_(values)

    def current(self) -> Tensors:
        """Return the values as they are, by which nothing is differentiated."""
        return {path: each.detach() for path, each in self.values.items()}

    def flat(self, path: str) -> Array:
        """Return a tensor's values as they are now, in its own order."""
        return self.values[path].detach().cpu().contiguous().numpy().reshape(-1)

    def matrix(self, path: str, dense: bool = False) -> Array:
        """Return a weight as its matrix, in double precision."""
        tensor = self.dense[path] if dense else self.values[path].detach()
        flat = tensor.cpu().contiguous().double().numpy().reshape(-1)
        return self.layouts[path].matrix(flat)

    def kept(self, path: str) -> Array:
        """Return which values of a weight's matrix are kept."""
        mask = self.masks.get(path)
        if mask is None:
            return np.ones_like(self.matrix(path), bool)
        return self.layouts[path].matrix(mask.cpu().contiguous().numpy().reshape(-1))

    def put_matrix(self, path: str, matrix: Array) -> None:
        """Give a weight other values, as its matrix."""
        self.put(path, self.layouts[path].flat(matrix))

    def changed(self, paths: Iterable[str]) -> dict[str, Array]:
        """Return those tensors that are not what they were, apart from what fell."""
        found = {}
        for path in paths:
            now, before = self.values[path].detach(), self.dense[path]
            if path in self.masks:
                before = before * self.masks[path]
            if not torch.equal(now, before):
                found[path] = self.flat(path)
        return found


def like(value: Tensor, model: Tensor) -> Tensor:
    """Lay a tensor in memory as another one lies."""
    if model.dim() == 4 and model.is_contiguous(memory_format=torch.channels_last):
        return value.contiguous(memory_format=torch.channels_last)
    return value.contiguous()
