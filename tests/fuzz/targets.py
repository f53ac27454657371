"""What is fed with changed inputs: readers of models, archives and samples, and pruning."""

import os
import warnings
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
import onnx
from onnx import numpy_helper

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.files import open_regular
from onnxprune.formats.macs import count_macs
from onnxprune.formats.onnx_file import OnnxModel, load_onnx
from onnxprune.formats.torch_archive import TorchArchive
from onnxprune.formats.torch_content import SCRIPT, kind_of, plain_paths, stored_tensors
from onnxprune.formats.torch_tensors import divide
from onnxprune.formats.wire import read_exactly
from onnxprune.outcomes import Port
from onnxprune.pruning import Settings, prune_file
from onnxprune.recipe import make_recipe
from onnxprune.samples.archive import Archive
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from tests.formats.protos import bare
from tests.fuzz import changes, corpus, values, zips
from tests.fuzz.models_made import Files
from tests.fuzz.pickles import array_changed, pickle_changed, text_changed
from tests.fuzz.trees import MODEL, TENSOR, Message, parsed


class Target(Protocol):
    """Something that reads files."""

    name: str

    def make(self, chance: Random) -> Files:
        """Change some files of the corpus."""

    def attempt(self, entry: Path) -> None:
        """Read them; what is refused raises an error of ours."""


class _Trees:
    """Files of which the first is a protobuf message."""

    def __init__(self, cases: Sequence[Files], kind: str) -> None:
        self._plain: list[Files] = []
        self._trees: list[tuple[Message, Files]] = []
        for files in cases:
            tree = parsed(next(iter(files.values())), kind)
            if tree is None:
                self._plain.append(files)
            else:
                self._trees.append((tree, files))
        self._donors = changes.Donors([tree for tree, _ in self._trees])

    def make(self, chance: Random) -> Files:
        if self._plain and chance.random() < 0.02:
            return _first_changed(chance, chance.choice(self._plain), values.damaged)
        tree, files = chance.choice(self._trees)
        name = next(iter(files))
        data = changes.changed(chance, tree, self._donors).encoded
        if chance.random() < 0.03:
            data = chance.choice((values.damaged, values.cut))(chance, data)
        return {**files, name: data}


def _first_changed(
    chance: Random, files: Files, change: Callable[[Random, bytes], bytes]
) -> Files:
    name, data = next(iter(files.items()))
    return {**files, name: change(chance, data)}


class Scanner:
    """Opening a model: the walk, the graph, the checks, the weights, and their values."""

    name = "scanner"

    def __init__(self, everything: bool) -> None:
        own = corpus.models()
        bad = corpus.bad_files(corpus.BAD_MODELS) if everything else []
        self._own, self._bad = _Trees(own, MODEL), _Trees(bad or own, MODEL)

    def make(self, chance: Random) -> Files:
        """Change a model, mostly a sound one."""
        files = (self._own if chance.random() < 0.6 else self._bad).make(chance)
        others = list(files)[1:]
        if others and chance.random() < 0.1:
            other = chance.choice(others)
            files[other] = chance.choice((values.cut, values.damaged))(chance, files[other])
        return files

    def attempt(self, entry: Path) -> None:
        """Open it, read all its weights, and compare them with what protobuf reads."""
        with load_onnx(entry) as model:
            count_macs(model, {})
            # What has sparse tensors is read through a dense copy of the file.
            content = read_exactly(model.source.descriptor, 0, model.source.size)
            whole = onnx.ModelProto.FromString(content)
            if bare(whole) != bare(model.graph.model):
                raise AssertionError("the skeleton is another model than the file")
            whole = onnx.ModelProto.FromString(content)
            for weight in model.weights:
                model.values(weight.path, 0, weight.size)
                _compare(model, weight.path, whole, entry.parent)


def _compare(model: OnnxModel, path: str, whole: onnx.ModelProto, folder: Path) -> None:
    """Hold that an initializer has the values that the onnx package reads of it."""
    finding = model.findings[path]
    if not finding.constant.initializer or finding.constant.scope.prefix:
        return
    external = finding.constant.record.external
    if external is not None and "length" not in external.entries:
        return  # onnx reads all that is behind its offset
    name = finding.constant.name
    proto = next(each for each in whole.graph.initializer if each.name == name)
    stored = model.stored(path)
    with warnings.catch_warnings(action="ignore"):
        read = numpy_helper.to_array(proto, str(folder)).reshape(-1)
    mine = stored.stored(0, stored.size)
    if read.tobytes() != mine.tobytes():
        raise AssertionError(f"'{path}' is read as {mine[:4]}, by onnx as {read[:4]}")


