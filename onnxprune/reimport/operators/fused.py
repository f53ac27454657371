"""Products and activations that ONNX Runtime's optimiser has fused into one operator."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.operators.activations import limit
from onnxprune.reimport.operators.convolution import conv
from onnxprune.reimport.operators.products import gemm
from onnxprune.reimport.registry import operator

MICROSOFT = "com.microsoft"
ACTIVATIONS: dict[str, Callable[..., Tensor]] = {
    "": lambda x: x,
    "Relu": torch.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "LeakyRelu": lambda x, alpha=0.01: F.leaky_relu(x, alpha),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: limit(x * alpha + beta, 0, 1),
    "HardSwish": lambda x, *_: F.hardswish(x),
    "Elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "Selu": lambda x, alpha, gamma: F.elu(x, alpha) * gamma,
    "Softplus": F.softplus,
    "Softsign": F.softsign,
    "ThresholdedRelu": lambda x, alpha=1.0: torch.where(x > alpha, x, 0.0),
    "Clip": limit,
}


@operator("FusedConv", domain=MICROSOFT)
def fused_conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: list[float] | None = None,
    auto_pad: str = "NOTSET",
    dilations: list[int] | None = None,
    group: int = 1,
    kernel_shape: list[int] | None = None,
    pads: list[int] | None = None,
    strides: list[int] | None = None,
) -> Tensor:
    """Slide a kernel over the input, add another and bend the sum."""
    y: Tensor = conv(
        x,
        w,
        b,
        auto_pad=auto_pad,
        dilations=dilations,
        group=group,
        kernel_shape=kernel_shape,
        pads=pads,
        strides=strides,
    )
    y = y if z is None else y + z
    return _activate(y, "FusedConv", activation, activation_params or ())


@operator("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    a: Tensor,
    b: Tensor,
    c: Tensor | None = None,
    *,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    """Multiply two matrices, add a third and bend the sum."""
    y: Tensor = gemm(a, b, c, alpha=alpha, beta=beta, transA=transA, transB=transB)
    given = (activation_alpha, activation_beta, activation_gamma)
    return _activate(y, "FusedGemm", activation, [each for each in given if each is not None])


def _activate(x: Tensor, name: str, activation: str, settings: Sequence[float]) -> Tensor:
    if activation not in ACTIVATIONS:
        raise UnsupportedError(f"{name} with activation '{activation}' is not known")
    return ACTIVATIONS[activation](x, *settings)


@operator("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
def fused_matmul(
    a: Tensor,
    b: Tensor,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Tensor:
    """Multiply matrices that are stored transposed, and scale the product."""
    left = _arranged(a, transA, transBatchA)
    right = _arranged(b, transB, transBatchB)
    product = torch.matmul(left, right)
    return product if alpha == 1 else product * alpha


def _arranged(x: Tensor, swap: int, batch: int) -> Tensor:
    """Move the first dimension behind the batch, then swap the last two."""
    if batch and x.dim() > 2:
        x = x.movedim(0, -2)
    return x.transpose(-1, -2) if swap and x.dim() > 1 else x


@operator("Gelu", domain=MICROSOFT)
def gelu(x: Tensor) -> Tensor:
    """Multiply by the normal distribution's share below."""
    return F.gelu(x)


@operator("BiasGelu", domain=MICROSOFT)
def bias_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias, then bend."""
    return F.gelu(x + bias)


@operator("FastGelu", domain=MICROSOFT)
def fast_gelu(x: Tensor, bias: Tensor | None = None) -> Tensor:
    """Add a bias, then bend, approximately."""
    return F.gelu(x if bias is None else x + bias, approximate="tanh")


@operator("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Multiply matrices, add a bias, then bend, approximately."""
    y: Tensor = fast_gelu(torch.matmul(x, w), bias)
    return y


@operator("QuickGelu", domain=MICROSOFT)
def quick_gelu(x: Tensor, *, alpha: float = 1.702) -> Tensor:
    """Multiply by a sigmoid."""
    return x * torch.sigmoid(x * alpha)


@operator("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(x: Tensor, bias: Tensor) -> Tensor:
    """Add a bias, then multiply one half by the other half, bent."""
    values, gate = (x + bias).chunk(2, -1)
    return values * F.gelu(gate)
