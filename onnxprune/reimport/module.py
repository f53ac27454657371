"""An ONNX model as a torch module: its tensors by their paths, its outputs by their names."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from onnxprune.errors import InputError
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.reimport import dtypes
from onnxprune.reimport.bodies import Body, body_of_scope
from onnxprune.reimport.builder import Builder
from onnxprune.reimport.constants import Store
from onnxprune.reimport.library import Cut, Library
from onnxprune.reimport.nodes import compile_node
from onnxprune.reimport.program import Program
from onnxprune.reimport.specialising import signature, specialised
from onnxprune.reimport.values import NARROW, WIDE, to_value

MAIN = (7, 0)
FUNCTIONS = 25
FUNCTION_NODES = 7
PROGRAMS = 4


class Reimported(nn.Module):
    """An ONNX model that gradients pass through.

    Args:
        tensors: the parameters by path, in the layout of the file; those that are stored as
            integers as the real values they stand for.
        inputs: the names of the inputs that need a value.
        outputs: the names of the outputs, in order.
        precision: the type that single and half precision are computed in.
        device: where floats are computed.
    """

    def __init__(
        self, library: Library, program: Program, body: Body, outputs: list[str]
    ) -> None:
        super().__init__()
        self.tensors: dict[str, nn.Parameter] = dict(library.store.parameters)
        # Names of modules cannot hold dots, paths do: torch knows them by number.
        self._list = nn.ParameterList(self.tensors.values())
        self.inputs = [name for name in body.inputs if name not in body.constants]
        self.outputs = outputs
        self.precision = dtypes.float_type()
        self.device = library.store.device
        self._library = library
        self._program = program
        self._programs: dict[object, Program] = {}
        assert body.scope is not None
        self._floats = _declared(body.scope.body.input, WIDE - dtypes.PLAIN.keys())
        self._integers = _declared(body.scope.body.output, dtypes.PLAIN.keys())

    @property
    def batch_statistics(self) -> bool:
        """Whether BatchNormalization uses the mean and variance of the batch, not its own."""
        return self._library.batch_statistics

    @batch_statistics.setter
    def batch_statistics(self, wanted: bool) -> None:
        self._library.batch_statistics = wanted

    @property
    def cuts(self) -> list[Cut]:
        """The nodes that were computed without a gradient so far."""
        return list(self._library.cuts.values())

    def forward(self, /, **feeds: Any) -> dict[str, Any]:
        """Compute the outputs from arrays or tensors by the names of the inputs."""
        return self.compute(feeds)

    def compute(
        self, feeds: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """Compute the outputs.

        Args:
            feeds: arrays or tensors by the names of the inputs.
            tensors: what to take instead of the parameters, for some or all paths.
        """
        with dtypes.precision(self.precision):
            values = self._values(feeds)
            program = self._program
            if self._programs:
                program = self._programs.get(signature(values), program)
            results = program.run(values, {**self.tensors, **(tensors or {})})
            return {
                name: self._result(name, value)
                for name, value in zip(self.outputs, results, strict=True)
            }

    def specialise(self, feeds: Mapping[str, Any]) -> None:
        """Settle what follows from the inputs' shapes alone, for inputs of these shapes."""
        with dtypes.precision(self.precision), torch.no_grad():
            values = self._values(feeds)
            if len(self._programs) >= PROGRAMS:
                self._programs.clear()
            self._programs[signature(values)] = specialised(
                self._program, values, self.tensors
            )

    def unscored(self, paths: Iterable[str], feeds: Mapping[str, Any]) -> list[str]:
        """Return those of the tensors that no gradient of an output arrives at."""
        wanted = [path for path in paths if path in self.tensors]
        if not wanted:
            return []
        with torch.enable_grad():
            results = self.compute(feeds)
            sums = [
                value.sum()
                for value in results.values()
                if isinstance(value, Tensor) and value.requires_grad
            ]
            if not sums:
                return wanted
            given = torch.autograd.grad(
                sums, [self.tensors[path] for path in wanted], allow_unused=True
            )
        return [path for path, found in zip(wanted, given, strict=True) if found is None]

    def _values(self, feeds: Mapping[str, Any]) -> list[Any]:
        strange = sorted(set(feeds) - set(self.inputs))
        if strange:
            raise InputError(
                f"the model has no input '{strange[0]}'; it has {_listed(self.inputs)}"
            )
        missing = [name for name in self.inputs if name not in feeds]
        if missing:
            raise InputError(f"no array for the model's input '{missing[0]}'")
        return [self._value(name, feeds[name]) for name in self.inputs]

    def _value(self, name: str, feed: Any) -> Any:
        value = to_value(feed)
        if not isinstance(value, Tensor):
            return value
        if value.is_floating_point() and not hasattr(value, NARROW):
            value = value.to(self._floats.get(name, self.precision))
        if self.device.type != "cpu":
            value = value.to(self.device)
        return value

    def _result(self, name: str, value: Any) -> Any:
        """Give numbers that were computed as floats the type that the model says they have."""
        dtype = self._integers.get(name)
        if dtype is not None and isinstance(value, Tensor) and value.is_floating_point():
            return value.to(dtype)
        return value


def reimport(
    model: OnnxModel,
    *,
    precision: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    prunable: Iterable[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Reimported:
    """Make a module of an ONNX model.

    Args:
        model: an open file, which may be closed afterwards.
        precision: the type that single and half precision are computed in.
        device: where floats are computed.
        prunable: the paths whose gradient must arrive; all weights if not given.
        outputs: values of the main graph to return instead of its outputs.
    """
    graph = model.graph
    paths = (weight.path for weight in model.weights) if prunable is None else prunable
    with dtypes.precision(precision):
        functions = {}
        for index, (key, scope) in enumerate(graph.functions.items()):
            functions[key] = body_of_scope(scope, (FUNCTIONS, index), FUNCTION_NODES)
        library = Library(
            Store(model, torch.device(device)),
            {each.domain: each.version for each in graph.model.opset_import},
            functions,
            {scope.order: scope for scope in graph.scopes if scope.parent is not None},
            frozenset(paths),
            compile_node,
        )
        body = body_of_scope(graph.scopes[0], MAIN)
        program = Builder(library, library.opsets).build(body, outputs=outputs)
        library.store.forget()
        return Reimported(library, program, body, list(outputs or body.outputs))


def _declared(
    ports: Iterable[onnx.ValueInfoProto], kinds: Collection[int]
) -> dict[str, torch.dtype]:
    """Return the types that inputs or outputs say they have, if they are of these kinds."""
    types = {port.name: port.type.tensor_type.elem_type for port in ports}
    return {name: dtypes.torch_type(kind) for name, kind in types.items() if kind in kinds}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"
