"""Small ONNX models with layers of every kind, and slow loops for what layers are fed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxprune.calibrating import layouts_of
from onnxprune.formats.onnx_biases import surroundings
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.recover.layerwise import Layers
from onnxprune.recover.pool import fill_pool
from onnxprune.recover.state import State
from onnxprune.reimport.module import reimport
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.trials.ports import input_ports
from tests.models import model, node, save

Array = NDArray[Any]
Values = dict[str, Array]
Columns = list[tuple[Array, Array]]
"""By rows of a weight's matrix, what these are multiplied with: [features, positions]."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model, its samples, and what loops know of it.

    Args:
        weights: what is pruned, in the order of the graph: by name, how it becomes a matrix.
        columns: for each of them, what it is multiplied with, of all values of the graph.
        compute: computes these of tensors and samples where onnx's own evaluator does not.
    """

    proto: onnx.ModelProto
    tensors: Values
    x: Array
    weights: dict[str, Callable[[Array], Array]]
    columns: dict[str, Callable[[Values, Values], Columns]]
    compute: Callable[[Mapping[str, Array], Array], Values] | None = None

    def values(self, tensors: Mapping[str, Array], x: Array) -> Values:
        """Return all values of the graph in double precision."""
        if self.compute is not None:
            return self.compute(tensors, x.astype(np.float64))
        made = onnx.ModelProto()
        made.CopyFrom(self.proto)
        made.graph.ClearField("initializer")
        for name, array in tensors.items():
            made.graph.initializer.append(numpy_helper.from_array(array, name))
        known = [value.name for value in made.graph.output]
        for each in made.graph.node:
            for name in each.output:
                if name and name not in known:
                    made.graph.output.append(onnx.ValueInfoProto(name=name))
        for port in (*made.graph.input, *made.graph.output):
            port.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
        session = ReferenceEvaluator(made)
        found = session.run(None, {"x": x.astype(np.float64)})
        names = [value.name for value in made.graph.output]
        return {"x": x.astype(np.float64), **dict(zip(names, found, strict=True))}


def drawn(seed: int, **shapes: tuple[int, ...]) -> Values:
    """Draw tensors in single precision, as doubles."""
    random = np.random.default_rng(seed)
    found = {}
    for name, shape in shapes.items():
        values = random.standard_normal(shape) * (0.5 if len(shape) > 1 else 0.7)
        found[name] = values.astype(np.float32).astype(np.float64)
    return found


def made(
    nodes: Sequence[onnx.NodeProto], tensors: Values, shape: Sequence[int | str]
) -> onnx.ModelProto:
    stored = [
        numpy_helper.from_array(array.astype(np.float32), name)
        for name, array in tensors.items()
    ]
    proto = model(nodes, {"x": shape}, "y", stored)
    proto.opset_import[0].version = 17
    return proto


def patches(x: Array, kernel: Sequence[int], pad: int, stride: int) -> Array:
    """Return the columns under a kernel, kernel positions first, then channels."""
    count, channels, high, wide = x.shape
    padded = np.zeros((count, channels, high + 2 * pad, wide + 2 * pad))
    padded[:, :, pad : pad + high, pad : pad + wide] = x
    found = []
    for number in range(count):
        for top in range(0, padded.shape[2] - kernel[0] + 1, stride):
            for left in range(0, padded.shape[3] - kernel[1] + 1, stride):
                column = [
                    padded[number, channel, top + down, left + across]
                    for down in range(kernel[0])
                    for across in range(kernel[1])
                    for channel in range(channels)
                ]
                found.append(column)
    return np.array(found).T


def spread_patches(x: Array, kernel: Sequence[int], pad: int, stride: int) -> Array:
    """Return the columns of a transposed convolution: what meets at each of its outputs."""
    count, channels, high, wide = x.shape
    sizes = [
        (size - 1) * stride - 2 * pad + k for size, k in zip((high, wide), kernel, strict=True)
    ]
    found = []
    for number in range(count):
        for row in range(sizes[0]):
            for line in range(sizes[1]):
                column = []
                for down in range(kernel[0]):
                    for across in range(kernel[1]):
                        above, beside = row + pad - down, line + pad - across
                        place, rest = divmod(above, stride)
                        side, left = divmod(beside, stride)
                        inside = (
                            not rest and not left and 0 <= place < high and 0 <= side < wide
                        )
                        column += [
                            x[number, channel, place, side] if inside else 0.0
                            for channel in range(channels)
                        ]
                found.append(column)
    return np.array(found).T


def kernel_first(weight: Array) -> Array:
    """A kernel [outputs, inputs, high, wide] as a matrix."""
    return weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)


def convolving() -> Case:
    """A convolution in groups with its own bias and a normalisation, a plain one, a dense layer."""
    tensors = drawn(
        1,
        grouped=(6, 2, 3, 3),
        grouped_bias=(6,),
        scale=(6,),
        shift=(6,),
        mean=(6,),
        plain=(5, 6, 2, 2),
        plain_bias=(5,),
        dense=(3, 5),
        dense_bias=(3,),
    )
    variance = np.array([0.5, 1.0, 2.0, 1.5, 0.25, 3.0])
    tensors["variance"] = variance
    nodes = [
        node("Conv x grouped grouped_bias -> a", group=2, pads=[1, 1, 1, 1]),
        node("BatchNormalization a scale shift mean variance -> b", epsilon=1e-3),
        node("Relu b -> c"),
        node("Conv c plain plain_bias -> d", strides=[2, 2]),
        node("Relu d -> e"),
        node("GlobalAveragePool e -> f"),
        node("Flatten f -> g"),
        node("Gemm g dense dense_bias -> y", transB=1, beta=0.5),
    ]

    def grouped(values: Values, _: Values) -> Columns:
        halves = (values["x"][:, :2], values["x"][:, 2:])
        rows = (np.arange(3), np.arange(3, 6))
        return [
            (some, patches(half, (3, 3), 1, 1))
            for some, half in zip(rows, halves, strict=True)
        ]

    return Case(
        made(nodes, tensors, ("n", 4, 4, 4)),
        tensors,
        np.random.default_rng(2).standard_normal((12, 4, 4, 4)).astype(np.float32) + 0.3,
        {"grouped": kernel_first, "plain": kernel_first, "dense": lambda each: each},
        {
            "grouped": grouped,
            "plain": lambda values, _: [(np.arange(5), patches(values["c"], (2, 2), 0, 2))],
            "dense": lambda values, _: [(np.arange(3), values["g"].T)],
        },
    )


def multiplying() -> Case:
    """Products of three dimensions with a sum behind and without, and dense layers both ways."""
    tensors = drawn(
        3,
        first=(4, 6),
        first_bias=(6,),
        second=(6, 5),
        third=(10, 4),
        third_bias=(1, 4),
        fourth=(3, 4),
    )
    nodes = [
        node("MatMul x first -> a"),
        node("Add a first_bias -> b"),
        node("Tanh b -> c"),
        node("MatMul c second -> d"),
        node("Relu d -> e"),
        node("Flatten e -> f"),
        node("Gemm f third third_bias -> g"),
        node("Tanh g -> h"),
        node("Gemm h fourth -> y", transB=1),
    ]
    return Case(
        made(nodes, tensors, ("n", 2, 4)),
        tensors,
        np.random.default_rng(4).standard_normal((14, 2, 4)).astype(np.float32) + 0.2,
        {
            "first": np.transpose,
            "second": np.transpose,
            "third": np.transpose,
            "fourth": lambda each: each,
        },
        {
            "first": lambda values, _: [(np.arange(6), values["x"].reshape(-1, 4).T)],
            "second": lambda values, _: [(np.arange(5), values["c"].reshape(-1, 6).T)],
            "third": lambda values, _: [(np.arange(4), values["f"].T)],
            "fourth": lambda values, _: [(np.arange(3), values["h"].T)],
        },
    )


def transposing() -> Case:
    """Transposed convolutions: a plain one, and one in groups that a sum comes behind."""
    tensors = drawn(
        5, plain=(3, 4, 2, 2), plain_bias=(4,), grouped=(4, 2, 3, 3), grouped_bias=(4, 1, 1)
    )
    nodes = [
        node("ConvTranspose x plain plain_bias -> a", strides=[2, 2]),
        node("Relu a -> b"),
        node("ConvTranspose b grouped -> c", group=2, pads=[1, 1, 1, 1]),
        node("Add c grouped_bias -> d"),
        node("Tanh d -> y"),
    ]

    def grouped(values: Values, _: Values) -> Columns:
        halves = (values["b"][:, :2], values["b"][:, 2:])
        rows = (np.arange(2), np.arange(2, 4))
        return [
            (some, spread_patches(half, (3, 3), 1, 1))
            for some, half in zip(rows, halves, strict=True)
        ]

    def compute(now: Mapping[str, Array], x: Array) -> Values:
        # Groups of a transposed convolution are not what onnx's evaluator is good at.
        first = plain_last(now["plain"]) @ spread_patches(x, (2, 2), 0, 2)
        maps = first.reshape(4, len(x), 4, 4).swapaxes(0, 1)
        values = {"x": x, "a": maps + now["plain_bias"][:, None, None]}
        values["b"] = np.maximum(values["a"], 0)
        matrix = grouped_last(now["grouped"])
        parts = [matrix[rows] @ columns for rows, columns in grouped(values, {})]
        values["c"] = np.concatenate(parts).reshape(4, len(x), 4, 4).swapaxes(0, 1)
        values["d"] = values["c"] + now["grouped_bias"]
        values["y"] = np.tanh(values["d"])
        return values

    return Case(
        made(nodes, tensors, ("n", 3, 2, 2)),
        tensors,
        np.random.default_rng(6).standard_normal((10, 3, 2, 2)).astype(np.float32) + 0.3,
        {"plain": plain_last, "grouped": grouped_last},
        {
            "plain": lambda values, _: [
                (np.arange(4), spread_patches(values["x"], (2, 2), 0, 2))
            ],
            "grouped": grouped,
        },
        compute,
    )


def plain_last(weight: Array) -> Array:
    """A kernel [inputs, outputs, high, wide] as a matrix."""
    return weight.transpose(1, 2, 3, 0).reshape(weight.shape[1], -1)


def grouped_last(weight: Array) -> Array:
    """A kernel [inputs, outputs of a group, high, wide] of two groups as a matrix."""
    return np.concatenate([plain_last(half) for half in np.split(weight, 2)])


def recurrent() -> Case:
    """An LSTM of both directions, and a dense layer on its last states."""
    hidden = 3
    tensors = drawn(7, w=(2, 12, 2), r=(2, 12, 3), b=(2, 24), dense=(4, 6))
    nodes = [
        node("Transpose x -> t", perm=[1, 0, 2]),
        node("LSTM t w r b -> all last _", hidden_size=hidden, direction="bidirectional"),
        node("Transpose last -> u", perm=[1, 0, 2]),
        node("Flatten u -> v"),
        node("Gemm v dense -> y", transB=1),
    ]
    nodes[1].output[:] = ["all", "last"]

    def inputs(values: Values, _: Values) -> Columns:
        columns = values["t"].reshape(-1, 2).T
        return [(np.arange(12), columns), (np.arange(12, 24), columns)]

    def states(values: Values, tensors: Values) -> Columns:
        found = []
        for direction in range(2):
            before = states_before(values["t"], tensors, direction)
            rows = np.arange(12) + 12 * direction
            found.append((rows, before.reshape(-1, hidden).T))
        return found

    return Case(
        made(nodes, tensors, ("n", 4, 2)),
        tensors,
        np.random.default_rng(8).standard_normal((10, 4, 2)).astype(np.float32),
        {
            "w": lambda each: each.reshape(24, 2),
            "r": lambda each: each.reshape(24, 3),
            "dense": lambda each: each,
        },
        {
            "w": inputs,
            "r": states,
            "dense": lambda values, _: [(np.arange(4), values["v"].T)],
        },
    )


def states_before(t: Array, tensors: Values, direction: int) -> Array:
    """Return an LSTM's states before each of its steps, as ONNX defines it."""
    w, r, b = (tensors[name][direction] for name in ("w", "r", "b"))
    steps = t if direction == 0 else t[::-1]
    state = cell = np.zeros((t.shape[1], r.shape[1]))
    found = []
    for step in steps:
        found.append(state)
        gates = step @ w.T + state @ r.T + b[:12] + b[12:]
        i, o, f, c = np.split(gates, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
        state = sigmoid(o) * np.tanh(cell)
    return np.array(found)


def sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-values)))


