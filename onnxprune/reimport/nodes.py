"""What one node becomes: a function call, control flow, an operator, or a way around."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import onnx

from onnxprune.errors import UnsupportedError
from onnxprune.reimport.attributes import values_of
from onnxprune.reimport.builder import Builder, Names
from onnxprune.reimport.control import CONTROL, compile_call
from onnxprune.reimport.fallback import Substitute, substitute
from onnxprune.reimport.library import Library
from onnxprune.reimport.placement import placed
from onnxprune.reimport.program import Call, Step
from onnxprune.reimport.registry import Operator, find_operator
from onnxprune.reimport.values import NARROW

SHAPES = {"Shape", "Size"}
"""Operators whose results the shapes of their inputs decide."""

RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
    "Dropout",
}
WITHOUT_GRADIENT = SHAPES | {
    "And",
    "ArgMax",
    "ArgMin",
    "Equal",
    "EyeLike",
    "Greater",
    "GreaterOrEqual",
    "IsInf",
    "IsNaN",
    "Less",
    "LessOrEqual",
    "NonMaxSuppression",
    "NonZero",
    "Not",
    "OneHot",
    "Or",
    "SequenceLength",
    "Xor",
}
"""Operators whose results no gradient of their inputs reaches, by their nature."""

TYPED = {"BitCast", "CastLike"}
"""Operators whose results depend on the element type that an input has in the file."""

LAYOUT_DOMAIN = "com.microsoft.nchwc"


def compile_node(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto
) -> list[Step]:
    """Return the steps of a node whose attributes are settled."""
    domain = "" if node.domain == "ai.onnx" else node.domain
    label = f"node '{names.body.label(node)}' ({node.op_type})"
    if domain == LAYOUT_DOMAIN:
        raise UnsupportedError(
            f"{label} has a layout that ONNX Runtime made for one processor",
            "take the model as it was before it was optimised, or optimise it less",
        )
    own = builder.library.functions.get((node.domain, node.op_type, node.overload))
    if own is not None:
        return compile_call(builder, names, node, own, label)
    if domain == "" and node.op_type in CONTROL:
        return CONTROL[node.op_type](builder, names, position, node, label)
    return _compile_operator(builder, names, position, node, label)


def _compile_operator(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> list[Step]:
    domain = "" if node.domain == "ai.onnx" else node.domain
    sources = [builder.find(names, name) for name in node.input]
    while sources and sources[-1] == 0:
        sources.pop()
    passing = next(
        (builder.live[number] for number in sources if number in builder.live), None
    )
    instead = partial(substitute, builder, node, names.body.label(node), passing)
    values = _attributes(builder, names, position, node, label)
    found = find_operator(domain, node.op_type)
    problem = _misfit(found, node, values, len(sources))
    rescue: Callable[[Sequence[Any], Exception], Call | None] | None = None
    if found is None or problem is not None:
        way = instead(problem or "no function of torch computes it")
        if way is None:
            raise UnsupportedError(f"{label}: {problem or _unknown(domain)}")
        call: Call = way
    else:
        call = partial(found.function, **_settings(builder, node, domain, found, values))
        if node.op_type == "BatchNormalization":
            call = _normalising(builder.library, call)
        if node.op_type in TYPED:
            call = partial(_with_torch_types, call)
        call = placed(call, node.op_type, builder.library.store.device)
        rescue = partial(_rescue, instead)
    targets = builder.targets(names, node)
    if passing is not None and node.op_type not in WITHOUT_GRADIENT:
        builder.live.update(dict.fromkeys(targets, passing))
    step = Step(call, tuple(sources), targets, label, rescue=rescue)
    step.fixed = domain == "" and node.op_type in SHAPES
    step.random = node.op_type in RANDOM
    return builder.finish(step)


def _attributes(
    builder: Builder, names: Names, position: int, node: onnx.NodeProto, label: str
) -> dict[str, Any]:
    def address(index: int) -> tuple[int, ...] | None:
        place = names.body.place(position, index)
        if (
            place is None
            or (*place, 22, 0, 1, 0) not in builder.library.store.model.scan.tensors
        ):
            return None
        return (*place, 22, 0)

    return values_of(node, builder.library.store, label, address)


def _settings(
    builder: Builder,
    node: onnx.NodeProto,
    domain: str,
    found: Operator,
    values: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the attributes of a node and what else its function wants to know."""
    reserved = {"opset": builder.opsets.get(domain, 1), "outputs": len(node.output)}
    return dict(values) | {name: reserved[name] for name in found.reserved}


def _normalising(library: Library, call: Call) -> Call:
    """Let the model decide for each run whose mean and variance are used."""
    by_batch = partial(call, training_mode=1)

    def normalise(*values: Any) -> Any:
        return by_batch(*values) if library.batch_statistics else call(*values)

    return normalise


def _with_torch_types(call: Call, *values: Any) -> Any:
    if any(hasattr(value, NARROW) for value in values):
        raise UnsupportedError("torch has no numbers of this type")
    return call(*values)


def _misfit(
    found: Operator | None, node: onnx.NodeProto, values: Mapping[str, Any], inputs: int
) -> str | None:
    """Say what a function does not know of a node, if there is something."""
    if found is None:
        return None
    named = {attribute.name for attribute in node.attribute}
    for name in sorted(named - found.attributes):
        return f"attribute '{name}' is not known"
    filled = dict(values) | dict.fromkeys(found.reserved)
    try:
        _signature(found.function).bind(*[None] * inputs, **filled)
    except TypeError as error:
        return f"{error}"
    return None


@cache
def _signature(function: Callable[..., Any]) -> inspect.Signature:
    return inspect.signature(function)


def _unknown(domain: str) -> str:
    return f"the operator of domain '{domain or 'ai.onnx'}' is not known"


def _rescue(
    instead: Callable[[str], Substitute | None], values: Sequence[Any], error: Exception
) -> Call | None:
    """Return another way to compute a node where torch cannot, not where it failed."""
    foreign = any(isinstance(value, np.ndarray) for value in values)
    missing = isinstance(error, (UnsupportedError, NotImplementedError))
    if foreign or missing or "not implemented" in str(error):
        return instead(str(error) or "torch does not compute it")
    return None
