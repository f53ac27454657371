"""Nets that nobody designed lose their zero channels and nothing else."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.structure.following import follow
from onnxprune.structure.groups import ChannelGroup, group_channels
from tests.structure.cutting import (
    TOLERANCE,
    shapes_of,
    take_out,
    tensors_of,
    zero,
    zero_filters,
)
from tests.structure.grown import grow

SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("tame", [False, True])
def test_a_grown_net_computes_the_same_without_its_zero_filters(seed: int, tame: bool) -> None:
    result = take_out(zero_filters(grow(seed, tame), 0.4), needed=False)
    assert result.largest <= TOLERANCE


@pytest.mark.parametrize("seed", SEEDS)
def test_a_unit_that_is_zero_goes(seed: int, tmp_path: Path) -> None:
    """Zero a share of every group with all that goes along, as a planner would."""
    model = grow(seed, tame=True)
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    with load_onnx(path) as opened:
        groups = group_channels(follow(opened, shapes_of(model)))
    zeroed = _zero_units(model, groups, seed)
    result = take_out(model)
    assert result.largest <= TOLERANCE
    for name, count in zeroed.items():
        group = result.groups[name]
        assert group.before - group.after >= count - 1, (name, group)


def _zero_units(
    model: onnx.ModelProto, groups: list[ChannelGroup], seed: int
) -> dict[str, int]:
    tensors = tensors_of(model)
    rng = np.random.default_rng(seed)
    zeroed = {}
    for group in groups:
        free = [unit for unit, reason in enumerate(group.reasons) if reason is None]
        gone = rng.permutation(free)[: len(free) // 2].tolist()
        for member in group.members:
            if member.role != "input" and not member.path.endswith((".var", ".order")):
                rows = np.flatnonzero(np.isin(member.units, gone)).tolist()
                zero(tensors[member.path], member.axis, rows)
        if group.producers and gone:
            zeroed[group.producers[0]] = len(gone)
    return zeroed
