"""What the programs of one model have in common: tensors, functions, and what was cut."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from onnxprune.formats.onnx_graph import FunctionKey, Scope
from onnxprune.reimport.bodies import Body
from onnxprune.reimport.constants import Store
from onnxprune.reimport.program import Step

Opsets = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Cut:
    """A node through which no gradient passes.

    Args:
        node: its name.
        operator: what it computes.
        reason: why it is computed outside of torch.
    """

    node: str
    operator: str
    reason: str


@dataclass(slots=True, eq=False)
class Library:
    """What all programs of one model share.

    Args:
        store: its tensors.
        opsets: the version of each domain.
        functions: its own functions, each with its place in the file.
        scopes: its subgraphs, by their order.
        prunable: the paths of tensors whose gradient must arrive.
        compile: makes the steps of a node, given a builder, names, a position and the node.
        batch_statistics: whether BatchNormalization uses those of the batch.
        cuts: filled where a node is computed outside of torch.
    """

    store: Store
    opsets: Opsets
    functions: Mapping[FunctionKey, Body]
    scopes: Mapping[tuple[int, ...], Scope]
    prunable: frozenset[str]
    compile: Callable[[Any, Any, int, Any], list[Step]]
    batch_statistics: bool = False
    cuts: dict[str, Cut] = field(default_factory=dict)
