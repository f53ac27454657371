"""Nets put together at random from blocks, to find what nobody thought of."""

from collections.abc import Callable

import numpy as np
import onnx

from tests.models import node
from tests.structure.nets import Net, gelu

State = tuple[str, int]
"""A value of eight by eight pixels, and its channels."""

Block = Callable[[Net, State, str, np.random.Generator], State]


def _width(rng: np.random.Generator) -> int:
    return int(rng.choice([4, 6, 8, 12]))


def _activated(net: Net, x: str, name: str, rng: np.random.Generator) -> str:
    ops = ["Relu", "Tanh", "HardSwish", "LeakyRelu", "Sigmoid", "Softplus"]
    op = str(rng.choice(ops[:4] if net.tame else ops))
    return net.add(op, x, out=f"{name}.act")


def plain(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    made = _width(rng)
    x = net.conv(x, name, count, made, size=int(rng.choice([1, 3])))
    return _activated(net, x, name, rng), made


def normed(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    made = _width(rng)
    return net.block(x, name, count, made), made


def residual(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    y, made = normed(net, state, f"{name}.in", rng)
    y = net.conv(y, f"{name}.out", made, count)
    op = str(rng.choice(["Add", "Mul", "Sub", "Max"]))
    return net.add(op, x, y, out=f"{name}.met"), count


def depthwise(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    times = int(rng.choice([1, 2]))
    x = net.conv(x, name, count, count * times, group=count)
    return _activated(net, x, name, rng), count * times


def grouped(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    return _activated(net, net.conv(x, name, count, 8, group=2), name, rng), 8


def excited(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    keep = {"keepdims": 1, "axes": net.numbers(f"{name}.axes", [2, 3])}
    s = net.add("ReduceMean", x, keep["axes"], out=f"{name}.mean", keepdims=1)
    s = net.add("Relu", net.conv(s, f"{name}.s", count, 4, size=1), out=f"{name}.sr")
    s = net.add("Sigmoid", net.conv(s, f"{name}.t", 4, count, size=1), out=f"{name}.gate")
    return net.add("Mul", x, s, out=f"{name}.scaled"), count


def joined(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    y, made = plain(net, state, f"{name}.side", rng)
    order = [x, y] if rng.random() < 0.5 else [y, x]
    return net.add("Concat", *order, out=f"{name}.cat", axis=1), count + made


def halved(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    cut = count // 2
    sizes = net.numbers(f"{name}.sizes", [cut, count - cut])
    net.nodes.append(node(f"Split {x} {sizes} -> {name}.l {name}.r", f"{name}.split", axis=1))
    y, made = plain(net, (f"{name}.r", count - cut), f"{name}.side", rng)
    return net.add("Concat", f"{name}.l", y, out=f"{name}.cat", axis=1), cut + made


def shuffled(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    groups = 2
    apart = net.numbers(f"{name}.apart", [0, groups, count // groups, 8, 8])
    x = net.add("Reshape", x, apart, out=f"{name}.five")
    x = net.add("Transpose", x, out=f"{name}.turned", perm=[0, 2, 1, 3, 4])
    together = net.numbers(f"{name}.together", [0, -1, 8, 8])
    return net.add("Reshape", x, together, out=f"{name}.four"), count


def cut(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    low, high = 1, count - int(rng.integers(0, 2))
    given = [net.numbers(f"{name}.{at}", [n]) for at, n in (("low", low), ("high", high))]
    axis = net.numbers(f"{name}.axis", [1])
    return net.add("Slice", x, *given, axis, out=f"{name}.cut"), high - low


def picked(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    order = rng.permutation(count)[: max(count - 1, 2)].tolist()
    indices = net.numbers(f"{name}.order", order)
    return net.add("Gather", x, indices, out=f"{name}.picked", axis=1), len(order)


def padded(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    pads = net.numbers(f"{name}.pads", [0, 1, 0, 0, 0, 2, 0, 0])
    del rng
    return net.add("Pad", x, pads, out=f"{name}.padded"), count + 3


def bordered(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    pads = net.numbers(f"{name}.pads", [0, 0, 1, 1, 0, 0, 1, 1])
    value = net.numbers(
        f"{name}.value", float(rng.choice([0.0, 0.0 if net.tame else 0.5])), "float32"
    )
    x = net.add("Pad", x, pads, value, out=f"{name}.padded")
    return net.add("AveragePool", x, out=f"{name}.p", kernel_shape=[3, 3]), count


def scaled(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    op = str(rng.choice(["Mul", "Add", "PRelu", "Mul" if net.tame else "Div"]))
    return net.add(op, x, net.weight(f"{name}.v", count, 1, 1), out=f"{name}.scaled"), count


def resized(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    x = net.add("MaxPool", x, out=f"{name}.p", kernel_shape=[2, 2], strides=[2, 2])
    if rng.random() < 0.5:
        w, b = net.weight(f"{name}.w", count, 6, 2, 2), net.weight(f"{name}.b", 6)
        return net.add("ConvTranspose", x, w, b, out=f"{name}.up", strides=[2, 2]), 6
    sizes = net.numbers(f"{name}.sizes", [2, count, 8, 8])
    return net.add("Resize", x, "_", "_", sizes, out=f"{name}.up", mode="nearest"), count


def smooth(net: Net, state: State, name: str, rng: np.random.Generator) -> State:
    x, count = state
    del rng
    return gelu(net, x, f"{name}.gelu"), count


BLOCKS: dict[str, Block] = {
    block.__name__: block
    for block in (
        *(plain, normed, residual, depthwise, grouped, excited, joined, halved, shuffled),
        *(cut, picked, padded, bordered, scaled, resized, smooth),
    )
}


def flattened(net: Net, state: State) -> None:
    x, count = state
    x = net.add("Flatten", x, out="flat")
    net.dense(net.add("Relu", net.dense(x, "fc", count * 64, 10), out="fcr"), "y", 10, 4)


def pooled(net: Net, state: State) -> None:
    net.pooled(*state)


def tokens(net: Net, state: State) -> None:
    """Read pixels as tokens: Reshape, Transpose, MatMul, a mean over tokens."""
    x, count = state
    x = net.add("Reshape", x, net.numbers("lines", [0, count, -1]), out="lines_")
    x = net.add("Transpose", x, out="tokens", perm=[0, 2, 1])
    x = gelu(net, net.linear(x, "up", count, 12), "mlp")
    x = net.linear(x, "down", 12, 5)
    net.add("ReduceMean", x, net.numbers("tokens_axis", [1]), out="y", keepdims=0)


ENDS = (flattened, pooled, tokens)


def grow(seed: int, tame: bool = False) -> onnx.ModelProto:
    """Make a net of a stem, up to six blocks and an end.

    Args:
        seed: where the choice starts.
        tame: whether every operator makes zero of zero.
    """
    rng = np.random.default_rng(seed)
    net = Net()
    net.tame = tame
    net.inputs = {"x": [2, 3, 8, 8]}
    state = plain(net, ("x", 3), "stem", rng)
    names = list(BLOCKS)
    for at in range(int(rng.integers(2, 7))):
        name = str(rng.choice(names))
        count = state[1]
        if name in ("grouped", "shuffled") and count % 2:
            continue
        if name in ("cut", "picked", "halved") and count < 4:
            continue
        state = BLOCKS[name](net, state, f"b{at}.{name}", rng)
    ENDS[int(rng.integers(len(ENDS)))](net, state)
    return net.build()
