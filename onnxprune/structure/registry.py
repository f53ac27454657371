"""Operators by name: how channels go through them, and what becomes of constant ones."""

from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Key = tuple[str, str]

FOLLOWING: dict[Key, Callable[..., Any]] = {}
"""(domain, operator) -> how channels of its outputs follow from those of its inputs."""

STEADY: dict[Key, Callable[..., Any]] = {}
"""(domain, operator) -> which channels of its outputs have the same value everywhere."""


def follows(*names: str, domain: str = "") -> Callable[[Function], Function]:
    """Register how channels go through some operators."""
    return _registered(FOLLOWING, names, domain)


def settles(*names: str, domain: str = "") -> Callable[[Function], Function]:
    """Register what some operators make of channels that are constant."""
    return _registered(STEADY, names, domain)


def _registered(
    table: dict[Key, Callable[..., Any]], names: tuple[str, ...], domain: str
) -> Callable[[Function], Function]:
    def register(function: Function) -> Function:
        for name in names:
            assert (domain, name) not in table, f"{name} has two rules"
            table[domain, name] = function
        return function

    return register
