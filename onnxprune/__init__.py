"""Prune trained models from the command line and from Python."""

from typing import TYPE_CHECKING, Any

from onnxprune.version import __version__

if TYPE_CHECKING:
    from onnxprune import masks
    from onnxprune.api import inspect, prune
    from onnxprune.bounds import limiting
    from onnxprune.densifying import densify
    from onnxprune.errors import GateFailed, OnnxpruneError
    from onnxprune.formats.trust import trusting
    from onnxprune.listing import methods
    from onnxprune.outcomes import CheckReport
    from onnxprune.points import Study
    from onnxprune.registry import allocation, method
    from onnxprune.removals import Removal
    from onnxprune.studying import check, search, sensitivity, shrink, sweep, trial
    from onnxprune.types import Report

__all__ = [
    "CheckReport",
    "GateFailed",
    "OnnxpruneError",
    "Removal",
    "Report",
    "Study",
    "__version__",
    "allocation",
    "check",
    "densify",
    "inspect",
    "limiting",
    "masks",
    "method",
    "methods",
    "prune",
    "search",
    "sensitivity",
    "shrink",
    "sweep",
    "trial",
    "trusting",
]
_HOMES = {
    "CheckReport": "outcomes",
    "GateFailed": "errors",
    "OnnxpruneError": "errors",
    "Removal": "removals",
    "Report": "types",
    "Study": "points",
    "allocation": "registry",
    "check": "studying",
    "densify": "densifying",
    "inspect": "api",
    "limiting": "bounds",
    "masks": "masks",
    "method": "registry",
    "methods": "listing",
    "prune": "api",
    "search": "studying",
    "sensitivity": "studying",
    "shrink": "studying",
    "sweep": "studying",
    "trial": "studying",
    "trusting": "formats.trust",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that importing the package stays light."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module 'onnxprune' has no attribute '{name}'")
    module = importlib.import_module(f"onnxprune.{_HOMES[name]}")
    return module if name == "masks" else getattr(module, name)
