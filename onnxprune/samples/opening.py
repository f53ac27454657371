"""Opens what a user names as samples: a file, a folder, a function, arrays, or noise."""

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from onnxprune.errors import InputError, UsageError, about
from onnxprune.foreign import load_function
from onnxprune.outcomes import Port
from onnxprune.samples.archive import Archive, is_archive, read_npy
from onnxprune.samples.batch import Samples
from onnxprune.samples.feeds import Feeds, feed_folders
from onnxprune.samples.files import files_in
from onnxprune.samples.functions import Calls
from onnxprune.samples.images import IMAGES, SUFFIXES, Images, holds_images
from onnxprune.samples.noise import COUNT, Noise
from onnxprune.samples.reading import Reading
from onnxprune.samples.table import Arrays, Chain, Table
from onnxprune.types import Array

Source = str | Path | Mapping[str, Array] | Callable[[], Iterable[Mapping[str, Any]]]
FUNCTION = re.compile(r"([\w.]+|.+\.py):([A-Za-z_]\w*)")
Opened = TypeVar("Opened")
RANDOM = re.compile(r"random(?::(.*))?")


def open_samples(source: Source, reading: Reading, ports: Sequence[Port]) -> Samples:
    """Open a set of samples for a model's inputs.

    Args:
        source: a path, `module:function`, `random[:N]`, arrays by name, or a function.
        reading: how the samples are read.
        ports: the inputs that the model needs.
    """
    if not ports:
        raise InputError("the model has no input that samples could be for")
    if isinstance(source, Mapping):
        return Samples(Arrays("arrays", source), reading, ports)
    if callable(source):
        name = getattr(source, "__qualname__", type(source).__name__)
        return Samples(Calls(name, source), reading, ports)
    if not isinstance(source, str | Path) or not str(source):
        raise UsageError(
            f"samples come from a path, a function or arrays by name, not {source!r}"
        )
    text = str(source)
    # A path that the system would refuse is none: `exists` of os.path says so.
    if not os.path.exists(text):
        if noise := RANDOM.fullmatch(text):
            count = _count(noise[1])
            return Samples(Noise(ports, count, reading.seed, reading.shapes), reading, ports)
        if FUNCTION.fullmatch(text):
            function, _ = load_function(text, "data", "--data")
            return Samples(Calls(text, function), reading, ports)
    path = Path(source)
    with about(path):
        table = _open(path, reading, ports)
        table.path = path
        return Samples(table, _implied(table, reading, ports), ports)


def _count(text: str | None) -> int:
    if text is None:
        return COUNT
    if not re.fullmatch(r"[1-9]\d{0,8}", text):
        raise UsageError(f"--data random:N takes a number of samples, not '{text}'")
    return int(text)


def _implied(table: Table, reading: Reading, ports: Sequence[Port]) -> Reading:
    """Match images to their input, which nothing names."""
    if table.images is None:
        return reading
    return replace(reading, inputs={table.images: _image_port(reading, ports).name})


def _open(path: Path, reading: Reading, ports: Sequence[Port]) -> Table:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return _folder(path, reading, ports)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError("no such file or folder") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"cannot be read: {reason}") from error
    except ValueError as error:
        raise InputError("no path that a file could have") from error
    if not stat.S_ISREG(mode):
        raise InputError("not a regular file")
    if path.suffix.lower() == ".npy":
        return _one_array(path, reading, ports)
    if is_archive(path) or path.suffix.lower() == ".npz":
        return Archive(path)
    raise InputError(
        "no set of samples", "a set is a .npz or .npy file, a folder, or a function"
    )


def _one_array(path: Path, reading: Reading, ports: Sequence[Port]) -> Table:
    """Open an array by itself: that of the only input, unless options name it by its file."""
    named = bool(reading.inputs) or len(ports) > 1
    name = path.stem if named else ports[0].name
    return Arrays(str(path), {name: read_npy(path)}, {"": path})


def _folder(folder: Path, reading: Reading, ports: Sequence[Port]) -> Table:
    """Find out what a folder holds."""
    if feeds := feed_folders(folder):
        return Feeds(folder, feeds, ports)
    shards, files = files_in(folder, {".npz"}), files_in(folder, {".npy"})
    if shards and files:
        raise InputError("the folder holds .npz and .npy files", "a set is one or the other")
    if shards:
        return Chain(str(folder), _each(shards, Archive))
    if files:
        names = [file.stem for file in files]
        arrays = dict(zip(names, _each(files, read_npy), strict=True))
        return Arrays(str(folder), arrays, dict(zip(names, files, strict=True)))
    if holds_images(folder):
        return Images(folder, reading, _image_port(reading, ports))
    kinds = ", ".join(sorted(SUFFIXES))
    raise InputError(
        "the folder holds no samples",
        f"it may hold .npz or .npy files, test_data_set_* folders, or images ({kinds})",
    )


def _each(files: Sequence[Path], opened: Callable[[Path], Opened]) -> list[Opened]:
    """Open files, naming the one that cannot be."""
    found = []
    for file in files:
        with about(Path(file.name)):
            found.append(opened(file))
    return found


def _image_port(reading: Reading, ports: Sequence[Port]) -> Port:
    """Return the input that images are for."""
    known = [port.name for port in ports]
    names = ", ".join(known)
    for array, wanted in reading.inputs.items():
        if array != IMAGES:
            raise UsageError(
                f"--input {array}={wanted}: a folder of images has no array '{array}'",
                f"--input {IMAGES}={wanted} says which input takes them",
            )
        if wanted not in known:
            raise UsageError(
                f"--input {IMAGES}={wanted}: the model has no input '{wanted}'",
                f"its inputs are {names}",
            )
    wanted = reading.inputs.get(IMAGES, IMAGES)
    for port in ports:
        if port.name == wanted or len(ports) == 1:
            return port
    raise UsageError(
        f"which input takes the images? the model has {names}",
        f"--input {IMAGES}=NAME says it",
    )