@dataclass(eq=False)
class Bench:
    """A case as our module, pruned."""

    case: Case
    model: OnnxModel
    state: State
    layers: Layers

    def tensors(self) -> Values:
        """Return all tensors as they are."""
        now = {path: each.detach().numpy().copy() for path, each in self.state.values.items()}
        return {**self.case.tensors, **now}

    def fitted(self) -> Array:
        """Return the samples that layers are fitted on."""
        trained = self.layers.pool.trained
        wanted = min(len(trained), self.layers.limit)
        # Evenly from the whole set, which may be sorted.
        return np.asarray(
            self.case.x[[trained[n * len(trained) // wanted] for n in range(wanted)]]
        )


@contextmanager
def bench(
    case: Case,
    folder: Path,
    masks: Mapping[str, Array],
    batch: int = 4,
    limit: int = 1024,
    stays: Sequence[str] = (),
) -> Iterator[Bench]:
    """Open a case in double precision, and let weights fall."""
    with load_onnx(save(folder / "m.onnx", case.proto)) as opened:
        module = reimport(opened, precision=torch.float64)
        free = {path for path in module.tensors if path not in stays}
        state = State(module.tensors, free, layouts_of(opened))
        samples = open_samples({"x": case.x}, Reading(), input_ports(opened))
        pool = fill_pool(samples, torch.device("cpu"), batch, 0.2)

        def constant(path: str) -> Array:
            stored = opened.stored(path)
            return stored.values(0, stored.size).astype(np.float64)

        found = {path: surroundings(opened, path) for path in case.weights}
        known = {path: each for path, each in found.items() if each is not None}
        layers = Layers(module, state, pool, batch, limit, list(case.weights), known, constant)
        state.put_masks(masks)
        yield Bench(case, opened, state, layers)


def masks_of(case: Case, seed: int = 0, share: float = 0.5) -> dict[str, Array]:
    """Draw which weights of a case are kept."""
    random = np.random.default_rng(seed)
    return {name: random.random(case.tensors[name].shape) > share for name in case.weights}


def masked(case: Case, masks: Mapping[str, Array]) -> Values:
    return {
        name: each * masks[name] if name in masks else each.copy()
        for name, each in case.tensors.items()
    }
