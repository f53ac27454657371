"""Matrix products and sums over indices."""

import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.registry import operator


@operator("MatMul")
def matmul(a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices, broadcasting the dimensions before the last two."""
    return torch.matmul(a, b)


@operator("Gemm")
def gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    broadcast: int = 0,
) -> Tensor:
    """Multiply two matrices and add a third, each with a factor."""
    del broadcast  # opsets before 7 say what torch sees from the shapes
    left = a.t() if transA else a
    right = b.t() if transB else b
    if not a.is_floating_point():
        if not (float(alpha).is_integer() and float(beta).is_integer()):
            raise UnsupportedError(
                f"Gemm of whole numbers with factors {alpha:g} and {beta:g}"
            )
        product = torch.matmul(left, right) * int(alpha)
        return product if c is None else product + c * int(beta)
    if c is None or beta == 0:
        return torch.matmul(left if alpha == 1 else left * alpha, right)
    return torch.addmm(c, left, right, beta=beta, alpha=alpha)


@operator("Einsum")
def einsum(*inputs: Tensor, equation: str) -> Tensor:
    """Multiply and sum as the equation of indices says."""
    return torch.einsum(equation, *inputs)
