"""Constants behind operators that only move them or change their type."""

from collections.abc import Callable

import numpy as np
import onnx

from onnxprune.formats.onnx_graph import Scope
from onnxprune.formats.onnx_rules import any_attribute
from onnxprune.structure.constants import Constants
from onnxprune.types import Array

DEFAULT = ("", "ai.onnx")


class Folding:
    """The values of the main graph that are constant, computed when they are asked for."""

    def __init__(self, scope: Scope, constants: Constants) -> None:
        self.scope = scope
        self.constants = constants

    def array(self, name: str, depth: int = 12) -> Array | None:
        """Return a value that is constant, else None."""
        if not name:
            return None
        if name in self.constants:
            return self.constants.read(name)
        node = self.scope.producers.get(name)
        if node is None or depth == 0 or node.domain not in DEFAULT:
            return None
        if node.op_type not in COMPUTING or not self._is_constant(node, depth):
            return None
        arrays = [self.array(each, depth - 1) for each in node.input]
        return COMPUTING[node.op_type](node, [each for each in arrays if each is not None])

    def _is_constant(self, node: onnx.NodeProto, depth: int) -> bool:
        """Whether all inputs are constant, told without reading any."""
        for name in node.input:
            if name in self.constants:
                continue
            maker = self.scope.producers.get(name)
            if maker is None or depth == 0 or maker.op_type not in COMPUTING:
                return False
            if maker.domain not in DEFAULT or not self._is_constant(maker, depth - 1):
                return False
        return True


def _cast(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    kind = onnx.helper.tensor_dtype_to_np_dtype(int(any_attribute(node, "to", 1)))
    with np.errstate(all="ignore"):
        return arrays[0].astype(kind)


def _transpose(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    return np.transpose(arrays[0], any_attribute(node, "perm", None))


def _reshape(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    given = arrays[1].tolist() if len(arrays) > 1 else any_attribute(node, "shape", [])
    data = arrays[0]
    wanted = [
        data.shape[at] if size == 0 and at < data.ndim else size
        for at, size in enumerate(given)
    ]
    try:
        return data.reshape(wanted)
    except ValueError:
        return None


def _dequantise(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    data, scale = arrays[0].astype(np.float64), arrays[1].astype(np.float64)
    zero = arrays[2].astype(np.float64) if len(arrays) > 2 else np.zeros_like(scale)
    if scale.size == 1:
        return np.asarray((data - zero.ravel()[0]) * scale.ravel()[0])
    if scale.ndim != 1:
        return None
    shape = [1] * data.ndim
    shape[int(any_attribute(node, "axis", 1)) % data.ndim] = -1
    return np.asarray((data - zero.reshape(shape)) * scale.reshape(shape))


def _quantise(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    data, scale = arrays[0], arrays[1]
    zero = arrays[2] if len(arrays) > 2 else np.zeros(1, np.uint8)
    if scale.size != 1 or zero.dtype.kind not in "iu":
        return None
    limits = np.iinfo(zero.dtype)
    with np.errstate(all="ignore"):
        codes = np.rint(data / scale.ravel()[0]) + float(zero.ravel()[0])
    return np.asarray(np.clip(codes, limits.min, limits.max), zero.dtype)


def _squeeze(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    axes = arrays[1].tolist() if len(arrays) > 1 else any_attribute(node, "axes", None)
    return np.asarray(np.squeeze(arrays[0], None if axes is None else tuple(axes)))


def _unsqueeze(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    axes = arrays[1].tolist() if len(arrays) > 1 else any_attribute(node, "axes", [])
    return np.asarray(np.expand_dims(arrays[0], tuple(axes)))


def _identity(node: onnx.NodeProto, arrays: list[Array]) -> Array | None:
    del node
    return arrays[0]


COMPUTING: dict[str, Callable[[onnx.NodeProto, list[Array]], Array | None]] = {
    "Cast": _cast,
    "DequantizeLinear": _dequantise,
    "Identity": _identity,
    "QuantizeLinear": _quantise,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
