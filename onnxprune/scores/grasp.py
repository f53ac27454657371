"""GraSP (Wang et al. 2020, arXiv:2002.07376)."""

from onnxprune.registry import method
from onnxprune.types import Array


@method("grasp", samples=256)
def grasp(weight: Array, *, hessian_gradient: Array) -> Array:
    """Keep what the flow of gradients after pruning rests on."""
    change: Array = weight * hessian_gradient
    return change
