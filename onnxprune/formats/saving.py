"""Writes a model again with some tensors changed, every other byte as it was."""

import contextlib
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onnxprune.errors import OnnxpruneError, OutputError, UnsupportedError
from onnxprune.formats.edits import Edits, check_edits
from onnxprune.formats.files import SourceFile
from onnxprune.formats.loading import Model
from onnxprune.formats.onnx_additions import make_biases
from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.formats.onnx_file import OnnxModel
from onnxprune.formats.onnx_locations import checksum, data_name, relocations
from onnxprune.formats.onnx_sparsifying import Choice, write_sparse
from onnxprune.formats.onnx_tensor import Run
from onnxprune.formats.output import Temporary, check_space, copy_range, write_at
from onnxprune.formats.reading_back import read_back
from onnxprune.formats.splice import Shift, Splice
from onnxprune.formats.tallies import tally_of
from onnxprune.formats.wire import read_exactly
from onnxprune.selection import CHUNK
from onnxprune.storage import Storage
from onnxprune.threads import parallel
from onnxprune.types import Array, Tally

Progress = Callable[[int, int], None]
"""(bytes written so far, bytes in all)."""

Accept = Callable[[Model, Model, Edits], bool]
"""(the model, its pruned form, what is still to be done to that) -> may it stay?"""

BLOCK = 1 << 20


@dataclass(slots=True, eq=False)
class _Target:
    """One file being written: the edits of its source, and what is known of the result."""

    source: SourceFile
    temporary: Temporary
    tensors: list[str] = field(default_factory=list)
    splices: list[Splice] = field(default_factory=list)
    shift: Shift = field(default_factory=lambda: Shift([]))
    sums: dict[int, int] = field(default_factory=dict)


