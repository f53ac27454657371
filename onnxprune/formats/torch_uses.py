"""What the operators of torch do with tensors of a file: which are weights, and how they are read.

It knows operators and arguments by their names, and tensors by where their values lie; it knows
neither scripts nor exported programs, which tell it what is used where.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, strided

from onnxprune.formats.torch_tensors import dense_order

CONVOLUTIONS = {
    *("conv1d", "conv2d", "conv3d", "convolution", "_convolution", "convolution_overrideable"),
    *("_convolution_mode", "conv1d_padding", "conv2d_padding", "conv3d_padding"),
}
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
LEFT = {"mm": "self", "bmm": "self", "matmul": "self", "addmm": "mat1", "baddbmm": "batch1"}
RIGHT = {"mm": "mat2", "bmm": "mat2", "matmul": "other", "addmm": "mat2", "baddbmm": "batch2"}
RECURRENT = {"lstm": "params", "gru": "params", "rnn_tanh": "params", "rnn_relu": "params"}
CELLS = {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
FUSED = {"_transformer_encoder_layer_fwd", "_native_multi_head_attention"}
FUSED_WEIGHTS = {"qkv_weight", "proj_weight", "ffn_weight_1", "ffn_weight_2"}
TABLES = {"embedding", "embedding_bag", "_embedding_bag"}
NORMALISATIONS = {
    *("batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm"),
    *("native_batch_norm", "native_layer_norm", "native_group_norm"),
    *("_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"),
}
REASONS = {
    **dict.fromkeys(("add", "add_", "sub", "sub_", "rsub"), "added (a bias or an offset)"),
    **dict.fromkeys(("mul", "mul_", "div", "div_"), "multiplied (a scale)"),
    **dict.fromkeys(("prelu", "_prelu_kernel"), "PReLU slope"),
}
UNKNOWN = "used in a way that is not known"


@dataclass(frozen=True, slots=True)
class Reading:
    """How an operator reads a tensor: which of its dimensions count outputs, which inputs."""

    outputs: tuple[int, ...]
    inputs: tuple[int, ...]
    table: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What one operator does with one tensor of the file.

    Args:
        path: the tensor.
        op: the operator.
        reason: why it is no weight there, if it is none.
        table: whether it is looked up in.
        shape: its values in the order of memory, with the dimensions that count `outputs`,
            the `kernel` and `inputs`; empty where it is no weight.
        outputs: see above.
        kernel: see above.
        inputs: see above.
    """

    path: str
    op: str
    reason: str = ""
    table: bool = False
    shape: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    inputs: tuple[int, ...] = ()


