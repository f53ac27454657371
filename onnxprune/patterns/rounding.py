"""Numbers of weights rounded to whole units, so that the total comes as close as it can."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Stock:
    """Units that fall one by one: those of a tensor, or of several that are coupled.

    Args:
        count: how many there are.
        size: the weights of one, in all the tensors together.
        limit: how many may fall at most.
        fallen: how many fell before, which do not come back.
        multiple: those that are kept are a multiple of this, or all.
    """

    count: int
    size: int
    limit: int
    fallen: int = 0
    multiple: int = 1

    @property
    def most(self) -> int:
        """The largest number that may fall."""
        return max(self.fallen, self.at_most(self.limit))

    def at_most(self, number: int) -> int:
        """Return the largest number that may fall and is not above this one."""
        spare = self.count % self.multiple
        if number < spare:
            return 0
        return number - (number - spare) % self.multiple

    def after(self, number: int) -> int:
        """Return the next number that may fall."""
        spare = self.count % self.multiple
        return spare if number < spare else number + self.multiple


def whole_units(stocks: Sequence[Stock], weights: Sequence[int], total: int) -> list[int]:
    """Return how many units of each stock fall: the largest remainders are rounded up.

    Of equal remainders the earlier is rounded up first. The total is missed by less than one
    step of the stock that would have been next.

    Args:
        stocks: the units.
        weights: how many weights of each would fall.
        total: how many in all.
    """
    found = [
        max(stock.fallen, stock.at_most(min(number // stock.size, stock.limit)))
        for stock, number in zip(stocks, weights, strict=True)
    ]
    steps = [
        (stock.after(units) - units) * stock.size if stock.after(units) <= stock.most else 0
        for stock, units in zip(stocks, found, strict=True)
    ]
    rests = [
        Fraction(number - units * stock.size, step) if step else Fraction(0)
        for stock, number, units, step in zip(stocks, weights, found, steps, strict=True)
    ]
    missing = total - sum(u * stock.size for u, stock in zip(found, stocks, strict=True))
    open_ = [index for index, rest in enumerate(rests) if rest > 0]
    order = sorted(open_, key=lambda index: (-rests[index], index))
    for whole in (True, False):
        # First what fits; then one step too far, where that is closer than none.
        for index in list(order):
            step = steps[index]
            if step <= missing if whole else step < 2 * missing:
                found[index] = stocks[index].after(found[index])
                missing -= step
                order.remove(index)
    return found
