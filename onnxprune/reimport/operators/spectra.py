"""Transforms signals into frequencies and back; complex numbers are pairs in the last dimension."""

import torch
from torch import Tensor

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.registry import operator

PARTS = 2


@operator("DFT")
def transform(
    x: Tensor,
    length: Tensor | None = None,
    place: Tensor | None = None,
    *,
    axis: int | None = None,
    inverse: int = 0,
    onesided: int = 0,
    opset: int,
) -> Tensor:
    """Return the discrete Fourier transform of a signal along an axis, or the inverse one."""
    if place is not None:
        axis = int(place.item())
    dim = (1 if opset < 20 else -2) if axis is None else axis
    dim %= x.dim()
    count = int(length.item()) if length is not None else None
    if not onesided:
        function = torch.fft.ifft if inverse else torch.fft.fft
        return torch.view_as_real(function(_as_complex(x), count, dim))
    if inverse:
        real: Tensor = torch.fft.irfft(_as_complex(x), count, dim)
        return real.unsqueeze(-1)
    if x.shape[-1] == PARTS:
        raise UnsupportedError("DFT of complex numbers is one-sided")
    return torch.view_as_real(torch.fft.rfft(x.squeeze(-1), count, dim))


@operator("STFT")
def transform_frames(
    signal: Tensor,
    step: Tensor,
    window: Tensor | None = None,
    frame: Tensor | None = None,
    *,
    onesided: int = 1,
) -> Tensor:
    """Return the transforms of overlapping pieces of a signal."""
    if frame is not None:
        count = int(frame.item())
    else:
        count = window.shape[0] if window is not None else signal.shape[1]
    if onesided and signal.shape[-1] == PARTS:
        raise UnsupportedError("STFT of complex numbers is one-sided")
    pieces = signal.unfold(1, count, int(step.item())).transpose(2, 3)
    if window is not None:
        pieces = pieces * window.reshape(-1, 1)
    if onesided:
        return torch.view_as_real(torch.fft.rfft(pieces.squeeze(-1), dim=2))
    return torch.view_as_real(torch.fft.fft(_as_complex(pieces), dim=2))


def _as_complex(x: Tensor) -> Tensor:
    if x.shape[-1] == PARTS:
        return torch.view_as_complex(x.contiguous())
    return torch.complex(x.squeeze(-1), torch.zeros_like(x.squeeze(-1)))
