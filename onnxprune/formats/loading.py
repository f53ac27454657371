"""Opens a model file of whatever form: what it is is told by its content, and a name that says otherwise is refused."""

from pathlib import Path

from onnxprune.errors import InputError, UnsupportedError, UsageError, about
from onnxprune.formats.files import open_regular
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.torch_archive import MAGIC
from onnxprune.formats.torch_file import TorchModel, load_torch
from onnxprune.formats.wire import read_exactly

Model = OnnxModel | TorchModel
ONNX = ".onnx"
OF_TORCH = (".pt", ".pth", ".jit", ".ts", ".pt2")
PROGRAM_SUFFIX = ".pt2"


def load_model(path: Path, allow_hardlinks: bool = False) -> Model:
    """Open a model file and find its weights.

    Args:
        path: an ONNX file, TorchScript, or an exported program.
        allow_hardlinks: whether external data may have more than one name.
    """
    archive = is_archive(path)
    if not _is_utf8(path):
        raise UnsupportedError(
            "its name is not UTF-8, and no library could open it", "rename it"
        )
    if archive:
        return load_torch(path)
    model = load_onnx(path, allow_hardlinks=allow_hardlinks)
    if path.suffix.lower() in OF_TORCH:
        model.close()
        raise InputError(
            f"an ONNX model under a name with {path.suffix}", "rename it to .onnx"
        )
    return model


def is_archive(path: Path) -> bool:
    """Whether a file is a zip archive, as those of torch are."""
    source = open_regular(path)
    try:
        head = read_exactly(source.descriptor, 0, min(len(MAGIC), source.size))
    finally:
        source.close()
    return head == MAGIC


def wants_onnx(model: Path, output: Path | None) -> bool:
    """Whether a file of torch's is to be written as ONNX."""
    if output is None or output.suffix.lower() != ONNX:
        return False
    with about(model):
        return is_archive(model)


def refuse_form(model: Model, output: Path | None) -> None:
    """Refuse an output whose name says that it has another form, or that nothing could open."""
    if output is not None and not _is_utf8(output):
        raise UnsupportedError(
            f"{output}: the name is not UTF-8, and no library could open it"
        )
    suffix = "" if output is None else output.suffix.lower()
    if isinstance(model, OnnxModel):
        if suffix in OF_TORCH:
            hint = "name the output with .onnx"
            raise UsageError(f"{output}: an ONNX model is written as one", hint)
    elif (suffix == PROGRAM_SUFFIX) != model.is_program and suffix in OF_TORCH:
        hint = f"name the output with {PROGRAM_SUFFIX if model.is_program else OF_TORCH[0]}"
        raise UsageError(f"{output}: {model.kind} is written as it is", hint)


def _is_utf8(path: Path) -> bool:
    """Whether a path is text, as it is to the libraries."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