class Saving:
    """One run of writing a model: its data files first, the model last.

    `sparse` are the tensors that may be stored so. `tallies` is what became of the tensors that
    were edited, `created` the biases that were made: their names, by the weight whose outputs
    they are added to; `storage` is which tensors are sparse, if any were to be.
    """

    def __init__(  # noqa: PLR0913 - what is written where, and who watches it
        self,
        model: Model,
        output: Path,
        edits: Edits,
        progress: Progress | None = None,
        accept: Accept | None = None,
        verify: bool = True,
        additions: Mapping[str, Array] | None = None,
        sparse: Choice | None = None,
    ) -> None:
        self.model = model
        self.output = output
        self.edits = edits
        self.progress = progress
        self.accept = accept
        self.verify = verify
        self.additions = additions or {}
        self.sparse = sparse.paths if sparse is not None and sparse.forms else None
        self.storage: Storage | None = None
        self.tallies: dict[str, Tally] = {}
        self.created: dict[str, str] = {}
        self._inserted: list[Splice] = []
        self._checksums: dict[str, int] = {}
        self._done = 0
        self._total = 0

    def run(self) -> list[Path]:
        """Write everything, check it, put it in place; return the files of the new model.

        What is not accepted leaves no file.
        """
        check_edits(self.model, self.edits)
        if self.additions:
            self._make_biases()
        places = self._places()
        self._total = self.model.source.size + sum(source.size for source in places)
        again = 0 if self.sparse is None else self.model.source.size
        check_space(self.output.parent, self._total + again)
        with contextlib.ExitStack() as temporaries:
            return self._write(places, temporaries)

    def _write(
        self, places: dict[SourceFile, str | None], temporaries: contextlib.ExitStack
    ) -> list[Path]:
        names: dict[SourceFile, str] = {}
        data: list[tuple[_Target, Path]] = []
        checksums: dict[SourceFile, str] = {}
        for source, name in places.items():
            target = self._target(source, temporaries)
            self._fill(target, hashed=True)
            names[source] = name or data_name(self.output, target.sums)
            data.append((target, self.output.with_name(names[source])))
            assert isinstance(self.model, OnnxModel)
            checksums[source] = checksum(self.model, source, target.temporary)
        main = self._target(self.model.source, temporaries)
        if isinstance(self.model, OnnxModel):
            main.splices += relocations(self.model, names, checksums) + self._inserted
        self._fill(main, hashed=False)
        self.model.seal(main.temporary.descriptor, main.tensors, self.output)
        for source in self.model.all_files():
            source.check_unchanged()
        if not self._verify(main, names, data, temporaries):
            return []
        self._put_in_place(main, data)
        return [self.output, *(path for _, path in data)]

    def _put_in_place(self, main: _Target, data: list[tuple[_Target, Path]]) -> None:
        """Give the files their names: those of the data first, the model's last."""
        try:
            for target, path in data:
                target.temporary.commit(path)
            main.temporary.commit()
        except BaseException:
            # Without a model that names them, data files are of no use.
            if os.path.lexists(main.temporary.path):
                for target, _ in data:
                    target.temporary.retract()
            raise

    def _make_biases(self) -> None:
        if not isinstance(self.model, OnnxModel):
            raise UnsupportedError("a bias can be made in an ONNX model only")
        made, self._inserted = make_biases(self.model, self.additions)
        self.created = {bias.path: bias.name for bias in made}
        self._checksums |= {bias.name: zlib.crc32(bias.data) for bias in made}

    def _places(self) -> dict[SourceFile, str | None]:
        """Choose which data files are written, and which of them keep their name."""
        edited = {self.model.stored(path).source for path in self.edits}
        folder = self.output.parent
        same_folder = folder.samefile(self.model.source.path.parent)
        places: dict[SourceFile, str | None] = {}
        for location, source in self.model.files.items():
            simple = os.path.basename(location) == location
            inside = Path(os.path.realpath(source.path)).is_relative_to(folder)
            if source in edited or not (same_folder and inside):
                free = simple and not os.path.lexists(folder / location)
                clash = self.output.name == location
                places[source] = location if free and not clash else None
        return places

    def _target(self, source: SourceFile, temporaries: contextlib.ExitStack) -> _Target:
        temporary = Temporary(self.output)
        temporaries.callback(temporary.close)
        temporary.create()
        target = _Target(source, temporary)
        for name in self.edits:
            tensor = self.model.stored(name)
            if tensor.source is source:
                target.tensors.append(name)
                if tensor.packed:
                    target.splices += self._varint_splices(name, tensor)
        return target

    def _varint_splices(self, path: str, tensor: StoredTensor) -> list[Splice]:
        before = tensor.stored(0, tensor.size)
        after = np.concatenate(
            [
                self.edits[path].apply(tensor, before[start : start + CHUNK], start)
                for start in range(0, tensor.size, CHUNK)
            ]
        )
        self.tallies[path] = tally_of(tensor, before, after, 0)
        self._checksums[path] = zlib.crc32(after.tobytes())
        return [
            Splice(piece.start, piece.end, data, piece.frame)
            for piece, data in tensor.varint_edits(before, after)
        ]

    def _fill(self, target: _Target, hashed: bool) -> None:
        """Copy what stays and write the edited tensors over what does not."""
        target.shift = Shift(target.splices)
        tensors = [name for name in target.tensors if not self.model.stored(name).packed]
        regions = []
        for name in tensors:
            tensor = self.model.stored(name)
            width = np.dtype(tensor.stored(0, 1).dtype).itemsize
            regions += [
                (run.start, run.start + (run.count - 1) * run.step + width)
                for run in tensor.runs
                if run.count
            ]
        at = 0
        edits = [(edit.start, edit.end, to, edit.data) for to, edit in target.shift.moved()]
        for start, end, to, data in sorted([*edits, *((*area, 0, b"") for area in regions)]):
            self._copy(target, at, start, hashed)
            write_at(target.temporary.descriptor, data, to, self.output)
            at = end
        self._copy(target, at, target.source.size, hashed)
        parallel(lambda name: self._tensor(target, name, hashed), tensors)

    def _copy(self, target: _Target, start: int, end: int, hashed: bool) -> None:
        source, sink = target.source.descriptor, target.temporary.descriptor
        while start < end:
            count = min(BLOCK, end - start)
            to = target.shift(start)
            if hashed:
                block = read_exactly(source, start, count)
                target.sums[start] = zlib.crc32(block)
                write_at(sink, block, to, self.output)
            else:
                count = copy_range(source, sink, start, to, end - start, self.output)
            start += count
            self._advance(count)

    def _tensor(self, target: _Target, path: str, hashed: bool) -> None:
        tensor = self.model.stored(path)
        tally = Tally()
        total = first = 0
        for run in tensor.runs:
            for low in range(0, run.count, CHUNK):
                high = min(low + CHUNK, run.count)
                raw = tensor.stored(first + low, first + high)
                after = self.edits[path].apply(tensor, raw, first + low)
                tally += tally_of(tensor, raw, after, first + low)
                total = zlib.crc32(after.tobytes(), total)
                block = self._block(tensor, run, low, after)
                at = run.start + low * run.step
                if hashed:
                    target.sums[at] = zlib.crc32(block)
                write_at(target.temporary.descriptor, block, target.shift(at), self.output)
                self._advance(len(block))
            first += run.count
        self.tallies[path], self._checksums[path] = tally, total

    def _block(
        self, tensor: StoredTensor, run: Run, low: int, after: Array
    ) -> bytes | bytearray | memoryview:
        """Return the bytes from a run's value number `low` on, up to the next value."""
        if run.step == after.itemsize:
            return after.tobytes()
        start = run.start + low * run.step
        last = low + after.size == run.count
        length = after.size * run.step - (run.step - after.itemsize if last else 0)
        between = bytearray(read_exactly(tensor.source.descriptor, start, length))
        np.ndarray(after.shape, after.dtype, between, strides=(run.step,))[:] = after
        return memoryview(between)

    def _verify(
        self,
        main: _Target,
        names: dict[SourceFile, str],
        data: list[tuple[_Target, Path]],
        temporaries: contextlib.ExitStack,
    ) -> bool:
        """Open what was written as a new model, look at it, ask whether it may stay."""
        written = {target.source: target.temporary.path for target, _ in data}
        places = {
            names.get(source, location): written.get(source, source.path)
            for location, source in self.model.files.items()
        }
        try:
            reopened = self.model.reopen(main.temporary.path, places, self.verify)
        except OnnxpruneError as error:
            raise OutputError(f"the written model cannot be read back: {error}") from error
        with reopened:
            zeros = {path: self.tallies[path].zeros for path in self.edits}
            changed = [path for path, edit in self.edits.items() if edit.values is not None]
            changed += self.created.values()
            read_back(reopened, zeros, {path: self._checksums[path] for path in changed})
            if self.accept is not None and not self.accept(self.model, reopened, {}):
                return False
            if self.sparse is not None and isinstance(reopened, OnnxModel):
                main.temporary = Temporary(self.output)
                temporaries.callback(main.temporary.close)
                main.temporary.create()
                self.storage = write_sparse(reopened, self.sparse, main.temporary, places)
        return True

    def _advance(self, count: int) -> None:
        self._done += count
        if self.progress is not None:
            self.progress(self._done, self._total)
