"""What weights are multiplied with: by a law of gradients, and by loops over numbers."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

from onnxprune.errors import UnsupportedError
from onnxprune.formats.onnx_file import load_onnx
from onnxprune.reimport.module import Reimported, reimport
from onnxprune.statistics.inputs import Enough, Use, watch
from onnxprune.types import Layout
from tests import models
from tests.models import constant, function, model, node, weight
from tests.statistics.nets import Array, Net, drawn

Layouts = dict[str, Layout]


def opened(
    proto: onnx.ModelProto, precision: torch.dtype = torch.float64
) -> tuple[Reimported, Layouts]:
    with tempfile.TemporaryDirectory() as folder:
        path = models.save(Path(folder, "m.onnx"), proto)
        with load_onnx(path) as found:
            module = reimport(found, precision=precision)
            return module, {each.path: each.layout for each in found.weights}


def fed(proto: onnx.ModelProto) -> dict[str, Array]:
    """Draw values for the inputs of a model."""
    return {
        each.name: drawn(place, *[dim.dim_value for dim in each.type.tensor_type.shape.dim])
        for place, each in enumerate(proto.graph.input)
    }


def opened_and_fed(proto: onnx.ModelProto) -> tuple[Reimported, dict[str, Array], Layouts]:
    module, layouts = opened(proto)
    return module, fed(proto), layouts


def uses_of(module: Any, feeds: Any, layouts: Layouts, **choices: Any) -> list[Use]:
    uses: list[Use] = []
    outputs = watch(module, feeds, {}, layouts, uses.append, **choices)
    assert not any(each.requires_grad for each in outputs.values())
    return uses


def columns_of(use: Use, **limit: int) -> Array:
    pieces = list(use.chunks(**limit))
    assert not any(piece.requires_grad for piece in pieces)
    x = torch.cat(pieces, 1).numpy()
    assert x.shape == (len(use.columns), use.positions)
    return x


def in_order(use: Use) -> Array:
    """Return X in the order of the matrix's columns, all of which are in it."""
    found = columns_of(use)
    return found[np.argsort(use.columns)]


def hessians(uses: list[Use], layouts: Layouts, **limit: int) -> dict[str, Array]:
    """Add up X · Xᵀ for each row of each weight."""
    found: dict[str, Array] = {}
    for use in uses:
        layout, x = layouts[use.path], columns_of(use, **limit)
        rows, width = layout.output_count, int(np.prod(layout.shape)) // layout.output_count
        total = found.setdefault(use.path, np.zeros((rows, width, width)))
        assert len(set(use.rows)) == len(use.rows)
        assert len(set(use.columns)) == len(use.columns)
        total[np.ix_(use.rows, use.columns, use.columns)] += x @ x.T
    return found


def gradients(module: Any, feeds: Any, layouts: Layouts) -> dict[str, Array]:
    """Return the gradient of half of the squares of all outputs, as matrices."""
    squares = [each.square().sum() for each in module.compute(feeds).values()]
    tensors = [module.tensors[path] for path in layouts]
    found = torch.autograd.grad(sum(squares) / 2, tensors)
    return {
        path: layout.matrix(each.numpy().reshape(-1))
        for (path, layout), each in zip(layouts.items(), found, strict=True)
    }


def check_law(module: Any, feeds: Any, layouts: Layouts) -> list[Use]:
    """See that W · H is the gradient, which holds where outputs are products."""
    uses = uses_of(module, feeds, layouts)
    found = hessians(uses, layouts)
    assert found.keys() == layouts.keys()
    for path, gradient in gradients(module, feeds, layouts).items():
        matrix = layouts[path].matrix(module.tensors[path].detach().numpy().reshape(-1))
        assert np.allclose(np.einsum("rc,rcd->rd", matrix, found[path]), gradient), path
    return uses


def ints(name: str, *values: int) -> TensorProto:
    return constant(name, values, np.int64)


