"""Treats the last two dimensions as matrices: triangles, unit matrices, determinants."""

import torch
from torch import Tensor

from onnxprune.reimport.dtypes import torch_type
from onnxprune.reimport.operators.unsigned import moved
from onnxprune.reimport.registry import operator


@operator("Trilu")
@moved
def keep_triangle(x: Tensor, diagonal: Tensor | None = None, *, upper: int = 1) -> Tensor:
    """Zero what is below a diagonal, or above it."""
    offset = int(diagonal.item()) if diagonal is not None else 0
    return torch.triu(x, offset) if upper else torch.tril(x, offset)


@operator("EyeLike")
def make_unit(x: Tensor, *, dtype: int | None = None, k: int = 0) -> Tensor:
    """Return ones on a diagonal of a matrix of zeros."""
    rows = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    columns = torch.arange(x.shape[1], device=x.device)
    return (rows + k == columns).to(x.dtype if dtype is None else torch_type(dtype))


@operator("Det")
def take_determinant(x: Tensor) -> Tensor:
    """Return the determinant of every matrix."""
    determinant: Tensor = torch.linalg.det(x)
    return determinant
