"""Nets that nobody designed lose their zero channels and nothing else."""

from pathlib import Path

import pytest

from tests.structure.cutting import (
    TOLERANCE,
    take_out,
    zero_filters,
    zero_units,
)
from tests.structure.grown import grow

SEEDS = range(30)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tame", [False, True])
def test_a_grown_net_computes_the_same_without_its_zero_filters(seed: int, tame: bool) -> None:
    result = take_out(zero_filters(grow(seed, tame), 0.4), needed=False)
    assert result.largest <= TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_unit_that_is_zero_goes(seed: int, tmp_path: Path) -> None:
    """Zero a share of every group with all that goes along, as a planner would."""
    model = grow(seed, tame=True)
    zeroed = zero_units(model, 0.5, tmp_path, seed)
    result = take_out(model)
    assert result.largest <= TOLERANCE
    for name, count in zeroed.items():
        group = result.groups[name]
        assert group.before - group.after >= count - 1, (name, group)
