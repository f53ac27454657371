"""Small nets of every kind, drawn from names: the same ones in every run."""

from collections.abc import Sequence
from typing import Any

import onnx

from tests.models import constant, model, node, weight


class Net:
    """A graph that grows; each layer is named, its tensors after it."""

    def __init__(self, channels: int = 3, size: int = 8) -> None:
        self.tame = False
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.inputs: dict[str, Sequence[int | str]] = {"x": ["N", channels, size, size]}

    def add(self, op: str, *inputs: str, out: str, **attributes: Any) -> str:
        """Add a node with one output."""
        text = f"{op} {' '.join(inputs)} -> {out}"
        self.nodes.append(node(text, out, **attributes))
        return out

    def weight(self, name: str, *shape: int, scale: float = 1.0) -> str:
        """Add a tensor of values drawn from its name."""
        made = weight(name, *shape)
        self.tensors.append(made)
        if scale != 1.0:
            values = onnx.numpy_helper.to_array(made) * scale
            made.CopyFrom(constant(name, values))
        return name

    def numbers(self, name: str, values: Any, dtype: Any = "int64") -> str:
        """Add a constant."""
        self.tensors.append(constant(name, values, dtype))
        return name

    def conv(
        self, x: str, name: str, inputs: int, outputs: int, size: int = 3, **more: Any
    ) -> str:
        """Add a convolution with a bias."""
        pad = size // 2
        group = more.get("group", 1)
        w = self.weight(f"{name}.w", outputs, inputs // group, size, size, scale=0.4)
        b = self.weight(f"{name}.b", outputs)
        return self.add("Conv", x, w, b, out=name, pads=[pad] * 4, **more)

    def norm(self, x: str, name: str, count: int) -> str:
        """Add a batch normalisation."""
        parts = [self.weight(f"{name}.{part}", count) for part in ("scale", "shift", "mean")]
        self.tensors.append(constant(f"{name}.var", [1.0 + 0.1 * at for at in range(count)]))
        return self.add("BatchNormalization", x, *parts, f"{name}.var", out=name)

    def block(self, x: str, name: str, inputs: int, outputs: int, act: str = "Relu") -> str:
        """Add convolution, normalisation and activation."""
        made = self.norm(self.conv(x, f"{name}c", inputs, outputs), f"{name}n", outputs)
        return self.add(act, made, out=name)

    def dense(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """Add a Gemm as torch exports it."""
        w, b = (
            self.weight(f"{name}.w", outputs, inputs, scale=0.3),
            self.weight(f"{name}.b", outputs),
        )
        return self.add("Gemm", x, w, b, out=name, transB=1)

    def linear(self, x: str, name: str, inputs: int, outputs: int) -> str:
        """Add MatMul and Add as torch exports them for more than two axes."""
        w = self.weight(f"{name}.w", inputs, outputs, scale=0.3)
        made = self.add("MatMul", x, w, out=f"{name}m")
        return self.add("Add", made, self.weight(f"{name}.b", outputs), out=name)

    def pooled(self, x: str, count: int, classes: int = 5) -> str:
        """End in global pooling and a classifier."""
        made = self.add("GlobalAveragePool", x, out="gap")
        flat = self.add("Flatten", made, out="flat")
        return self.dense(flat, "y", count, classes)

    def build(self, outputs: str = "y") -> onnx.ModelProto:
        """Return the model; the checker wants to know the shapes of its outputs."""
        made = model(self.nodes, self.inputs, outputs, self.tensors)
        inferred = onnx.shape_inference.infer_shapes(made, data_prop=True)
        for port, known in zip(made.graph.output, inferred.graph.output, strict=True):
            port.CopyFrom(known)
        return made


def plain() -> onnx.ModelProto:
    """Convolutions with normalisation and without, flattened into a Gemm."""
    net = Net()
    x = net.block("x", "a", 3, 16)
    x = net.add("MaxPool", x, out="p", kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("LeakyRelu", net.conv(x, "b", 16, 20), out="br")
    x = net.add("Flatten", x, out="flat")
    x = net.add("Relu", net.dense(x, "h", 20 * 16, 24), out="hr")
    net.dense(x, "y", 24, 5)
    return net.build()


def residual() -> onnx.ModelProto:
    """Two residual blocks, one with a projection."""
    net = Net()
    x = net.block("x", "stem", 3, 12)
    inner = net.norm(net.conv(net.block(x, "r1", 12, 10), "r1b", 10, 12), "r1m", 12)
    x = net.add("Relu", net.add("Add", inner, x, out="s1"), out="s1r")
    inner = net.norm(net.conv(net.block(x, "r2", 12, 14), "r2b", 14, 18), "r2m", 18)
    side = net.conv(x, "proj", 12, 18, size=1)
    x = net.add("Relu", net.add("Add", inner, side, out="s2"), out="s2r")
    net.pooled(x, 18)
    return net.build()


def mobile() -> onnx.ModelProto:
    """Expansion, depthwise convolution, squeeze and excitation, projection with a sum."""
    net = Net()
    x = net.block("x", "stem", 3, 8)
    e = net.block(x, "e", 8, 24, "HardSwish")
    d = net.norm(net.conv(e, "d", 24, 24, group=24), "dn", 24)
    d = net.add("Relu", d, out="dr")
    s = net.add("GlobalAveragePool", d, out="sq")
    s = net.add("Relu", net.conv(s, "s1", 24, 6, size=1), out="s1r")
    s = net.add("HardSigmoid", net.conv(s, "s2", 6, 24, size=1), out="gate")
    x2 = net.norm(net.conv(net.add("Mul", d, s, out="se"), "p", 24, 8, size=1), "pn", 8)
    x = net.add("Add", x, x2, out="sum")
    net.pooled(x, 8)
    return net.build()


def unet() -> onnx.ModelProto:
    """A contraction, an expansion by ConvTranspose and Resize, and Concat between them."""
    net = Net()
    a = net.block("x", "a", 3, 8)
    b = net.block(
        net.add("MaxPool", a, out="p1", kernel_shape=[2, 2], strides=[2, 2]), "b", 8, 12
    )
    c = net.block(
        net.add("MaxPool", b, out="p2", kernel_shape=[2, 2], strides=[2, 2]), "c", 12, 16
    )
    w, bias = net.weight("up.w", 16, 10, 2, 2), net.weight("up.b", 10)
    u = net.add("ConvTranspose", c, w, bias, out="up", strides=[2, 2])
    u = net.block(net.add("Concat", u, b, out="cat1", axis=1), "d", 22, 14)
    scales = net.numbers("scales", [1, 1, 2, 2], "float32")
    u = net.add("Resize", u, "_", scales, out="re", mode="linear")
    u = net.block(net.add("Concat", u, a, out="cat2", axis=1), "e", 22, 9)
    net.conv(u, "y", 9, 2, size=1)
    return net.build()


def grouped() -> onnx.ModelProto:
    """A convolution of four groups between others."""
    net = Net()
    x = net.add("Relu", net.conv("x", "a", 3, 16), out="ar")
    x = net.add("Relu", net.conv(x, "g", 16, 24, group=4), out="gr")
    net.pooled(net.add("Relu", net.conv(x, "b", 24, 10), out="b_r"), 10)
    return net.build()


def shuffled() -> onnx.ModelProto:
    """Split, a branch on one half, Concat, and a shuffle by Reshape and Transpose."""
    net = Net()
    x = net.add("Relu", net.conv("x", "a", 3, 16), out="ar")
    net.nodes.append(node("Split ar halves -> left right", "split", axis=1))
    net.numbers("halves", [8, 8])
    right = net.add("Relu", net.conv("right", "b", 8, 8), out="br")
    x = net.add("Concat", "left", right, out="cat", axis=1)
    x = net.add("Reshape", x, net.numbers("apart", [0, 2, 8, 8, 8]), out="five")
    x = net.add("Transpose", x, out="turned", perm=[0, 2, 1, 3, 4])
    x = net.add("Reshape", x, net.numbers("together", [0, 16, 8, 8]), out="four")
    net.pooled(net.add("Relu", net.conv(x, "c", 16, 10), out="cr"), 10)
    return net.build()


def transformer(heads: int = 4, width: int = 16, fused: bool = False) -> onnx.ModelProto:
    """One block as exporters write it: attention of several heads, and an MLP with Gelu.

    Args:
        heads: of the attention.
        width: of the values between blocks.
        fused: whether queries, keys and values are one product.
    """
    net = Net()
    net.inputs = {"x": ["N", 6, width]}
    size = width // heads
    ln = net.add("LayerNormalization", "x", *_affine(net, "ln1", width), out="ln1", axis=-1)
    query, key, value = _projected(net, ln, width, heads, fused)
    key = net.add("Transpose", key, out="k_turned", perm=[0, 1, 3, 2])
    scores = net.add("MatMul", query, key, out="qk")
    scores = net.add("Div", scores, net.numbers("root", size**0.5, "float32"), out="scaled")
    scores = net.add("Softmax", scores, out="soft", axis=-1)
    mixed = net.add("MatMul", scores, value, out="mixed")
    mixed = net.add("Transpose", mixed, out="back", perm=[0, 2, 1, 3])
    mixed = net.add("Reshape", mixed, net.numbers("merge", [0, 6, width]), out="merged")
    x = net.add("Add", "x", net.linear(mixed, "o", width, width), out="x1")
    ln = net.add("LayerNormalization", x, *_affine(net, "ln2", width), out="ln2", axis=-1)
    hidden = gelu(net, net.linear(ln, "up", width, 32), "act")
    net.add("Add", x, net.linear(hidden, "down", 32, width), out="y")
    return net.build()


def _affine(net: Net, name: str, width: int) -> tuple[str, str]:
    return net.weight(f"{name}.w", width), net.weight(f"{name}.b", width)


def _projected(net: Net, x: str, width: int, heads: int, fused: bool) -> list[str]:
    size = width // heads
    if not fused:
        made = []
        for name in "qkv":
            split = net.numbers(f"{name}.heads", [0, 6, heads, size])
            part = net.add("Reshape", net.linear(x, name, width, width), split, out=f"{name}4")
            made.append(net.add("Transpose", part, out=f"{name}t", perm=[0, 2, 1, 3]))
        return made
    split = net.numbers("qkv.heads", [0, 6, 3, heads, size])
    five = net.add("Reshape", net.linear(x, "qkv", width, 3 * width), split, out="five")
    five = net.add("Transpose", five, out="turned", perm=[2, 0, 3, 1, 4])
    return [
        net.add("Gather", five, net.numbers(f"at{at}", at), out=name, axis=0)
        for at, name in enumerate("qkv")
    ]


def folded_heads(heads: int = 4, width: int = 16) -> onnx.ModelProto:
    """Attention that counts samples and heads by one axis, as MultiheadAttention exports it."""
    net = Net()
    net.inputs = {"x": [2, 6, width]}
    size, batch = width // heads, 2
    x = net.add("Transpose", "x", out="steps", perm=[1, 0, 2])
    x = net.linear(x, "qkv", width, 3 * width)
    x = net.add("Reshape", x, net.numbers("three", [6, batch, 3, width]), out="four")
    x = net.add("Unsqueeze", x, net.numbers("first", [0]), out="five")
    x = net.add("Transpose", x, out="turned", perm=[3, 1, 2, 0, 4])
    x = net.add("Squeeze", x, net.numbers("third", [-2]), out="four_again")
    folded = net.numbers("folded", [6, batch * heads, size])
    parts = []
    for at, name in enumerate("qkv"):
        part = net.add("Gather", x, net.numbers(f"at{at}", at), out=name, axis=0)
        part = net.add("Reshape", part, folded, out=f"{name}3")
        part = net.add("Transpose", part, out=f"{name}t", perm=[1, 0, 2])
        parts.append(part)
    apart = net.numbers("apart", [batch, heads, 6, size])
    query, key, value = (net.add("Reshape", part, apart, out=f"{part}4") for part in parts)
    key = net.add("Transpose", key, out="k_turned", perm=[0, 1, 3, 2])
    scores = net.add("Softmax", net.add("MatMul", query, key, out="qk"), out="soft")
    mixed = net.add("MatMul", scores, value, out="mixed")
    mixed = net.add("Transpose", mixed, out="back", perm=[2, 0, 1, 3])
    mixed = net.add("Reshape", mixed, net.numbers("rows", [6 * batch, width]), out="merged")
    net.dense(mixed, "y", width, 5)
    return net.build()


def counted_heads(heads: int = 4, width: int = 16) -> onnx.ModelProto:
    """Attention whose shapes are put together at run time, as TorchScript exports it."""
    net = Net()
    net.inputs = {"x": ["N", "S", width]}
    x = net.add("Relu", net.linear("x", "a", width, width), out="ar")
    net.add("Shape", "x", out="shape")
    sizes = []
    for at, name in enumerate(("samples", "steps", "wide")):
        one = net.add("Gather", "shape", net.numbers(f"{name}.at", at), out=f"{name}.one")
        sizes.append(net.add("Unsqueeze", one, net.numbers(f"{name}.ax", [0]), out=name))
    split = [net.numbers("heads", [heads]), net.numbers("rest", [-1])]
    apart = net.add("Concat", *sizes[:2], *split, out="apart", axis=0)
    parts = []
    for name in "qkv":
        part = net.add("Reshape", net.linear(x, name, width, width), apart, out=f"{name}4")
        parts.append(net.add("Transpose", part, out=f"{name}t", perm=[0, 2, 1, 3]))
    query, key, value = parts
    key = net.add("Transpose", key, out="k_turned", perm=[0, 1, 3, 2])
    length = net.add("Slice", net.add("Shape", query, out="of_q"), *_last(net), out="length")
    root = net.add("Sqrt", net.add("Cast", length, out="real", to=1), out="root")
    scores = net.add("Div", net.add("MatMul", query, key, out="qk"), root, out="scaled")
    mixed = net.add("MatMul", net.add("Softmax", scores, out="soft"), value, out="mixed")
    mixed = net.add("Transpose", mixed, out="back", perm=[0, 2, 1, 3])
    together = net.add("Concat", *sizes, out="together", axis=0)
    mixed = net.add("Reshape", mixed, together, out="merged")
    net.linear(mixed, "y", width, 5)
    return net.build()


def _last(net: Net) -> tuple[str, str]:
    return net.numbers("minus", [-1]), net.numbers("end", [2**63 - 1])


def gelu(net: Net, x: str, name: str) -> str:
    """Write Gelu as exporters did before it was an operator."""
    root, one, half = (
        net.numbers(f"{name}.{part}", number, "float32")
        for part, number in (("root", 2**0.5), ("one", 1.0), ("half", 0.5))
    )
    erf = net.add("Erf", net.add("Div", x, root, out=f"{name}.d"), out=f"{name}.e")
    more = net.add("Mul", x, net.add("Add", erf, one, out=f"{name}.p"), out=f"{name}.m")
    return net.add("Mul", more, half, out=name)


def recurrent() -> onnx.ModelProto:
    """An LSTM between products: it is not followed."""
    net = Net()
    net.inputs = {"x": [5, 2, 6]}
    x = net.add("Relu", net.linear("x", "a", 6, 8), out="ar")
    w, r = net.weight("lstm.W", 1, 28, 8), net.weight("lstm.R", 1, 28, 7)
    net.nodes.append(node(f"LSTM {x} {w} {r} -> out", "lstm", hidden_size=7))
    x = net.add("Squeeze", "out", net.numbers("one", [1]), out="flat")
    x = net.add("Relu", net.linear(x, "b", 7, 12), out="b_r")
    net.linear(x, "y", 12, 3)
    return net.build()
