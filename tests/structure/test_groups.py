"""Channels as a planner sees them."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from onnxprune.formats.onnx_file import load_onnx
from onnxprune.structure.groups import ChannelGroup, couplings, find_channels, left_out
from onnxprune.types import Weight
from tests import models
from tests.structure import nets
from tests.structure.cutting import shapes_of


def look(model: onnx.ModelProto, folder: Path) -> tuple[list[ChannelGroup], list[Weight]]:
    path = models.save(folder / "m.onnx", model)
    with load_onnx(path) as opened:
        return find_channels(opened, shapes_of(model)), opened.weights


def group_of(groups: list[ChannelGroup], path: str) -> ChannelGroup:
    (found,) = [group for group in groups if path in group.producers]
    return found


def test_a_group_names_all_that_loses_positions(tmp_path: Path) -> None:
    groups, _ = look(nets.plain(), tmp_path)
    group = group_of(groups, "ac.w")
    roles = {(member.path, member.axis): member.role for member in group.members}
    assert roles == {
        ("ac.w", 0): "output",
        ("b.w", 1): "input",
        **{
            (f"a{name}", 0): "along"
            for name in ("c.b", "n.scale", "n.shift", "n.mean", "n.var")
        },
    }
    assert (group.count, group.reason) == (16, None)
    assert all(member.units.tolist() == [*range(16)] for member in group.members)


def test_a_flattened_channel_is_several_columns(tmp_path: Path) -> None:
    groups, _ = look(nets.plain(), tmp_path)
    (columns,) = [each for each in group_of(groups, "b.w").members if each.path == "h.w"]
    assert columns.units.tolist() == np.repeat(np.arange(20), 16).tolist()


def test_rows_of_several_weights_fall_together(tmp_path: Path) -> None:
    model = nets.residual()
    rows = couplings(*look(model, tmp_path))
    assert rows["stemc.w"].tolist() == rows["r1b.w"].tolist()
    assert rows["r2b.w"].tolist() == rows["proj.w"].tolist()
    assert not set(rows["r1c.w"].tolist()) & set(rows["stemc.w"].tolist())
    assert "y.w" not in rows


def test_a_head_is_one_unit_of_three_weights(tmp_path: Path) -> None:
    rows = couplings(*look(nets.transformer(), tmp_path))
    assert rows["q.w"].tolist() == rows["k.w"].tolist() == rows["v.w"].tolist()
    heads = rows["q.w"].reshape(4, 4)
    assert (heads == heads[:, :1]).all()
    assert len(set(heads[:, 0].tolist())) == 4
    assert sorted(set(rows["up.w"].tolist())) == list(
        range(rows["up.w"].min(), rows["up.w"].min() + 32)
    )


def test_a_fused_projection_couples_rows_of_one_weight(tmp_path: Path) -> None:
    rows = couplings(*look(nets.transformer(fused=True), tmp_path))["qkv.w"]
    parts = rows.reshape(3, 4, 4)
    assert (parts == parts[:1, :, :1]).all()


def test_a_group_of_a_convolution_is_one_unit(tmp_path: Path) -> None:
    rows = couplings(*look(nets.grouped(), tmp_path))
    assert len(set(rows["a.w"].tolist())) == 4
    assert rows["g.w"].tolist() == np.repeat(rows["a.w"][::4], 6).tolist()


def test_rows_of_a_transposed_convolution_of_groups_are_in_the_order_of_its_matrix(
    tmp_path: Path,
) -> None:
    net = nets.Net()
    x = net.add("Relu", net.conv("x", "a", 3, 6), out="ar")
    w = net.weight("up.w", 6, 4, 2, 2)
    x = net.add("ConvTranspose", x, w, out="up", strides=[2, 2], group=3)
    net.pooled(net.add("Relu", net.conv(x, "b", 12, 5), out="br"), 5)
    groups, weights = look(net.build(), tmp_path)
    rows = couplings(groups, weights)
    assert len(set(rows["a.w"].tolist())) == 3
    # Its outputs are counted by two axes, of which no one is whole.
    assert "up.w" not in rows
    assert left_out(groups, weights)["up.w"] == "its outputs are not followed"


def test_what_is_left_out_has_its_reason(tmp_path: Path) -> None:
    found = left_out(*look(nets.recurrent(), tmp_path))
    assert found["y.w"] == "it reaches the model's output 'y'"
    assert found["a.w"] == "LSTM 'lstm' is not followed"
    assert found["lstm.W"] == "its outputs are not followed"
    assert "b.w" not in found


@pytest.mark.parametrize("make", [nets.mobile, nets.unet, nets.shuffled, nets.transformer])
def test_a_unit_of_the_planner_is_of_one_group(make: object, tmp_path: Path) -> None:
    groups, weights = look(make(), tmp_path)  # type: ignore[operator]
    rows = couplings(groups, weights)
    assert rows.keys() | left_out(groups, weights).keys() == {each.path for each in weights}
    for group in groups:
        here = {path for path in group.producers if path in rows}
        inside = {unit for path in here for unit in rows[path].tolist()} - {-1}
        outside = {unit for path in rows.keys() - here for unit in rows[path].tolist()}
        assert not inside & outside
