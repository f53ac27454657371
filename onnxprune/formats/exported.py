"""All that is done with exported programs (.pt2): loading, walking their graph, running.

To load one runs the pickles in it and what it registers, so that it is for those who trust it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from onnxprune.formats.script_walk import CASTS, VIEWS
from onnxprune.formats.torch_uses import Uses
from onnxprune.formats.torchscript import quiet


def load_program(path: Path) -> Any:
    """Load an exported program."""
    with quiet():
        return torch.export.load(str(path))


def tensors_of(program: Any) -> dict[str, Tensor]:
    """Return the tensors of a program by the names that its state has for them."""
    return {**program.state_dict, **program.constants}


def survey_program(program: Any) -> Uses:
    """Find out what is done with the tensors of a program."""
    tensors = {
        name: each for name, each in tensors_of(program).items() if isinstance(each, Tensor)
    }
    uses = Uses(tensors)
    named: dict[str, str] = {}
    signature = program.graph_signature
    for table in (
        signature.inputs_to_parameters,
        signature.inputs_to_buffers,
        signature.inputs_to_lifted_tensor_constants,
    ):
        named |= table
    known: dict[Any, Any] = {}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in named:
            known[node] = tensors.get(named[node.name])
        elif node.op == "call_function":
            _call(node, known, uses)
    return uses


def input_names(program: Any) -> list[str]:
    """Return what a program takes."""
    return list(program.graph_signature.user_inputs)


def _call(node: Any, known: dict[Any, Any], uses: Uses) -> None:
    """Follow one call: a view of what is known, or a use of it."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        if getattr(node.target, "__name__", "") == "getitem":
            whole, place = known.get(node.args[0]), node.args[1]
            known[node] = whole[place] if isinstance(whole, list | tuple) else None
        return
    op = schema.name.rpartition("::")[2]
    values = _known(node.args, known)
    others = dict(zip((each.name for each in schema.arguments), values, strict=False))
    others |= {name: _known(value, known) for name, value in node.kwargs.items()}
    first = values[0] if values else None
    if op in CASTS and isinstance(first, Tensor):
        known[node] = first
        return
    if op in VIEWS and isinstance(first, Tensor):
        try:
            known[node] = node.target(*values, **_known(node.kwargs, known))
        except (RuntimeError, TypeError, IndexError, ValueError):
            known[node] = None
        return
    for name, value in others.items():
        uses.note(op, name, value, others)


def _known(value: Any, known: Mapping[Any, Any]) -> Any:
    """Return an argument with what is known of it in the place of nodes."""
    if isinstance(value, torch.fx.Node):
        return known.get(value)
    if isinstance(value, list | tuple):
        return [_known(each, known) for each in value]
    if isinstance(value, dict):
        return {name: _known(each, known) for name, each in value.items()}
    return value
