"""Turns a TorchScript file or an exported program into an ONNX file that computes the same.

Runs in a child process: torch executes what such a file says, and its exporters print, warn and
crash. Nothing else in the package imports this module when it is imported.
"""

import contextlib
import ctypes
import io
import itertools
import logging
import os
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import torch
from torch.export import Dim
from torch.export.graph_signature import InputKind, TensorArgument
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from onnxprune.errors import InputError, LimitError, UnsupportedError, UsageError
from onnxprune.formats import torch_matching as matching
from onnxprune.formats.torchscript import arguments_of, load_script, plainly, program_of
from onnxprune.formats.verify import first_words
from onnxprune.types import Array

SCRIPT_ROUTES = ("tracing", "torch.export", "make_fx")
PROGRAM_FILES = ("/archive_format", "serialized_exported_program.json")
NUMBERS = {"IntType", "FloatType", "BoolType", "NumberType"}
TOLERANCE = 1e-5
Values = tuple[Any, ...]
LIMIT = int(1.9 * 2**30)


@dataclass(frozen=True, slots=True)
class Exported:
    """How a module was exported.

    Args:
        route: which way worked: tracing, torch.export, make_fx or exported program.
        names: for each given tensor path, the initializer's name in the ONNX file.
        missing: given tensor paths whose values are in no initializer of the ONNX file.
        error: the largest difference of an output over the largest value of that output.
    """

    route: str
    names: dict[str, str]
    missing: tuple[str, ...]
    error: float


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """A file, whether it is TorchScript, and what its forward is called with."""

    source: Path
    script: bool
    arguments: Sequence[Array]
    names: Sequence[str]
    numbers: Sequence[bool]
    opset: int

    def values(self, arrays: Sequence[Array]) -> Values:
        """Turn arrays into what forward takes."""
        pairs = zip(arrays, self.numbers, strict=True)
        return tuple(each.item() if number else torch.tensor(each) for each, number in pairs)


def export_onnx(  # noqa: PLR0913 - what a module does not say of itself
    source: Path,
    arguments: Sequence[Array],
    output: Path,
    tensors: Mapping[str, Array],
    input_names: Sequence[str] = (),
    opset: int = 18,
) -> Exported:
    """Export a module to ONNX by the first way that keeps its outputs and most of its tensors.

    Args:
        source: TorchScript or an exported program.
        arguments: examples of what forward takes, in order.
        output: the ONNX file.
        tensors: values of the weights by path, in the shape in which the module has them.
        input_names: the inputs' names, if not those of forward's arguments.
        opset: the version of ONNX operators.
    """
    with _silence():
        job = _open(source, arguments, input_names, opset)
        model, exported = _climb(job, tensors)
        _check_size(model.ByteSize())
    onnx.save(model, output)
    return exported


def _open(source: Path, arguments: Sequence[Array], names: Sequence[str], opset: int) -> _Job:
    """Find out what a file is and what its forward takes."""
    try:
        with zipfile.ZipFile(source) as archive:
            script = not any(name.endswith(PROGRAM_FILES) for name in archive.namelist())
        module = _load(source, script)
        takes = _script_arguments(module) if script else _program_arguments(module)
    except Exception as error:
        raise InputError(f"torch cannot read the model: {_reason(error)}") from error
    given, taken = len(arguments), len(takes)
    if given > taken or len(names or arguments) != given:
        raise UsageError(f"{given} arguments, {len(names)} names, but forward takes {taken}")
    state = module.state_dict() if script else module.state_dict  # empty if it is frozen
    _check_size(sum(each.nbytes for each in state.values()) or source.stat().st_size)
    numbers = [takes[n][1] and not each.ndim for n, each in enumerate(arguments)]
    names = names or [name for name, _ in takes[:given]]
    return _Job(source, script, arguments, names, numbers, opset)


def _check_size(size: int) -> None:
    if size > LIMIT:
        raise LimitError("the model is too large for one ONNX file: it is over 1.9 GiB")


def _climb(job: _Job, tensors: Mapping[str, Array]) -> tuple[onnx.ModelProto, Exported]:
    """Try one way after the other until no tensor is missing."""
    try:
        expected = _outputs(job, job.arguments)
    except Exception as error:
        reason = f"the model does not run on the example arguments: {_reason(error)}"
        raise UnsupportedError(reason) from error
    found: dict[str, tuple[onnx.ModelProto, Exported]] = {}
    failure: BaseException = UnsupportedError("no way to do it")
    routes = SCRIPT_ROUTES if job.script else ("exported program",)
    sizes = (True, False) if job.script and matching.batch_of(job.arguments) else (False,)
    for route, dynamic in itertools.product(routes, sizes):
        if route in found or any(not each.missing for _, each in found.values()):
            continue
        try:
            found[route] = _export(job, route, dynamic, tensors, expected)
        except Exception as error:  # noqa: BLE001 - exporters raise anything
            failure = error
    if not found:
        reason = f"the model does not convert to ONNX: {_reason(failure)}"
        raise UnsupportedError(reason) from failure
    return min(found.values(), key=lambda each: len(each[1].missing))