class Uses:
    """Collects what is done with the tensors of a file.

    Args:
        tensors: the tensors by path, the paths that a user knows first.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.found: list[Use] = []
        self._bases: dict[int, list[tuple[str, Tensor]]] = {}
        for path, tensor in tensors.items():
            if _is_plain(tensor) and tensor.is_floating_point():
                pointer = tensor.untyped_storage().data_ptr()
                self._bases.setdefault(pointer, []).append((path, tensor))

    def note(self, op: str, argument: str, value: Any, others: Mapping[str, Any]) -> None:
        """Note that an operator takes a value, which may be a view of a tensor of the file.

        Args:
            op: the operator, without namespace and overload.
            argument: what it takes the value as.
            value: a tensor, or a list of them.
            others: all arguments by name.
        """
        if isinstance(value, list | tuple):
            for number, each in enumerate(value):
                self._note(op, argument, number, each, others)
        else:
            self._note(op, argument, 0, value, others)

    def _note(
        self, op: str, argument: str, number: int, value: Any, others: Mapping[str, Any]
    ) -> None:
        base = self._base(value)
        if base is None:
            return
        path, tensor = base
        reading, value = read(op, argument, number, value, others)
        if isinstance(reading, str):
            self.found.append(Use(path, op.strip("_"), reading))
            return
        layout = _layout(tensor, value, reading)
        if layout is None:
            self.found.append(Use(path, op.strip("_"), UNKNOWN))
        else:
            self.found.append(Use(path, op.strip("_"), "", reading.table, *layout))

    def _base(self, value: Any) -> tuple[str, Tensor] | None:
        """Return the smallest tensor of the file that a view shows values of."""
        if not isinstance(value, Tensor) or not _is_plain(value):
            return None
        start, end = _region(value)
        found = [
            (path, tensor)
            for path, tensor in self._bases.get(value.untyped_storage().data_ptr(), [])
            if _region(tensor)[0] <= start and end <= _region(tensor)[1]
        ]
        return min(found, key=lambda each: each[1].numel(), default=None)


def _is_plain(tensor: Tensor) -> bool:
    """Whether a tensor has values that lie in a storage."""
    return tensor.layout == strided and tensor.numel() > 0 and not tensor.is_quantized


def read(
    op: str, argument: str, number: int, value: Tensor, others: Mapping[str, Any]
) -> tuple[Reading | str, Tensor]:
    """Say how an operator reads one of its arguments, or why it is no weight there."""
    rank = value.dim()
    if op in CONVOLUTIONS | TRANSPOSED and argument == "weight" and rank > 2:
        return _convolution(op, value, others)
    if op == "linear" and argument == "weight" and rank == 2:
        return Reading((0,), (1,)), value
    if argument == LEFT.get(op) and rank:
        return Reading(tuple(range(rank - 1)), (rank - 1,)), value
    if argument == RIGHT.get(op) and rank:
        inputs = max(rank - 2, 0)
        return Reading(tuple(d for d in range(rank) if d != inputs), (inputs,)), value
    recurrent = argument == RECURRENT.get(op) or (op in CELLS and argument in ("w_ih", "w_hh"))
    if (recurrent or (op in FUSED and argument in FUSED_WEIGHTS)) and rank == 2:
        return Reading((0,), (1,)), value
    if op in TABLES and argument == "weight" and rank > 1:
        return Reading((0,), tuple(range(1, rank)), table=True), value
    if op == "einsum" and argument == "tensors":
        return _einsum(value, number, others.get("equation")), value
    return _no_weight(op, argument), value


def _no_weight(op: str, argument: str) -> str:
    """Say what a tensor does at a place that takes no weight."""
    if op in NORMALISATIONS:
        return "normalisation"
    if "bias" in argument or argument in ("b_ih", "b_hh", RECURRENT.get(op)):
        return "bias"
    if argument == "hx":
        return "state or peephole of a recurrent layer"
    return REASONS.get(op) or f"'{argument}' of {op.strip('_')}, which is no weight"


def _convolution(
    op: str, value: Tensor, others: Mapping[str, Any]
) -> tuple[Reading | str, Tensor]:
    if op in CONVOLUTIONS and not others.get("transposed"):
        return Reading((0,), (1,)), value
    groups = others.get("groups")
    if isinstance(groups, int) and groups > 1 and value.shape[0] % groups == 0:
        # Every group has its own outputs.
        shape = (groups, value.shape[0] // groups, *value.shape[1:])
        return Reading((0, 2), (1,)), value.view(shape)
    return Reading((1,), (0,)), value


def _einsum(value: Tensor, number: int, equation: Any) -> Reading | str:
    """Read an operand: letters that the result keeps count outputs, the others inputs."""
    if not isinstance(equation, str):
        return UNKNOWN
    operands, arrow, result = equation.replace(" ", "").partition("->")
    terms = operands.split(",")
    if number >= len(terms) or "." in equation or len(terms[number]) != value.dim():
        return UNKNOWN
    if not arrow:
        result = "".join(letter for letter in operands if operands.count(letter) == 1)
    letters = terms[number]
    inputs = tuple(axis for axis, letter in enumerate(letters) if letter not in result)
    outputs = tuple(axis for axis, letter in enumerate(letters) if letter in result)
    return Reading(outputs, inputs) if inputs else "multiplied (a scale)"


def _region(tensor: Tensor) -> tuple[int, int]:
    """Return the first value of a storage that a tensor shows, and the one behind its last."""
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    start = int(tensor.storage_offset())
    return start, start + sum(int((size - 1) * step) for size, step in steps) + 1


def _layout(
    base: Tensor, value: Tensor, reading: Reading
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]] | None:
    """Return how a tensor's values in the order of memory are read through a view of them."""
    order = dense_order(tuple(value.shape), value.stride())
    if order is not None and value.numel() == base.numel():
        roles = dict(enumerate(order))
        shape = tuple(value.shape[dimension] for dimension in order)
    else:
        # A piece: each dimension of the whole is read as the one with its step.
        whole = dense_order(tuple(base.shape), base.stride())
        if whole is None:
            return None
        steps = {
            step: at
            for at, (size, step) in enumerate(zip(value.shape, value.stride(), strict=True))
            if size != 1
        }
        if any(base.stride()[dimension] not in steps for dimension in whole):
            return None
        roles = {place: steps[base.stride()[each]] for place, each in enumerate(whole)}
        shape = tuple(base.shape[dimension] for dimension in whole)
    outputs = tuple(place for place, at in roles.items() if at in reading.outputs)
    inputs = tuple(place for place, at in roles.items() if at in reading.inputs)
    kernel = tuple(place for place in roles if place not in outputs + inputs)
    return shape, outputs, kernel, inputs
