"""Prune trained models from the command line and from Python."""

from typing import TYPE_CHECKING, Any

from onnxprune.version import __version__

if TYPE_CHECKING:
    from onnxprune import masks
    from onnxprune.api import inspect, methods, prune
    from onnxprune.errors import OnnxpruneError
    from onnxprune.registry import allocation, method
    from onnxprune.types import Report

__all__ = [
    "OnnxpruneError",
    "Report",
    "__version__",
    "allocation",
    "inspect",
    "masks",
    "method",
    "methods",
    "prune",
]
_HOMES = {
    "OnnxpruneError": "errors",
    "Report": "types",
    "allocation": "registry",
    "inspect": "api",
    "masks": "masks",
    "method": "registry",
    "methods": "api",
    "prune": "api",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package stays light."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'onnxprune' has no attribute '{name}'")
    module = importlib.import_module(f"onnxprune.{_HOMES[name]}")
    return module if name == "masks" else getattr(module, name)
