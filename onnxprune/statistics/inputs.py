"""What each weight is multiplied with while a model computes, told product by product.

A product is W · X, with the weight's matrix W as its layout has it, and columns X: the inputs of
a dense layer, the patches under a kernel, the states of a recurrent layer. Weights are followed
from outside, through each function of torch that is called, to those that multiply.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from onnxprune.statistics.cells import Block, Cells, find_blocks
from onnxprune.statistics.columns import Chosen, Columns
from onnxprune.statistics.following import (
    FOLLOWED,
    Trace,
    follow,
    is_traced,
    lay_trace,
    name_of,
    trace_of,
)
from onnxprune.statistics.measurement import Module
from onnxprune.statistics.products import PRODUCTS, Operand, Part
from onnxprune.types import Array, Layout

LIMIT = 1 << 22
"""Elements of a piece of columns, unless another number is asked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """Rows of a weight's matrix that one product multiplies with the same columns.

    Where weights are multiplied as quantised numbers, a row of the product is a row of W · X up
    to a factor: the row's scale, which X knows nothing of.

    Args:
        path: the weight's.
        rows: of its matrix, none twice.
        columns: for each feature of X, the column of its matrix, none twice.
    """

    path: str
    rows: Array
    columns: Array
    _source: Columns

    @property
    def positions(self) -> int:
        """How many columns X has: samples times places."""
        return self._source.positions

    def chunks(self, limit: int = LIMIT) -> Iterator[Tensor]:
        """Make X, [features, positions], in pieces of at most `limit` elements.

        A piece has one position at least. It may lie in the memory of what the model computes,
        and is not to be changed.
        """
        return self._source.chunks(limit)


class Enough(BaseException):
    """Raised by whoever is told of uses to hear of no more; no node's way to catch."""


class _FailedError(BaseException):
    """Carries what the one who was told raised past the nodes, whose error it is not."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def watch(  # noqa: PLR0913 - a model with its inputs and weights, and who is told of which
    module: Module,
    feeds: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    layouts: Mapping[str, Layout],
    seen: Callable[[Use], None],
    names: Collection[str] | None = None,
) -> dict[str, Any]:
    """Compute the outputs, and tell of every use of a weight in a product on the way.

    Args:
        module: the model.
        feeds: its inputs.
        tensors: what to take instead of its parameters, for some or all paths.
        layouts: by path, how each weight is a matrix.
        seen: is told of uses, in the order in which they are computed.
        names: the weights to tell of; all of them if not given.

    Returns:
        The outputs, or nothing if `seen` raised Enough.
    """
    given = {path: each.detach() for path, each in {**module.tensors, **tensors}.items()}
    cells: list[Cells] = []
    for path, layout in layouts.items():
        if path in given and (names is None or path in names):
            base = cells[-1].end if cells else 0
            cells.append(Cells(path, layout, given[path], base))
            lay_trace(given[path], Trace(cells[-1].numbers))
    try:
        with torch.no_grad(), _Watching(cells, seen):
            return module.compute(feeds, given)
    except Enough:
        return {}
    except _FailedError as failed:
        raise failed.cause from None


class _Watching(TorchFunctionMode):
    """Follows weights through the functions that are called, and tells of their products."""

    def __init__(self, known: list[Cells], seen: Callable[[Use], None]) -> None:
        super().__init__()
        self._known = known
        self._seen = seen

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        name = name_of(func)
        if (name in PRODUCTS or name in FOLLOWED) and is_traced((args, named)):
            if name in FOLLOWED:
                follow(func, args, named, result)
            else:
                for operand in PRODUCTS[name](args, named, result):
                    self._tell(operand)
        return result

    def _tell(self, operand: Operand) -> None:
        """Tell of the products of one operand."""
        trace = trace_of(operand.tensor)
        if trace is None:
            return
        tensor = operand.tensor
        values = operand.arrange(tensor) if trace.slack else repeat(None)
        for part, value in zip(operand.arrange(trace.places()), values, strict=False):
            for block in find_blocks(part.matrix.cpu().numpy(), self._known):
                room = trace.slack * tensor.square().mean().sqrt()
                if value is None or block.is_scaled(value.matrix, room):
                    self._say(_use(block, part))

    def _say(self, use: Use) -> None:
        try:
            self._seen(use)
        except Exception as error:
            raise _FailedError(error) from error


def _use(block: Block, part: Part) -> Use:
    """Return the use of a block; inputs that meet one column of the weight are added."""
    source: Columns = part.columns
    columns = block.columns
    met, sums = np.unique(columns, return_inverse=True)
    whole, unique = len(block.inputs) == part.columns.features, len(met) == len(columns)
    if not (whole and unique and part.factor == 1):
        indices = None if whole else block.inputs
        source = Chosen(source, indices, None if unique else sums, part.factor)
    return Use(block.cells.path, block.rows, columns if unique else met, source)