CONVOLUTIONS: dict[str, tuple[str, list[int], list[int], dict[str, Any]]] = {
    "conv 1d": ("Conv", [2, 3, 7], [4, 3, 3], {}),
    "conv 1d, all settings": (
        *("Conv", [2, 4, 9], [6, 2, 3]),
        {"group": 2, "strides": [2], "dilations": [2], "pads": [3, 1]},
    ),
    "conv 2d": ("Conv", [2, 3, 5, 6], [4, 3, 3, 2], {"pads": [1, 0, 1, 0]}),
    "conv 2d of points": ("Conv", [2, 3, 5, 5], [4, 3, 1, 1], {"strides": [2, 2]}),
    "conv 2d by channel": ("Conv", [2, 3, 5, 5], [3, 1, 3, 3], {"group": 3}),
    "conv 2d, all settings": (
        *("Conv", [2, 4, 7, 6], [4, 2, 2, 3]),
        {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [0, 1, 2, 3]},
    ),
    "conv 2d, same": ("Conv", [1, 2, 5, 6], [3, 2, 2, 2], {"auto_pad": "SAME_UPPER"}),
    "conv 3d, all settings": (
        *("Conv", [2, 4, 4, 5, 3], [2, 2, 2, 3, 1]),
        {"group": 2, "strides": [1, 2, 1], "dilations": [2, 1, 1], "pads": [1, 1, 0] * 2},
    ),
    "transposed 1d": ("ConvTranspose", [2, 3, 5], [3, 4, 3], {}),
    "transposed 1d, all settings": (
        *("ConvTranspose", [2, 4, 5], [4, 3, 3]),
        {
            "group": 2,
            "strides": [3],
            "dilations": [2],
            "pads": [1, 1],
            "output_padding": [2],
        },
    ),
    "transposed 1d, cut far": ("ConvTranspose", [2, 3, 6], [3, 2, 2], {"pads": [2, 2]}),
    "transposed 2d, all settings": (
        *("ConvTranspose", [2, 4, 3, 4], [4, 2, 3, 2]),
        {
            "group": 2,
            "strides": [2, 1],
            "dilations": [1, 2],
            "pads": [1, 1, 1, 1],
            "output_padding": [1, 1],
        },
    ),
    "transposed 2d, uneven": (
        *("ConvTranspose", [2, 2, 3, 4], [2, 3, 3, 3]),
        {"strides": [2, 2], "pads": [1, 2, 0, 1]},
    ),
    "transposed 3d": ("ConvTranspose", [1, 2, 2, 3, 2], [2, 3, 2, 2, 1], {"group": 2}),
}


