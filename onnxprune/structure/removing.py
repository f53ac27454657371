"""Finds the channels of one model that can go, and says what became of each group."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onnxprune.formats.macs import declared_shapes
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_types import element_count
from onnxprune.formats.verify import infer_shapes
from onnxprune.removals import RemovedChannels
from onnxprune.structure.constants import message_of
from onnxprune.structure.deciding import find_needed, find_removable
from onnxprune.structure.following import Shapes, follow
from onnxprune.structure.groups import OUTPUT, ChannelGroup, group_channels
from onnxprune.structure.settling import Settled
from onnxprune.structure.surgery import Surgery
from onnxprune.structure.writing import find_message
from onnxprune.types import Array

SMALL = 128
"""Elements of a tensor in another file that may be part of a shape."""

LAST = "the last channel of a tensor stays"
NOT_ZERO = "none of them is zero"


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """What can be taken out of a model, and what became of its groups of channels."""

    surgery: Surgery
    groups: tuple[RemovedChannels, ...]


def value_shapes(model: OnnxModel) -> Shapes:
    """Return the shapes of values that a file declares, and what a child process infers."""
    skeleton = model.scan.skeleton
    if model.files:
        # Shapes of reshapes may lie in another file; those inline are in the skeleton.
        proto = onnx.ModelProto.FromString(skeleton)
        for constant in model.graph.constants:
            record = constant.record
            if record.external is not None and element_count(record) <= SMALL:
                message = find_message(proto, record.address)
                message.ClearField("external_data")
                message.ClearField("data_location")
                message.raw_data = message_of(model, record).raw_data
        skeleton = proto.SerializeToString()
    return {**declared_shapes(model.graph.model), **infer_shapes(skeleton)}


def find_cut(model: OnnxModel, shapes: Shapes) -> Cut:
    """Find the channels that can go.

    Args:
        model: the model, with zeros in it.
        shapes: the shapes of its values, as far as they are known.
    """
    followed = follow(model, shapes)
    needed = find_needed(followed, Settled(model, followed))
    gone = find_removable(followed, needed)
    groups = tuple(
        _became(model, group, gone, needed)
        for group in group_channels(followed)
        if group.producers or set(group.roots) & gone
    )
    return Cut(Surgery(model, followed, gone), groups)


def _became(
    model: OnnxModel, group: ChannelGroup, gone: set[int], needed: Mapping[int, str]
) -> RemovedChannels:
    left = [at for at, root in enumerate(group.roots) if root not in gone]
    zero = _zeros(model, group)
    stays = [at for at in left if zero[at]]
    reason = group.reason
    if reason is None and stays:
        reasons = [_why(group, at, needed) for at in stays]
        reason = Counter(reasons).most_common(1)[0][0]
    elif reason is None and len(left) == group.count:
        reason = NOT_ZERO
    names = group.producers or tuple(member.path for member in group.members)
    return RemovedChannels(names, group.count, len(left), len(stays), reason)


def _why(group: ChannelGroup, unit: int, needed: Mapping[int, str]) -> str:
    frozen = group.reasons[unit]
    if frozen is not None:
        return frozen
    reader = needed.get(group.roots[unit])
    return LAST if reader is None else f"{reader} reads what is not zero"


def _zeros(model: OnnxModel, group: ChannelGroup) -> Array:
    """Return which units all the weights that make them make zeros of."""
    zero = np.ones(group.count, bool)
    known = False
    for member in group.members:
        if member.role != OUTPUT or member.path not in model.findings:
            continue
        known = True
        tensor = model.stored(member.path)
        nonzero = tensor.nonzero(tensor.stored(0, tensor.size), 0)
        table = nonzero.reshape(tensor.record.dims)
        used = np.moveaxis(table, member.axis, 0).reshape(len(member.units), -1).any(1)
        taken = member.units[used & (member.units >= 0)]
        zero[taken] = False
    return zero & known
