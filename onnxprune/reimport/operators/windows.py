"""Sizes and paddings of sliding windows, shared by convolutions and pools; computes no values."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from onnxprune.errors import UnsupportedError

AUTOMATIC = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")
RANKS = (1, 2, 3)


@dataclass(frozen=True, slots=True)
class Window:
    """A window over the dimensions behind batch and channels, one entry for each.

    Args:
        kernel: its extent in taps.
        strides: steps between windows.
        dilations: steps between taps.
        begins: padding before the first value; `ends`: behind the last.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begins: list[int]
    ends: list[int]

    @property
    def even(self) -> bool:
        """Whether torch's own padding, the same on both sides, is enough."""
        return self.begins == self.ends and min(self.begins) >= 0

    @property
    def spans(self) -> list[int]:
        """How many values the taps reach over."""
        return spans(self.kernel, self.dilations)

    def counts(self, sizes: Sequence[int], ceil: bool) -> list[int]:
        """Return how many windows there are along each dimension."""
        found = []
        dimensions = zip(sizes, self.spans, self.strides, self.begins, self.ends, strict=True)
        for size, span, stride, begin, end in dimensions:
            room = size + begin + end - span
            count = (-(-room // stride) if ceil else room // stride) + 1
            if ceil and (count - 1) * stride >= size + begin:
                count -= 1  # a window has to begin before the padding at the end
            found.append(count)
        return found

    def overhang(self, sizes: Sequence[int], ceil: bool) -> list[int]:
        """Return the padding at the ends that the last windows reach into."""
        return [
            max((count - 1) * stride + span - size - begin, end)
            for count, stride, span, size, begin, end in zip(
                self.counts(sizes, ceil),
                self.strides,
                self.spans,
                sizes,
                self.begins,
                self.ends,
                strict=True,
            )
        ]


def spans(kernel: Sequence[int], dilations: Sequence[int]) -> list[int]:
    """Return how many values the taps of a window reach over."""
    return [(size - 1) * step + 1 for size, step in zip(kernel, dilations, strict=True)]


def window(
    name: str,
    sizes: Sequence[int],
    kernel: Sequence[int],
    *,
    auto_pad: str = "NOTSET",
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
) -> Window:
    """Resolve the attributes of a window over dimensions of these sizes."""
    rank = check_rank(name, sizes)
    steps, gaps = list(strides or [1] * rank), list(dilations or [1] * rank)
    begins, ends = _pads(pads, rank)
    check_automatic(name, auto_pad)
    if auto_pad == "VALID":
        begins, ends = [0] * rank, [0] * rank
    elif auto_pad != "NOTSET":
        totals = [
            max((-(-size // step) - 1) * step + span - size, 0)
            for size, step, span in zip(sizes, steps, spans(kernel, gaps), strict=True)
        ]
        small, large = [each // 2 for each in totals], [each - each // 2 for each in totals]
        begins, ends = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    return Window(list(kernel), steps, gaps, begins, ends)


def check_rank(name: str, sizes: Sequence[int]) -> int:
    """Return the number of dimensions a window slides over, if torch knows so many."""
    if len(sizes) not in RANKS:
        raise UnsupportedError(
            f"{name} over {len(sizes)} dimensions cannot be computed with gradients"
        )
    return len(sizes)


def check_automatic(name: str, auto_pad: str) -> None:
    """Refuse a way of padding that no version has."""
    if auto_pad not in AUTOMATIC:
        raise UnsupportedError(f"{name} has no auto_pad '{auto_pad}'")


def pad(
    x: Tensor, begins: Sequence[int], ends: Sequence[int], value: float | None = None
) -> Tensor:
    """Pad the last dimensions; a negative amount cuts."""
    if not any(begins) and not any(ends):
        return x
    pairs = zip(reversed(list(begins)), reversed(list(ends)), strict=True)
    return F.pad(x, [amount for pair in pairs for amount in pair], value=value)


def _pads(pads: Sequence[int] | None, rank: int) -> tuple[list[int], list[int]]:
    both = list(pads) if pads else [0] * (2 * rank)
    return both[:rank], both[rank:]