@pytest.mark.parametrize("case", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_the_law_holds_for_convolutions(case: Any) -> None:
    op, shape, kernel, settings = case
    proto = model(
        [node(f"{op} x w -> y", **settings)], {"x": shape}, "y", [weight("w", *kernel)]
    )
    uses = check_law(*opened_and_fed(proto))
    assert len(uses) == settings.get("group", 1)


PRODUCTS: dict[str, tuple[str, dict[str, list[int]], list[int], dict[str, Any]]] = {
    "gemm": ("Gemm x w", {"x": [5, 3]}, [3, 4], {}),
    "gemm, both transposed": ("Gemm x w", {"x": [3, 5]}, [4, 3], {"transA": 1, "transB": 1}),
    "gemm, left": ("Gemm w x", {"x": [3, 5]}, [4, 3], {}),
    "gemm, left transposed": ("Gemm w x", {"x": [5, 3]}, [3, 4], {"transA": 1, "transB": 1}),
    "matmul": ("MatMul x w", {"x": [5, 3]}, [3, 4], {}),
    "matmul of a sequence": ("MatMul x w", {"x": [2, 5, 3]}, [3, 4], {}),
    "matmul of heads": ("MatMul x w", {"x": [2, 3, 5, 4]}, [4, 2], {}),
    "matmul of a vector": ("MatMul x w", {"x": [3]}, [3, 4], {}),
    "matmul with a vector": ("MatMul x w", {"x": [2, 5, 3]}, [3], {}),
    "matmul of vectors": ("MatMul x w", {"x": [3]}, [3], {}),
    "matmul, left": ("MatMul w x", {"x": [3, 5]}, [4, 3], {}),
    "matmul, left of a batch": ("MatMul w x", {"x": [2, 3, 3, 5]}, [4, 3], {}),
    "matmul, left of a vector": ("MatMul w x", {"x": [3]}, [4, 3], {}),
    "matmul, vector on the left": ("MatMul w x", {"x": [2, 3, 4]}, [3], {}),
    "matmul by batch": ("MatMul x w", {"x": [2, 5, 3]}, [2, 3, 4], {}),
    "matmul by batch, one input": ("MatMul x w", {"x": [5, 3]}, [2, 3, 4], {}),
    "matmul by batch, one vector": ("MatMul x w", {"x": [3]}, [2, 3, 4], {}),
    "matmul by heads": ("MatMul x w", {"x": [2, 3, 5, 3]}, [3, 3, 4], {}),
    "matmul by batch, spread": ("MatMul x w", {"x": [2, 1, 5, 3]}, [1, 4, 3, 2], {}),
    "matmul by batch, left": ("MatMul w x", {"x": [2, 1, 3, 5]}, [2, 4, 3], {}),
    "deformable": (
        *("DeformConv x w offset", {"x": [2, 4, 5, 5], "offset": [2, 8, 4, 4]}),
        *([6, 2, 2, 2], {"group": 2}),
    ),
    "einsum": ("Einsum x w", {"x": [2, 5, 3]}, [3, 4], {"equation": "btk,kn->btn"}),
    "einsum, implicit": ("Einsum x w", {"x": [5, 3]}, [3, 4], {"equation": "ak, kb"}),
    "einsum, left": ("Einsum w x", {"x": [5, 3]}, [4, 3], {"equation": "nk,tk->nt"}),
    "einsum, dots": ("Einsum x w", {"x": [2, 2, 3]}, [3, 4], {"equation": "...k,kn->n..."}),
    "einsum, two inputs": (
        "Einsum x w",
        {"x": [2, 3, 4]},
        [4, 5, 3],
        {"equation": "bhd,dnh->bn"},
    ),
    "einsum by head": (
        "Einsum x w",
        {"x": [5, 2, 3]},
        [2, 4, 3],
        {"equation": "thk,hnk->htn"},
    ),
    "einsum, summed": ("Einsum x w", {"x": [2, 5, 3]}, [3, 4], {"equation": "btk,kn->bn"}),
    "einsum of three": (
        *("Einsum a w b", {"a": [5, 3], "b": [4, 2]}, [3, 4]),
        {"equation": "ij,jk,kl->il"},
    ),
}


@pytest.mark.parametrize("case", PRODUCTS.values(), ids=PRODUCTS)
def test_the_law_holds_for_products(case: Any) -> None:
    text, inputs, shape, settings = case
    proto = model([node(f"{text} -> y", **settings)], inputs, "y", [weight("w", *shape)])
    check_law(*opened_and_fed(proto))


WAYS: dict[str, tuple[list[onnx.NodeProto], list[TensorProto]]] = {
    "transpose": (
        [node("Transpose w -> t", perm=[1, 0]), node("MatMul x t -> y")],
        [weight("w", 4, 3)],
    ),
    "reshape": (
        [node("Reshape w shape -> f"), node("MatMul x f -> y")],
        [weight("w", 3, 2, 2), ints("shape", 3, 4)],
    ),
    "unsqueeze": (
        [node("Unsqueeze w axes -> f"), node("MatMul x f -> y")],
        [weight("w", 3, 4), ints("axes", 0)],
    ),
    "slice": (
        [node("Slice w a b c d -> f"), node("MatMul x f -> y")],
        [
            weight("w", 6, 5),
            ints("a", 1, -1),
            ints("b", 6, -6),
            ints("c", 0, 1),
            ints("d", 2, -2),
        ],
    ),
    "split": (
        [
            node("Split w -> p q", axis=1, num_outputs=2),
            node("MatMul x p -> y"),
            node("MatMul x q -> z"),
        ],
        [weight("w", 3, 8)],
    ),
    "concat of outputs": (
        [node("Concat w v w -> f", axis=1), node("MatMul x f -> y")],
        [weight("w", 3, 4), weight("v", 3, 2)],
    ),
    "concat of inputs": (
        [
            node("Slice w a b c -> p"),
            node("Concat p zeros -> f", axis=0),
            node("MatMul x f -> y"),
        ],
        [
            weight("w", 4, 4),
            constant("zeros", [[0] * 4]),
            ints("a", 2),
            ints("b", 4),
            ints("c", 0),
        ],
    ),
    "the same inputs twice": (
        [node("Concat w w -> f", axis=1), node("Transpose f -> t"), node("MatMul six t -> y")],
        [weight("w", 4, 3), constant("six", drawn(9, 2, 6))],
    ),
    "twice": (
        [node("MatMul x w -> y"), node("Tanh x -> t"), node("MatMul t w -> z")],
        [weight("w", 3, 4)],
    ),
    "there and back": (
        [
            node("Gemm x w -> y"),
            node("Identity w -> v"),
            node("Transpose v -> t"),
            node("Gemm t x -> z", transB=1),
        ],
        [weight("w", 3, 4)],
    ),
    "a bias and factors": (
        [
            node("Gemm x w b -> f", alpha=0.5, beta=2.0),
            node("Mul b two -> c"),
            node("Sub f c -> y"),
        ],
        [weight("w", 3, 4), weight("b", 4), constant("two", 2.0)],
    ),
}


@pytest.mark.parametrize("case", WAYS.values(), ids=WAYS)
def test_the_law_holds_for_weights_that_are_moved(case: Any) -> None:
    nodes, tensors = case
    outputs = "y z" if any("z" in each.output for each in nodes) else "y"
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": [5, 3]}, outputs, tensors))
    layouts = {path: each for path, each in layouts.items() if path in ("w", "v")}
    check_law(module, feeds, layouts)


def test_weights_side_by_side_meet_the_inputs_that_are_theirs() -> None:
    nodes = [node("Concat w v -> f", axis=0), node("MatMul x f -> y")]
    tensors = [weight("w", 2, 4), weight("v", 3, 4)]
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": [6, 5]}, "y", tensors))
    first, second = uses_of(module, feeds, layouts)
    assert (first.path, second.path) == ("w", "v")
    assert np.array_equal(in_order(first), feeds["x"].T[:2])
    assert np.array_equal(in_order(second), feeds["x"].T[2:])


def test_inputs_are_those_of_the_whole_product_where_its_result_is_cut() -> None:
    # torch cuts both sides alike; what the node cuts off besides was computed before.
    nodes = [node("ConvTranspose x w -> y", strides=[2], pads=[0, 1])]
    module, feeds, layouts = opened_and_fed(
        model(nodes, {"x": [2, 3, 4]}, "y", [weight("w", 3, 2, 3)])
    )
    (use,) = uses_of(module, feeds, layouts)
    assert (module.compute(feeds)["y"].shape, use.positions) == ((2, 2, 8), 2 * 9)


def loop_body() -> onnx.GraphProto:
    """A turn multiplies with a weight of its own and with one from around it."""
    flags = [models.port(name, [], TensorProto.BOOL) for name in ("going", "on")]
    return helper.make_graph(
        [
            *[node("MatMul h own -> row"), node("MatMul h w -> m"), node("Tanh m -> next")],
            node("Identity going -> on"),
        ],
        "turn",
        [models.port("i", [], TensorProto.INT64), flags[0], models.port("h", [5, 3])],
        [flags[1], models.port("next", [5, 3]), models.port("row", [5, 4])],
        [weight("own", 3, 4)],
    )


def test_weights_in_loops_are_used_at_every_turn() -> None:
    nodes = [node("Loop n _ x -> last y", "turning", body=loop_body())]
    tensors = [weight("w", 3, 3), ints("n", 3)]
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": [5, 3]}, "y", tensors))
    uses = check_law(module, feeds, {"turning.body/own": layouts["turning.body/own"]})
    assert len(uses) == 3
    uses = uses_of(module, feeds, layouts)
    assert [use.path for use in uses] == ["turning.body/own", "w"] * 3
    states = [columns_of(use).T for use in uses[::2]]
    assert np.array_equal(states[0], feeds["x"])
    w = module.tensors["w"].detach().numpy()
    assert np.allclose(states[1], np.tanh(states[0] @ w))
    assert np.allclose(states[2], np.tanh(states[1] @ w))


@pytest.mark.parametrize("taken", [True, False])
def test_weights_in_branches_are_used_where_the_branch_is_taken(taken: bool) -> None:
    branches = {
        f"{name}_branch": models.graph(
            [node("MatMul x own -> y")], {}, "y", [weight("own", 3, 4)]
        )
        for name in ("then", "else")
    }
    nodes = [
        *[node("ReduceMax x -> m", keepdims=0), node("Less m limit -> c")],
        node("If c -> y", "choice", **branches),
    ]
    limit = constant("limit", 100 if taken else -100)
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": [5, 3]}, "y", [limit]))
    path = f"choice.{'then' if taken else 'else'}_branch/own"
    assert len(layouts) == 2
    check_law(module, feeds, {path: layouts[path]})
    assert {use.path for use in uses_of(module, feeds, layouts)} == {path}


def test_weights_are_followed_into_functions() -> None:
    linear = function(
        "Linear", "a b -> c", [node("Transpose b -> t"), node("MatMul a t -> c")]
    )
    nodes = [node("Linear x w -> y", domain="local"), node("Linear x v -> z", domain="local")]
    tensors = [weight("w", 4, 3), weight("v", 2, 3)]
    check_law(*opened_and_fed(model(nodes, {"x": [5, 3]}, "y z", tensors, [linear])))


def test_a_dequantised_weight_is_its_real_values() -> None:
    nodes = [node("DequantizeLinear w s z -> f", axis=0), node("Conv x f -> y")]
    tensors = [
        *[weight("w", 4, 3, 2, dtype=np.int8), constant("s", [0.1, 0.2, 0.05, 0.3])],
        constant("z", [0, 3, -5, 1], np.int8),
    ]
    assert len(check_law(*opened_and_fed(model(nodes, {"x": [2, 3, 7]}, "y", tensors)))) == 1


@pytest.mark.parametrize("scale", [0.05, 0.01], ids=["wide", "clipping"])
def test_a_weight_that_is_rounded_on_the_way_is_still_found(scale: float) -> None:
    nodes = [
        *[node("QuantizeLinear w s z -> q"), node("DequantizeLinear q s z -> f")],
        node("MatMul x f -> y"),
    ]
    tensors = [weight("w", 3, 4), constant("s", scale), constant("z", 0, np.int8)]
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": [5, 3]}, "y", tensors))
    (use,) = uses_of(module, feeds, layouts)
    assert np.array_equal(columns_of(use), feeds["x"].T)


QUANTISED: dict[str, tuple[str, list[int], list[int]]] = {
    "QLinearConv": ("QLinearConv n xs xz w ws wz ys yz -> y", [2, 3, 7], [4, 3, 2]),
    "ConvInteger": ("ConvInteger n w xz one -> y", [2, 3, 7], [4, 3, 2]),
    "QLinearMatMul": ("QLinearMatMul n xs xz w ws wz ys yz -> y", [5, 3], [3, 4]),
    "MatMulInteger": ("MatMulInteger n w xz wz -> y", [5, 3], [3, 4]),
}


@pytest.mark.parametrize("case", QUANTISED.values(), ids=QUANTISED)
def test_quantised_weights_meet_numbers_without_their_zero_point(case: Any) -> None:
    text, shape, kernel = case
    tensors = [
        *[weight("w", *kernel, dtype=np.int8), constant("xs", 0.05), constant("ys", 0.7)],
        *[constant("xz", 100, np.uint8), constant("yz", 3, np.uint8)],
        *[constant("ws", [0.1, 0.2, 0.05, 0.3]), constant("wz", [0, 3, -5, 1], np.int8)],
        constant("one", 1, np.int8),
    ]
    nodes = [node("QuantizeLinear x xs xz -> n"), node(text)]
    module, feeds, layouts = opened_and_fed(model(nodes, {"x": shape}, "y", tensors))
    wanted = np.clip(np.round(feeds["x"] / np.float32(0.05)), -100, 155).T
    if len(kernel) > 2:
        taps = [wanted[tap : tap + 6] for tap in range(2)]
        wanted = np.stack(taps).transpose(0, 2, 3, 1).reshape(6, -1)
    (use,) = uses_of(module, feeds, layouts)
    assert use.rows.tolist() == [0, 1, 2, 3]
    assert np.array_equal(in_order(use), wanted)


def test_a_convolution_multiplies_what_a_loop_says() -> None:
    settings = {"group": 2, "strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 2]}
    proto = model(
        [node("Conv x w -> y", **settings)],
        {"x": [2, 4, 5, 4]},
        "y",
        [weight("w", 6, 2, 2, 2)],
    )
    module, feeds, layouts = opened_and_fed(proto)
    padded = np.pad(feeds["x"], [(0, 0), (0, 0), (1, 0), (0, 2)])
    uses = uses_of(module, feeds, layouts)
    assert [use.rows.tolist() for use in uses] == [[0, 1, 2], [3, 4, 5]]
    for group, use in enumerate(uses):
        wanted = np.zeros((8, 2, 3, 4))
        for n, i, j in np.ndindex(2, 3, 4):
            for a, b, c in np.ndindex(2, 2, 2):
                # Inputs come last in the matrix.
                value = padded[n, 2 * group + c, 2 * i + a, j + 2 * b]
                wanted[4 * a + 2 * b + c, n, i, j] = value
        assert np.array_equal(in_order(use), wanted.reshape(8, -1))


def test_a_transposed_convolution_multiplies_what_a_loop_says() -> None:
    settings = {
        "group": 2,
        "strides": [3],
        "dilations": [2],
        "pads": [1, 0],
        "output_padding": [0],
    }
    proto = model(
        [node("ConvTranspose x w -> y", **settings)],
        {"x": [2, 4, 3]},
        "y",
        [weight("w", 4, 3, 2)],
    )
    module, feeds, layouts = opened_and_fed(proto)
    uses = uses_of(module, feeds, layouts)
    assert [use.rows.tolist() for use in uses] == [[0, 1, 2], [3, 4, 5]]
    for group, use in enumerate(uses):
        wanted = np.zeros((4, 2, 8))
        for n, c, i, a in np.ndindex(2, 2, 3, 2):
            place = 3 * i + 2 * a - 1
            if 0 <= place < 8:
                wanted[2 * a + c, n, place] = feeds["x"][n, 2 * group + c, i]
        assert np.array_equal(in_order(use), wanted.reshape(4, -1))


GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS, BATCH, INPUTS, HIDDEN = 4, 2, 3, 5


def recurrent(kind: str, direction: str, **settings: Any) -> onnx.ModelProto:
    sets, rows = 1 + (direction == "bidirectional"), GATES[kind] * HIDDEN
    tensors = [
        *[weight("w", sets, rows, INPUTS), weight("r", sets, rows, HIDDEN)],
        *[weight("b", sets, 2 * rows), weight("h", sets, BATCH, HIDDEN)],
    ]
    # One of them does without biases.
    text = f"{kind} x w r {'_' if kind == 'RNN' else 'b'} _ h -> y"
    nodes = [node(text, direction=direction, hidden_size=HIDDEN, **settings)]
    return model(nodes, {"x": [STEPS, BATCH, INPUTS]}, "y", tensors)


def states_of(proto: onnx.ModelProto, feeds: dict[str, Array], place: int) -> Array:
    """Return the states before each step, by ONNX Runtime: [steps, batch, hidden]."""
    (y,) = models.run(proto, x=feeds["x"].astype(np.float32))
    first = numpy_helper.to_array(proto.graph.initializer[3])[place : place + 1]
    backwards = place or proto.graph.node[0].attribute[0].s == b"reverse"
    own = y[:, place]
    return np.concatenate([own[1:], first] if backwards else [first, own[:-1]])


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_weights_meet_inputs_and_the_states_before(
    kind: str, direction: str
) -> None:
    settings = {"linear_before_reset": 1} if kind == "GRU" else {}
    proto = recurrent(kind, direction, **settings)
    module, feeds, layouts = opened_and_fed(proto)
    uses = uses_of(module, feeds, layouts)
    rows = GATES[kind] * HIDDEN
    assert [use.path for use in uses] == ["w", "r"] * (1 + (direction == "bidirectional"))
    for number, use in enumerate(uses):
        place = number // 2
        assert sorted(use.rows) == list(range(place * rows, (place + 1) * rows))
        x = feeds["x"] if use.path == "w" else states_of(proto, feeds, place)
        found = columns_of(use).T.reshape(x.shape)
        assert np.allclose(found[::-1] if direction == "reverse" else found, x, atol=1e-5)


def test_recurrent_weights_are_used_at_every_step_where_torch_has_no_such_layer() -> None:
    proto = recurrent("GRU", "forward")
    module, feeds, layouts = opened_and_fed(proto)
    first, *uses = uses_of(module, feeds, layouts)
    assert first.path == "w"
    assert np.array_equal(columns_of(first).T.reshape(STEPS, BATCH, -1), feeds["x"])
    assert len(uses) == 2 * STEPS
    states = states_of(proto, feeds, 0)
    for state, gates, candidate in zip(states, uses[::2], uses[1::2], strict=True):
        assert (gates.rows.tolist(), candidate.rows.tolist()) == (
            list(range(10)),
            list(range(10, 15)),
        )
        assert np.allclose(columns_of(gates), state.T, atol=1e-5)
        # The state that was reset: the same signs, and smaller.
        ratio = columns_of(candidate) / columns_of(gates)
        assert 0 < ratio.min() <= ratio.max() < 1


def flat(
    *shape: int, outputs: tuple[int, ...] = (0,), inputs: tuple[int, ...] = (1,)
) -> Layout:
    rest = [dim for dim in range(len(shape)) if dim not in outputs + inputs]
    return Layout(shape, outputs, tuple(rest), inputs)


Forward = Callable[[Tensor, Tensor], Any]
NATIVE: dict[str, tuple[Forward, list[int], Layout]] = {
    "mm": (lambda x, w: torch.mm(x, w.T), [5, 3], flat(4, 3)),
    "bmm": (torch.bmm, [2, 5, 3], flat(2, 3, 4, outputs=(0, 2))),
    "baddbmm": (
        lambda x, w: torch.baddbmm(torch.zeros(1).double(), x, w, alpha=3),
        *([2, 5, 3], flat(2, 3, 4, outputs=(0, 2))),
    ),
    "linear": (lambda x, w: functional.linear(x, weight=w), [2, 5, 3], flat(4, 3)),
    "linear of a vector": (functional.linear, [5, 3], flat(3, outputs=(), inputs=(0,))),
    "linear as input": (lambda x, w: functional.linear(w, x), [5, 3], flat(4, 3)),
    "conv by keywords": (
        lambda x, w: functional.conv2d(x, weight=w, stride=2, padding=(1,), groups=1),
        *([2, 3, 5, 5], flat(4, 3, 2, 2)),
    ),
    "moved": (
        lambda x, w: (
            x @ w.reshape(2, 2, 3).flatten(0, 1).t().contiguous().clone().movedim(0, 0)
        ),
        *([5, 3], flat(4, 3)),
    ),
    "in another type": (
        lambda x, w: (x.float() @ w.float().to(torch.float32).t()).double(),
        *([5, 3], flat(4, 3)),
    ),
    "flipped": (lambda x, w: x @ w.flip(0).unbind(0)[1][:, None], [5, 3], flat(4, 3)),
}


@pytest.mark.parametrize("case", NATIVE.values(), ids=NATIVE)
def test_the_law_holds_for_functions_of_torch(case: Any) -> None:
    forward, shape, layout = case
    net = Net(
        lambda feeds, w: {"y": forward(feeds["x"], w["w"])}, {"w": drawn(1, *layout.shape)}
    )
    check_law(net, {"x": torch.from_numpy(drawn(2, *shape))}, {"w": layout})


def test_two_weights_are_each_multiplied_with_the_other() -> None:
    tensors = {"a": drawn(1, 2, 3), "b": drawn(2, 3, 4)}
    net = Net(lambda feeds, w: {"y": w["a"] @ w["b"]}, tensors)
    layouts = {"a": flat(2, 3), "b": flat(3, 4, outputs=(1,), inputs=(0,))}
    assert [use.path for use in check_law(net, {}, layouts)] == ["a", "b"]


LAYER = (3, 4)
X = torch.from_numpy(drawn(3, 5, 3))
NO_PRODUCTS: dict[str, Callable[[Tensor], Any]] = {
    "looked up": lambda w: (
        functional.embedding(torch.tensor([2, 0]), w) @ torch.ones(4).double()
    ),
    "picked": lambda w: w[torch.tensor([2, 0])] @ torch.ones(4).double(),
    "scaled": lambda w: X[:, :, None] * w,
    "added": lambda w: w + 1,
    "scaled by input": lambda w: X @ (w * X[0, :, None]),
    "shifted": lambda w: X @ (w + 1),
    "of two sums": lambda w: X @ (w + w.flip(0)),
    "read as bits": lambda w: X @ w.view(torch.int64).double(),
    "whole": lambda w: X @ w.to(torch.int64).double(),
    "bent": lambda w: X @ w.tanh(),
    "transposed": lambda w: torch.ones(5, 4).double() @ w.T,
    "rows side by side": lambda w: (
        torch.ones(5, 6).double() @ torch.cat([w, w.flip(1)])[:, :2]
    ),
    "a diagonal": lambda w: torch.einsum("ii,ai->a", w[:, :3], X),
    "a sum of its own": lambda w: torch.einsum("ij,ai->a", w, X),
    "spread by einsum": lambda w: torch.einsum("ij,ai->aj", w, X[:, :1]),
    "an outer product": lambda w: torch.einsum("ij,ai->aij", w, X),
    "alone in einsum": lambda w: torch.einsum("ij->j", w),
    "dots in einsum": lambda w: torch.einsum("i...,ai->a...", w, X),
    "padded by name": lambda w: functional.conv1d(X[None].mT, w[None, :, :3], padding="same"),
    "a layer of layers": lambda w: torch.rnn_tanh(
        X[None],
        torch.zeros(2, 5, 3).double(),
        [w[:, :3]] * 4,
        *(False, 2, 0.0, True, False, False),
    ),
}


@pytest.mark.parametrize("forward", NO_PRODUCTS.values(), ids=NO_PRODUCTS)
def test_what_is_no_product_of_a_row_is_not_told(forward: Callable[[Tensor], Any]) -> None:
    net = Net(lambda feeds, w: {"y": forward(w["w"])}, {"w": drawn(1, *LAYER)})
    layouts = {"w": flat(*LAYER, outputs=(1,), inputs=(0,))}
    found: list[Use] = []
    assert list(watch(net, {}, {}, layouts, found.append)) == ["y"]
    assert found == []


def test_a_weight_that_is_scaled_by_row_is_told() -> None:
    net = Net(lambda feeds, w: {"y": X @ (w["w"] * torch.arange(4))}, {"w": drawn(1, *LAYER)})
    (use,) = uses_of(net, {}, {"w": flat(*LAYER, outputs=(1,), inputs=(0,))})
    assert np.array_equal(columns_of(use), X.T.numpy())


@pytest.mark.parametrize("limit", [1, 7, 40, 1000])
@pytest.mark.parametrize(
    ("text", "shape", "kernel", "settings"),
    [
        ("Conv x w", [3, 4, 5, 4], [2, 2, 2, 3], {"group": 2, "pads": [1, 0, 1, 0]}),
        ("ConvTranspose x w", [3, 2, 4], [2, 3, 3], {"strides": [2]}),
        ("MatMul x w", [3, 4, 5], [5, 2], {}),
        ("MatMul w x", [3, 4, 5], [2, 4], {}),
    ],
    ids=["conv", "transposed", "matmul", "matmul, left"],
)
def test_pieces_are_small_and_add_up_to_the_same(
    text: str, shape: list[int], kernel: list[int], settings: dict[str, Any], limit: int
) -> None:
    nodes = [node(f"{text} -> y", **settings)]
    module, feeds, layouts = opened_and_fed(
        model(nodes, {"x": shape}, "y", [weight("w", *kernel)])
    )
    uses = uses_of(module, feeds, layouts)
    for use in uses:
        assert np.array_equal(columns_of(use, limit=limit), columns_of(use))
        for piece in use.chunks(limit):
            assert piece.numel() <= max(limit, len(use.columns))
    assert np.allclose(hessians(uses, layouts, limit=limit)["w"], hessians(uses, layouts)["w"])


@pytest.mark.parametrize("shape", [[0, 3, 4], [2, 3, 0]], ids=["samples", "steps"])
def test_no_samples_are_no_columns(shape: list[int]) -> None:
    proto = model([node("MatMul w x -> y")], {"x": shape}, "y", [weight("w", 2, 3)])
    (use,) = uses_of(*opened_and_fed(proto))
    assert (use.positions, list(use.chunks())) == (0, [])


@pytest.mark.parametrize("shape", [[0, 3, 4], [3, 0]], ids=["matrices", "outputs"])
def test_an_empty_weight_is_not_told(shape: list[int]) -> None:
    net = Net(lambda feeds, w: {"y": feeds["x"] @ w["w"]}, {"w": np.zeros(shape)})
    inputs = len(shape) - 2
    layout = flat(*shape, outputs=(*range(inputs), inputs + 1), inputs=(inputs,))
    assert uses_of(net, {"x": X}, {"w": layout}) == []


def test_columns_are_in_the_type_that_the_module_computes_in() -> None:
    proto = model([node("Gemm x w -> y")], {"x": [5, 3]}, "y", [weight("w", 3, 4)])
    module, layouts = opened(proto, torch.float32)
    (use,) = uses_of(module, fed(proto), layouts)
    assert [piece.dtype for piece in use.chunks()] == [torch.float32]


def chain() -> tuple[Net, dict[str, Tensor], Layouts]:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        return {"y": functional.linear(functional.linear(feeds["x"], w["a"]), w["b"])}

    layouts = {"a": flat(4, 3), "b": flat(2, 4)}
    return Net(forward, {"a": drawn(1, 4, 3), "b": drawn(2, 2, 4)}), {"x": X}, layouts


def test_only_those_named_are_told_of() -> None:
    net, feeds, layouts = chain()
    assert [use.path for use in uses_of(net, feeds, layouts)] == ["a", "b"]
    assert [use.path for use in uses_of(net, feeds, layouts, names=["b"])] == ["b"]
    assert uses_of(net, feeds, {}) == []


def test_other_tensors_take_the_place_of_the_module_s() -> None:
    net, feeds, layouts = chain()
    found: list[Use] = []
    other = torch.ones(4, 3).double().requires_grad_()
    outputs = watch(net, feeds, {"a": other}, layouts, found.append)
    assert not outputs["y"].requires_grad
    assert np.allclose(columns_of(found[1]), (X @ other.detach().T).T)


def test_whoever_has_seen_enough_ends_the_run() -> None:
    module, feeds, layouts = opened_and_fed(
        model(
            [node("MatMul x w -> m"), node("MatMul m v -> y")],
            *({"x": [5, 3]}, "y", [weight("w", 3, 4), weight("v", 4, 2)]),
        )
    )
    found: list[str] = []

    def see(use: Use) -> None:
        found.append(use.path)
        raise Enough

    assert watch(module, feeds, {}, layouts, see) == {}
    assert found == ["w"]


def test_what_fails_in_telling_is_no_failure_of_the_node() -> None:
    nodes = [node("MatMul x w -> y")]
    module, feeds, layouts = opened_and_fed(
        model(nodes, {"x": [5, 3]}, "y", [weight("w", 3, 4)])
    )
    calls: list[Use] = []

    def see(use: Use) -> None:
        calls.append(use)
        raise UnsupportedError("not wanted")

    with pytest.raises(UnsupportedError) as caught:
        watch(module, feeds, {}, layouts, see)
    assert (caught.value.message, len(calls)) == ("not wanted", 1)
