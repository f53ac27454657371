"""Runs a file of torch's with other values in the place of its weights, as gradients want it.

It is loaded in the user's own process: a child has loaded it before, and the user trusts it.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import allow_mutation_on_saved_tensors

from onnxprune.errors import InputError
from onnxprune.formats.torch_content import CONSTANTS
from onnxprune.formats.torch_file import TorchModel
from onnxprune.formats.torch_pickle import StoredView
from onnxprune.formats.torch_tensors import Region, dense_order

BATCH = "--batch takes as many samples at once as it was exported with"
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "IntType": int,
    "FloatType": float,
    "BoolType": bool,
}


class TorchRun:
    """A loaded file: its weights by path, and what it computes with others in their place.

    Args:
        model: the open file.
        precision: the type that floats are computed in.
        device: where.
    """

    def __init__(
        self, model: TorchModel, precision: torch.dtype, device: torch.device
    ) -> None:
        self.precision = precision
        self.device = device
        self.weights = {
            weight.path: self._moved(
                torch.from_numpy(model.values(weight.path, 0, weight.size).copy())
            ).reshape(weight.shape)
            for weight in model.weights
        }
        self._regions = {path: model.regions[path] for path in self.weights}
        self._views = model.views
        made = _Program if model.is_program else _Script
        self._loaded: _Program | _Script = made(model, self._moved)

    def run(self, arguments: Sequence[Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the outputs by name.

        Args:
            arguments: what it takes, in order.
            weights: those that are not as in the file.
        """
        given = {}
        for path, tensor in {**self.weights, **weights}.items():
            region = self._regions[path]
            for alias in region.paths:
                given[alias] = _as_seen(tensor, region, self._views[alias])
        moved = [self._moved(each) if isinstance(each, Tensor) else each for each in arguments]
        return named(self._loaded.run(moved, given))

    def _moved(self, value: Tensor) -> Tensor:
        if value.is_floating_point():
            value = value.to(self.precision)
        return value.to(self.device)


def named(result: Any) -> dict[str, Any]:
    """Return what a model gives, by names."""
    if isinstance(result, Tensor):
        return {"output": result}
    if isinstance(result, Mapping):
        return {str(name): value for name, value in result.items()}
    if isinstance(result, list | tuple):
        return {f"output_{number}": value for number, value in enumerate(result)}
    return {"output": result}


def _as_seen(tensor: Tensor, region: Region, view: StoredView) -> Tensor:
    """Show values in the order of memory as one of the tensors that they are shows them."""
    if not region.permuted and tensor.shape == view.shape:
        return tensor
    order = dense_order(view.shape, view.stride)
    assert order is not None
    shown = tensor.reshape([view.shape[each] for each in order])
    back = sorted(range(len(order)), key=order.__getitem__)
    return shown.permute(back).reshape(view.shape)


class _Script:
    """A script whose tensors are put in their places for each run."""

    def __init__(self, model: TorchModel, moved: Callable[[Tensor], Tensor]) -> None:
        from onnxprune.formats import torchscript
        from onnxprune.formats.script_constants import name_constants

        self._jit = torchscript
        self._script = torchscript.open_script(model.source.path)
        constants = name_constants(model.source.path, self._script.constants)
        self._constants = {path: moved(each) for path, each in constants.items()}
        self._forward: Callable[..., Any] = self._script.module
        if constants:
            self._forward = torchscript.with_constants(self._script, constants)
        self._kinds = torchscript.arguments_of(self._script.module)
        self._mutates = torchscript.mutates(self._script)
        self._saved = contextlib.ExitStack()
        # What is not given anew is set anew: forward may change it.
        self._kept: dict[str, Tensor] = {
            path: moved(torchscript.read_attribute(self._script, path).detach().clone())
            for path in model.views
            if not path.startswith(CONSTANTS)
        }
        self._plain = {
            path: torchscript.read_attribute(self._script, path)
            for path in model.plain_attributes()
        }

    def run(self, arguments: Sequence[Any], given: Mapping[str, Tensor]) -> Any:
        """Compute forward."""
        jit, script = self._jit, self._script
        for path, value in self._plain.items():
            jit.place(script, path, value)
        for path, kept in self._kept.items():
            jit.place(script, path, given[path] if path in given else kept.clone())
        kinds = zip(self._kinds, arguments, strict=False)
        values = [
            NUMBERS[kind](each) if kind in NUMBERS else each for (_, kind), each in kinds
        ]
        constants = {**self._constants, **given}
        # What an earlier run saved for its gradient is of no use any more.
        self._saved.close()
        if self._mutates and torch.is_grad_enabled():
            self._saved.enter_context(allow_mutation_on_saved_tensors())
        with jit.quiet(), jit.plainly():
            return self._forward(*values, *(constants[path] for path in self._constants))


class _Program:
    """An exported program, called with the tensors of its state."""

    def __init__(self, model: TorchModel, moved: Callable[[Tensor], Tensor]) -> None:
        from onnxprune.formats.exported import load_program, tensors_of

        program = load_program(model.source.path)
        self._module = program.module()
        self._state = {
            path: moved(each.detach())
            for path, each in tensors_of(program).items()
            if isinstance(each, Tensor)
        }

    def run(self, arguments: Sequence[Any], given: Mapping[str, Tensor]) -> Any:
        """Compute the program."""
        state = {path: given.get(path, each) for path, each in self._state.items()}
        kept = {path: each if path in given else each.clone() for path, each in state.items()}
        try:
            return torch.func.functional_call(self._module, kept, tuple(arguments))
        except AssertionError as error:
            # It guards the sizes that it was exported for.
            said = " ".join(str(error).split())
            raise InputError(f"the program does not take this: {said}", BATCH) from error
