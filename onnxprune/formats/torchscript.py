"""All that is done with torch.jit, which is deprecated: loading, graphs, tensors in their places.

To load a script runs what it says. This is for processes of their own, and for those that a user
told to trust the file. No other module of the package touches torch.jit or torch._C.
"""

import copy
import importlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onnxprune.formats.script_walk import Walker
from onnxprune.formats.torch_uses import Uses


@contextmanager
def quiet() -> Iterator[None]:
    """Let no warning of deprecation through: that it will go is known here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load_script(path: Path) -> Any:
    """Load a script, to be run as it is used."""
    with quiet():
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        return module if is_frozen(module) else module.eval()


def is_frozen(module: Any) -> bool:
    """Whether parameters have become constants: then nothing tells training from use."""
    return not hasattr(module, "training")


@contextmanager
def plainly() -> Iterator[None]:
    """Let scripts be run as they are: what is optimised may lose gradients of constants."""
    optimized = torch.jit.optimized_execution  # type: ignore[attr-defined]
    with optimized(False):
        yield


@dataclass(slots=True, eq=False)
class Script:
    """A loaded script and its tensors by path.

    Args:
        module: the script.
        parameters: those that are trained; `tensors`: all.
        constants: those of its graphs, in the order of their first use.
    """

    module: Any
    parameters: dict[str, Tensor]
    tensors: dict[str, Tensor]
    constants: list[Tensor]

    @property
    def methods(self) -> list[str]:
        """The names of its methods, those first that are used first."""
        names = sorted(self.module._c._method_names())
        return sorted(names, key=lambda name: name != "forward")


def open_script(path: Path) -> Script:
    """Load a script and list its tensors."""
    module = load_script(path)
    with quiet():
        parameters = dict(module.named_parameters(remove_duplicate=False))
        tensors = {**parameters, **dict(module.named_buffers(remove_duplicate=False))}
    script = Script(module, parameters, tensors, [])
    for name in script.methods:
        for node in nodes_of(graph_of(script, name)):
            tensor = _tensor_of(node)
            if tensor is not None:
                script.constants.append(tensor)
    return script


def graph_of(script: Script, method: str) -> Any:
    """Return the graph of a method with all that it calls in place of the calls."""
    with quiet():
        graph = script.module._c._get_method(method).graph.copy()
        torch._C._jit_pass_inline(graph)
    return graph


def nodes_of(block: Any) -> Iterator[Any]:
    """Go through the nodes of a graph and of all blocks in it."""
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from nodes_of(inner)


def mutates(script: Script) -> bool:
    """Whether forward writes into tensors, which may be those that its gradient needs."""
    kinds = (node.kind() for node in nodes_of(graph_of(script, "forward")))
    return any(kind.endswith("_") and not kind.endswith("__") for kind in kinds)


def keeps_state(script: Script) -> bool:
    """Whether forward leaves something behind that its next run finds."""
    kinds = [node.kind() for node in nodes_of(graph_of(script, "forward"))]
    return mutates(script) or "prim::SetAttr" in kinds


def survey_script(script: Script, constants: Mapping[str, Tensor]) -> Uses:
    """Find out what is done with the tensors of a script.

    Args:
        script: the script.
        constants: the tensors of its graphs by the names that the file has for them.
    """
    uses = Uses({**script.tensors, **constants})
    # The same constant is another tensor each time that a graph is asked for it.
    known = {bits_of(tensor): tensor for tensor in constants.values()}

    def constant(node: Any) -> Any:
        tensor = _tensor_of(node)
        if tensor is not None:
            return known.get(bits_of(tensor))
        return next(iter(node.outputs())).toIValue()

    for name in script.methods:
        graph = graph_of(script, name)
        walker = Walker(uses, _names, constant, _member)
        values = list(graph.inputs())
        if values:
            walker.values[values[0].debugName()] = script.module
        walker.walk(graph)
    return uses


def arguments_of(module: Any) -> list[tuple[str, str]]:
    """Return what forward takes: names and kinds of types."""
    with quiet():
        schema = module._c._get_method("forward").schema
    return [(each.name, each.type.kind()) for each in schema.arguments[1:]]


def program_of(module: Any, values: tuple[Any, ...], sizes: tuple[Any, ...]) -> Any:
    """Turn a script into an exported program.

    Args:
        module: the script.
        values: an example of what it takes.
        sizes: for each of them, which dimensions may change.
    """
    converter: Any = importlib.import_module("torch._export.converter")
    mapped = converter._tree_map_with_path
    # Left alone, it lets all dimensions change, which is more than its solver can do.
    converter._tree_map_with_path = lambda *_: sizes
    try:
        return converter.TS2EPConverter(module, values).convert()
    finally:
        converter._tree_map_with_path = mapped


def bits_of(tensor: Tensor) -> tuple[Any, ...]:
    """Return what tells the values of a tensor from those of another one."""
    if not tensor.numel():
        return str(tensor.dtype), tuple(tensor.shape), b""
    plain = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return str(tensor.dtype), tuple(tensor.shape), plain.numpy().tobytes()


def place(script: Script, path: str, value: Any) -> None:
    """Put a value where a path leads to: a tensor, whatever gradient it has, or a number."""
    *modules, last = path.split(".")
    holder = script.module
    for number, each in enumerate(modules):
        inner = getattr(holder, each)
        if isinstance(inner, list):
            _place_in_list(holder, each, [*modules[number + 1 :], last], value)
            return
        holder = inner
    holder._c.setattr(last, value)


def read_attribute(script: Script, path: str) -> Any:
    """Return what a path of attributes leads to."""
    value = script.module
    for each in path.split("."):
        value = value[int(each)] if isinstance(value, list | tuple) else getattr(value, each)
    return value


def with_constants(script: Script, names: Mapping[str, Tensor]) -> Callable[..., Any]:
    """Return forward as a function of its arguments, and of its graph's constants behind them.

    Args:
        script: the script.
        names: the constants in the order in which the function takes them.
    """
    graph = graph_of(script, "forward")
    waiting = {bits_of(tensor): path for path, tensor in names.items()}
    inputs = {path: graph.addInput() for path in names}
    for node in list(nodes_of(graph)):
        tensor = _tensor_of(node)
        path = None if tensor is None else waiting.get(bits_of(tensor))
        if path is not None:
            next(iter(node.outputs())).replaceAllUsesWith(inputs[path])
    function = torch._C._create_function_from_graph("forward", graph)
    return lambda *given: function(script.module._c, *given)


def twin_of(script: Script) -> Any:
    """Return a copy of the module, with a state of its own."""
    with quiet():
        return copy.deepcopy(script.module)


def _place_in_list(holder: Any, name: str, rest: list[str], tensor: Tensor) -> None:
    values = list(getattr(holder, name))
    values[int(rest[0])] = tensor
    holder._c.setattr(name, values)


def _member(holder: Any, name: str) -> Any:
    with quiet():
        return getattr(holder, name, None)


def _names(node: Any) -> list[str]:
    """Return what an operator calls its arguments."""
    schema = node.schema()
    if schema in (None, "(no schema)"):
        return [f"input {number}" for number, _ in enumerate(node.inputs())]
    return [argument.name for argument in torch._C.parse_schema(schema).arguments]


def _tensor_of(node: Any) -> Tensor | None:
    """Return the tensor that a constant is, if it is one."""
    if node.kind() != "prim::Constant" or not node.hasAttribute("value"):
        return None
    if node.kindOf("value") != "t":
        return None
    tensor: Tensor = node.t("value")
    return tensor