class Prune(Scanner):
    """A whole run: plan, writing, and opening what was written."""

    name = "prune"

    def attempt(self, entry: Path) -> None:
        """Prune by a recipe that the file's own bytes choose."""
        before = entry.read_bytes()
        number = zlib.crc32(before)
        recipe = make_recipe(
            {
                "sparsity": (0.5, 0.9, 0.3)[number % 3],
                "method": ("magnitude", "global", "lamp", "random")[number // 3 % 4],
                "include_embeddings": number % 7 > 3,
            }
        )
        output = entry.with_name("pruned.onnx")
        there = _listing(entry.parent)
        try:
            prune_file(entry, recipe, Settings(output=output, verify=False))
        except OnnxpruneError as error:
            if _listing(entry.parent) != there:
                raise AssertionError(f"a failed run left files behind: {error}") from error
            if error.exit_code == 8:
                raise AssertionError(f"it could not be written: {error}") from error
            raise
        made = _listing(entry.parent) - there
        try:
            _look_at_output(entry, output, before)
        finally:
            for name in made:
                os.unlink(entry.parent / name)


def _look_at_output(entry: Path, output: Path, before: bytes) -> None:
    if entry.read_bytes() != before:
        raise AssertionError("the input was changed")
    with load_onnx(entry) as model, load_onnx(output) as pruned:
        if [each.path for each in model.weights] != [each.path for each in pruned.weights]:
            raise AssertionError("the output has other weights")
        old, new = (np.frombuffer(path.read_bytes(), np.uint8) for path in (entry, output))
        if old.size == new.size and not model.files:
            changed = np.flatnonzero(old != new)
            inside = np.zeros(old.size, bool)
            for record in (model.stored(each.path).record for each in model.weights):
                inside[record.frame.start : record.frame.end] = True
            if not inside[changed].all():
                raise AssertionError("bytes changed that belong to no weight")


def _listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


class Archives:
    """Archives of torch's: their directory, their pickles and tables, never run."""

    name = "archives"

    def __init__(self, everything: bool) -> None:
        cases = corpus.archives(everything)
        if everything:
            cases += corpus.bad_files(corpus.BAD_ARCHIVES)
        self._whole = [next(iter(files.values())) for files in cases]
        self._opened = _opened(self._whole)

    def make(self, chance: Random) -> Files:
        """Change an archive."""
        if chance.random() < 0.05:
            change = chance.choice((values.damaged, values.cut))
            return {"model.pt": change(chance, chance.choice(self._whole))}
        members = chance.choice(self._opened)
        return {"model.pt": zips.changed(chance, members, _member_changed)}

    def attempt(self, entry: Path) -> None:
        """Find out all that is found out without loading it."""
        source = open_regular(entry)
        try:
            archive = TorchArchive(source)
            kind = kind_of(archive)
            divide(stored_tensors(archive, kind), ["first.weight"])
            if kind == SCRIPT:
                plain_paths(archive)
        finally:
            source.close()


def _opened(whole: Sequence[bytes]) -> list[list[zips.Member]]:
    found = []
    for data in whole:
        try:
            found.append(zips.opened(data))
        except Exception:  # noqa: BLE001 - what is no archive is changed as bytes alone
            continue
    return found


def _member_changed(chance: Random, name: str, content: bytes) -> bytes:
    if name.endswith(".pkl"):
        return pickle_changed(chance, content)
    if name.endswith(".npy"):
        return array_changed(chance, content)
    return (
        text_changed(chance, content)
        if name.endswith("json")
        else values.text(chance, content)
    )


class Samples:
    """Sets of samples: opened for a model's input, and gone through."""

    name = "samples"

    def __init__(self, everything: bool) -> None:
        cases = corpus.samples()
        if everything:
            cases += corpus.bad_files(corpus.BAD_SAMPLES)
        self._feeds = _Trees([files for files in cases if _is_feed(files)], TENSOR)
        whole = [files for files in cases if not _is_feed(files)]
        first = [next(iter(files.items())) for files in whole]
        self._arrays = [data for name, data in first if name.endswith(".npy")]
        self._archives = _opened([data for name, data in first if name.endswith(".npz")])

    def make(self, chance: Random) -> Files:
        """Change an archive, an array, or a tensor."""
        way = chance.random()
        if way < 0.15:
            return self._feeds.make(chance)
        if way < 0.4:
            return {"set.npy": array_changed(chance, chance.choice(self._arrays))}
        members = chance.choice(self._archives)
        return {"set.npz": zips.changed(chance, members, _member_changed)}

    def attempt(self, entry: Path) -> None:
        """Go through it as a check of a model does, then through each of its columns."""
        feed = entry.suffix == ".pb"
        source = entry.parents[1] if feed else entry
        number = zlib.crc32(entry.read_bytes())
        ports = [Port("x", "float32", None if number % 2 else (None, 4))]
        reads = (partial(_batches, source, ports, number % 3 > 0), partial(_columns, entry))
        for refused in [_refusal(read) for read in reads]:
            if refused is not None:
                raise refused


def _refusal(read: Callable[[], None]) -> OnnxpruneError | None:
    """Return the error that something is refused with."""
    try:
        read()
    except OnnxpruneError as error:
        return error
    return None


def _batches(source: Path, ports: list[Port], cast: bool) -> None:
    with open_samples(source, Reading(cast=cast), ports) as samples:
        for _ in samples.batches(2):
            pass
        samples.digest()


def _columns(entry: Path) -> None:
    if entry.suffix != ".npz":
        return
    for name in Archive(entry).columns:
        table = Archive(entry)
        table.take([name])
        for _ in table.pieces(2):
            pass


def _is_feed(files: Files) -> bool:
    return next(iter(files)).endswith(".pb")


TARGETS: dict[str, Callable[[bool], Target]] = {
    each.name: each for each in (Scanner, Archives, Samples, Prune)
}
