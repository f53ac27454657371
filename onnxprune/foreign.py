"""Functions of the user's own, named by module or file: finding them, and naming their errors."""

import importlib
import importlib.util
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

from onnxprune.errors import OnnxpruneError, UsageError

USER = "onnxprune_user_"
MOST_NAMES = 8


def load_function(spec: str, what: str, option: str) -> tuple[Callable[..., Any], str]:
    """Find the function that `module:function` or `file.py:function` names, and its short name.

    Args:
        spec: what the user wrote.
        what: what the function is for, as errors say it.
        option: the option that took it.
    """
    place, colon, name = spec.rpartition(":")
    how = f"{option} takes FILE.py:FUNCTION or MODULE:FUNCTION"
    if not (colon and place and name):
        raise UsageError(f"{what} '{spec}' names no function of a file or module", how)
    if place.endswith(".py"):
        module, shown = _module_of_file(Path(place), what), Path(place).name
    else:
        module, shown = _module_of_name(place, what, how), place
    function = getattr(module, name, None)
    if function is None:
        values = vars(module).items()
        names = sorted(key for key, value in values if callable(value) and key[0] != "_")
        more = ", …" if len(names) > MOST_NAMES else ""
        found = f"it has {', '.join(names[:MOST_NAMES])}{more}" if names else "it has none"
        message = f"{what} {shown} has no function '{name}'; {found}"
        raise UsageError(message, nearest(name, names))
    if not callable(function):
        kind = type(function).__name__
        raise UsageError(f"{what} {shown}:{name} is no function but of type {kind}", how)
    return function, f"{shown}:{name}"


def said(error: BaseException) -> str:
    """Return what an error of foreign code says, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def nearest(name: str, names: list[str]) -> str | None:
    """Suggest the name that was meant, if one is near."""
    near = get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else None


def _module_of_file(path: Path, what: str) -> ModuleType:
    if not path.is_file():
        folder = path.parent
        names = [each.name for each in folder.glob("*.py")] if folder.is_dir() else []
        raise UsageError(f"{what} file {path} does not exist", nearest(path.name, names))
    # The path tells it from another file of the same name.
    name = f"{USER}{path.stem}_{zlib.crc32(os.fsencode(path.resolve())):08x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{what} file {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses, among others, look for the module they are defined in.
    sys.modules[name] = module
    with _importing(path.parent, f"{what} file {path}"):
        spec.loader.exec_module(module)
    return module


def _module_of_name(name: str, what: str, how: str) -> ModuleType:
    folder = Path.cwd()
    try:
        with _importing(folder, f"{what} module {name}"):
            importlib.invalidate_caches()
            return importlib.import_module(name)
    except UsageError as error:
        cause = error.__cause__
        missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise
        names = [each.stem for each in folder.glob("*.py")]
        raise UsageError(
            f"{what} module {name} is neither installed nor in the current folder",
            nearest(name, names) or how,
        ) from cause


@contextmanager
def _importing(folder: Path, what: str) -> Iterator[None]:
    """Let a module import its neighbours, and say what keeps it from being imported."""
    path = str(folder.resolve())
    sys.path.insert(0, path)
    try:
        yield
    except (OnnxpruneError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{what} does not load: {said(error)}") from error
    finally:
        if path in sys.path:
            sys.path.remove(path)
