"""Constants that are added to channels or scale them, and are zero where these are."""

from collections.abc import Sequence

import numpy as np

from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_graph import Use
from onnxprune.removals import Follower
from onnxprune.structure.following import DEFAULT
from onnxprune.structure.groups import ALONG, ChannelGroup

ANY = ("Add", "Sub", "Mul")
"""Operators that may be given a zero wherever they take a constant."""

INPUTS = {
    "Conv": (2,),
    "ConvTranspose": (2,),
    "Gemm": (2,),
    "BatchNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
}
"""The inputs that scale or add, of operators that have others, too."""


def find_followers(model: OnnxModel, groups: Sequence[ChannelGroup]) -> list[Follower]:
    """Return the constants that can go with channels, with the units of `couplings`.

    Args:
        model: the model.
        groups: its channels.
    """
    scope = model.graph.scopes[0]
    paths = {scope.constants[name].path: name for name in scope.constants}
    found, first = [], 0
    for group in groups:
        free = np.array([reason is None for reason in group.reasons], bool)
        for member in group.members:
            name = paths.get(member.path)
            if member.role != ALONG or name is None:
                continue
            uses = scope.uses.get(name, [])
            if model.editable(member.path) is None and all(map(_takes_zero, uses)):
                fine = (member.units >= 0) & free[member.units]
                units = np.where(fine, member.units + first, -1)
                shape = tuple(scope.constants[name].record.dims)
                found.append(Follower(member.path, shape, member.axis, tuple(units.tolist())))
        first += group.count
    return found


def _takes_zero(use: Use) -> bool:
    node = use.node
    if node is None or node.domain not in DEFAULT:
        return False
    return node.op_type in ANY or use.index in INPUTS.get(node.op_type, ())