def _export(
    job: _Job, route: str, dynamic: bool, tensors: Mapping[str, Array], expected: list[Array]
) -> tuple[onnx.ModelProto, Exported]:
    """Export by one way, and look at what came of it."""
    arrays, batch = job.arguments, matching.batch_of(job.arguments)
    if dynamic and batch == 1:  # which torch.export takes for a size that is always 1
        arrays = matching.repeat_first(arrays, 2)
    model = _convert(job, route, job.values(arrays), dynamic)
    batched = matching.name_ports(model, job.names, job.numbers)
    names = matching.find_tensors(model, tensors)
    error = matching.compare(model, job.names, job.arguments, expected)
    if batched and batch:
        others = matching.repeat_first(job.arguments, batch + 2)
        try:
            expected = _outputs(job, others)
        except Exception:
            if job.script:  # while an exported program says itself which sizes it takes
                raise
        else:
            error = max(error, matching.compare(model, job.names, others, expected))
    if error > TOLERANCE:
        raise UnsupportedError(f"ONNX Runtime computes something else (off by {error:.1e})")
    return model, Exported(route, names, tuple(t for t in tensors if t not in names), error)


def _convert(job: _Job, route: str, values: Values, dynamic: bool) -> Any:
    if route == "tracing":
        return _convert_script(job, values, dynamic)
    tensors = tuple(each for each in values if isinstance(each, torch.Tensor))
    sizes = {id(each): {0: Dim.AUTO} if dynamic and each.ndim else None for each in tensors}
    if route == "torch.export":
        program = _program_of(job, values, tuple(sizes.get(id(each)) for each in values))
    elif route == "make_fx":
        graph = _record(job, values, tensors)
        program = torch.export.export(graph, tensors, dynamic_shapes=tuple(sizes.values()))
    else:
        program = _load(job.source, False)
    made: Any = torch.onnx.export(
        program, opset_version=job.opset, optimize=False, external_data=False, verbose=False
    )
    return made.model_proto


def _outputs(job: _Job, arrays: Sequence[Array]) -> list[Array]:
    """Run the module as it is in the file: forward may change what it holds."""
    module, values = _load(job.source, job.script), job.values(arrays)
    with torch.no_grad():
        if job.script:
            result = module(*values)
        else:
            ordered, named = pytree.tree_unflatten(values, module.call_spec.in_spec)
            result = module.module()(*ordered, **named)
    leaves = pytree.tree_leaves(result)
    return [torch.as_tensor(leaf).numpy() for leaf in leaves if leaf is not None]


def _load(source: Path, script: bool) -> Any:
    return load_script(source) if script else torch.export.load(source)


def _program_arguments(program: Any) -> list[tuple[str, bool]]:
    specs = program.graph_signature.input_specs
    taken = [each.arg for each in specs if each.kind is InputKind.USER_INPUT]
    return [(each.name, not isinstance(each, TensorArgument)) for each in taken]


def _reason(error: BaseException) -> str:
    """Cut what a library says to one line: that of the error at the bottom of it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return first_words(lines[-1 if "in the TorchScript interpreter" in lines[0] else 0])


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Let nothing that a library prints, warns or logs reach anybody."""
    flush = ctypes.CDLL(None).fflush
    with open(os.devnull, "w") as nowhere, contextlib.ExitStack() as stack:
        flush(None)
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable()
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        for stream in (1, 2):
            kept = os.dup(stream)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, stream)
            os.dup2(nowhere.fileno(), stream)
        stack.callback(flush, None)
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            yield


def _script_arguments(module: Any) -> list[tuple[str, bool]]:
    return [(name, kind in NUMBERS) for name, kind in arguments_of(module)]


def _convert_script(job: _Job, values: Values, dynamic: bool) -> onnx.ModelProto:
    exported: Any = io.BytesIO()
    pairs = zip(job.names, job.arguments, strict=True)
    axes = {name: {0: "batch"} for name, each in pairs if each.ndim}
    torch.onnx.export(
        load_script(job.source),
        values,
        exported,
        dynamo=False,
        input_names=list(job.names),
        opset_version=min(job.opset, 20),  # the highest that it knows
        dynamic_axes=axes if dynamic else None,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    model = onnx.load_model_from_string(exported.getvalue())
    # The exporter runs the module first, which may change what it holds.
    state = load_script(job.source).named_buffers()
    matching.put_values(model, {name: each.numpy() for name, each in state})
    return model


def _program_of(job: _Job, values: Values, sizes: Values) -> Any:
    return program_of(load_script(job.source), values, sizes)


def _record(job: _Job, values: Values, tensors: Values) -> torch.fx.GraphModule:
    """Record the operators that a module calls; Python numbers stay what they are."""
    module = load_script(job.source)
    for parameter in module.parameters():
        parameter.requires_grad_(True)  # without it, fused kernels run that ONNX lacks

    def forward(*given: torch.Tensor) -> Any:
        rest = iter(given)
        return module(*(next(rest) if isinstance(v, torch.Tensor) else v for v in values))

    aten = torch.ops.aten
    table = {aten._convolution.default: lambda *given: aten.convolution.default(*given[:9])}
    recorder = make_fx(forward, table, "symbolic", _allow_non_fake_inputs=True)
    # The optimiser of TorchScript compares constants, which cannot be recorded.
    with plainly(), torch.enable_grad(), torch.backends.mkldnn.flags(enabled=False):
        return recorder(*tensors)
