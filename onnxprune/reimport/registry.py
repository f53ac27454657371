"""Registers the functions that compute operators; a function's signature is its contract.

Positional parameters are the node's inputs, None where an optional one is missing; keyword-only
parameters are its attributes under their ONNX names. An attribute that no parameter names is
refused, never passed over. Two names are no attributes: `opset` gets the version of the
operator's domain, `outputs` the number of outputs that the node has.
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

Result = Tensor | tuple[Any, ...] | list[Any]
Function = Callable[..., Any]
RESERVED = ("opset", "outputs")


@dataclass(frozen=True, slots=True)
class Operator:
    """A registered function.

    Args:
        name: the operator.
        domain: "" for ai.onnx.
        function: computes it.
        attributes: the names it takes, with their defaults.
        reserved: which of `opset` and `outputs` it asks for.
    """

    name: str
    domain: str
    function: Function
    attributes: frozenset[str]
    reserved: tuple[str, ...]


_operators: dict[tuple[str, str], Operator] = {}


def operator(*names: str, domain: str = "") -> Callable[[Function], Function]:
    """Register the function that computes operators of one behaviour."""

    def register(function: Function) -> Function:
        parameters = inspect.signature(function).parameters.values()
        own = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
        attributes = frozenset(name for name in own if name not in RESERVED)
        reserved = tuple(name for name in RESERVED if name in own)
        for name in names:
            key = (_plain(domain), name)
            if key in _operators:
                raise TypeError(f"operator {name} of '{domain}' is registered twice")
            _operators[key] = Operator(name, key[0], function, attributes, reserved)
        return function

    return register


def find_operator(domain: str, name: str) -> Operator | None:
    """Return the function for an operator, if there is one."""
    _load()
    return _operators.get((_plain(domain), name))


def all_operators() -> list[Operator]:
    """List what is registered."""
    _load()
    return list(_operators.values())


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


@cache
def _load() -> None:
    from onnxprune.reimport import operators

    for module in pkgutil.iter_modules(operators.__path__):
        importlib.import_module(f"{operators.__name__}.{module.name}")
