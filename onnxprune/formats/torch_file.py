"""A file of torch's as a model: its weights, the tensors left alone, and where values lie."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from onnxprune.errors import OnnxpruneError
from onnxprune.formats.files import SourceFile, open_regular
from onnxprune.formats.onnx_data import StoredTensor
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import FLOATS, NAMES, NUMPY_NAMES, STORAGE
from onnxprune.formats.output import write_at
from onnxprune.formats.torch_archive import TorchArchive, checksum_of
from onnxprune.formats.torch_content import (
    BITS,
    CONSTANTS,
    PROGRAM,
    kind_of,
    plain_paths,
    stored_tensors,
)
from onnxprune.formats.torch_pickle import StoredView
from onnxprune.formats.torch_surveying import Survey, ask, survey
from onnxprune.formats.torch_tensors import Region, divide
from onnxprune.formats.trust import require_trust
from onnxprune.formats.wire import Frame
from onnxprune.types import Array, Skipped, Weight

ELSEWHERE = "not in the file under its own name"


@dataclass(slots=True, eq=False)
class TorchModel:
    """An open TorchScript file or exported program.

    Args:
        source: the file; it has no others.
        kind: what it is.
        archive: its members.
        survey: what was found out by loading it.
        weights: what can be pruned, in the order of first use.
        skipped: what is left alone, and why.
        warnings: what a user should know of this file.
        shared: tensors some of whose values belong to another one, too, with that one's path.
        parameters: elements of all tensors of floats.
        regions: where the tensors of floats lie, by every name that they have.
    """

    source: SourceFile
    kind: str
    archive: TorchArchive
    survey: Survey
    weights: list[Weight] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shared: dict[str, str] = field(default_factory=dict)
    parameters: int = 0
    files: dict[str, SourceFile] = field(default_factory=dict)
    views: dict[str, StoredView] = field(default_factory=dict)
    regions: dict[str, Region] = field(default_factory=dict)
    _stored: dict[str, StoredTensor] = field(default_factory=dict)

    @property
    def is_program(self) -> bool:
        """Whether it is an exported program, not a script."""
        return self.kind == PROGRAM

    def stored(self, path: str) -> StoredTensor:
        """Return where the values of a tensor of floats are."""
        if path not in self._stored:
            region = self.regions[path]
            member = self.archive.members[region.key]
            record = TensorRecord((), Frame(None, 0, 0, 0), path)
            record.data_type = NAMES.index(region.kind)
            record.dims = list(region.shape)
            offset = member.start + region.start * BITS[region.kind] // 8
            self._stored[path] = StoredTensor(record, self.source, offset)
        return self._stored[path]

    def values(self, path: str, start: int, stop: int) -> Array:
        """Return real values of a weight, in the order in which they are stored."""
        return self.stored(path).values(start, stop)

    def editable(self, path: str) -> str | None:
        """Return why the values of a tensor cannot be replaced, or None if they can be."""
        region = self.regions.get(path)
        if region is None:
            return "is no tensor of floats that lies in the file as a whole"
        if region.path != path:
            return f"is another name of '{region.path}'"
        if path in self.shared:
            return f"shares bytes with '{self.shared[path]}', which is not pruned"
        reason = _unwritable(self, region)
        return f"is {reason}" if reason is not None else None

    def all_files(self) -> list[SourceFile]:
        """Return the file."""
        return [self.source]

    def plain_attributes(self) -> list[str]:
        """Return the paths of the numbers and truths that a script keeps."""
        return [] if self.is_program else plain_paths(self.archive)

    def seal(self, descriptor: int, paths: Sequence[str], target: Path) -> None:
        """Correct the checksums of what was pruned, in the file that was written."""
        for key in dict.fromkeys(self.regions[path].key for path in paths):
            member = self.archive.members[key]
            total = struct.pack("<I", checksum_of(descriptor, member))
            for at in member.sums:
                write_at(descriptor, total, at, target)

    def reopen(
        self, path: Path, places: Mapping[str, Path], verify: bool = True
    ) -> "TorchModel":
        """Open what was written of this model; torch loads it, too, if that is wanted."""
        del places
        if verify:
            ask("load", path, self.is_program)
        return _open(path, self.survey)

    def close(self) -> None:
        """Close the file."""
        self.source.close()

    def __enter__(self) -> "TorchModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def load_torch(path: Path) -> TorchModel:
    """Open a file of torch's that the user trusts, and find its weights."""
    return _open(path, None)


def _open(path: Path, known: Survey | None) -> TorchModel:
    source = open_regular(path)
    try:
        archive = TorchArchive(source)
        kind = kind_of(archive)
        views = stored_tensors(archive, kind)
        if known is None:
            require_trust(kind)
            known = survey(path, kind == PROGRAM)
            # The child opened it by its name.
            source.check_in_place()
        model = TorchModel(source, kind, archive, known, views=views)
        _find_weights(model)
    except OnnxpruneError:
        source.close()
        raise
    return model


def _find_weights(model: TorchModel) -> None:
    regions, unusable = divide(model.views, model.survey.parameters)
    by_path = {path: region for region in regions for path in region.paths}
    for used in model.survey.uses:
        region = by_path.get(used.path)
        if region is not None:
            region.uses.append(used)
    trained = set(model.survey.parameters)
    # The order of weights is that of the operators that use them.
    order = list(
        dict.fromkeys(id(by_path[u.path]) for u in model.survey.uses if u.path in by_path)
    )
    places = {region: place for place, region in enumerate(order)}
    for region in sorted(regions, key=lambda each: places.get(id(each), len(places))):
        if region.kind not in FLOATS:
            continue
        model.regions |= dict.fromkeys(region.paths, region)
        model.parameters += region.size
        reason = _reason(model, region, trained)
        if reason is None:
            model.weights.append(_weight(model, region))
        elif region.size > 1:
            model.skipped.append(Skipped(region.path, reason, region.size))
    model.skipped += [Skipped(path, reason) for path, reason in unusable]
    elsewhere = [used.path for used in model.survey.uses if used.path not in model.views]
    model.skipped += [Skipped(path, ELSEWHERE) for path in dict.fromkeys(elsewhere)]
    _find_shared(model, regions)
    _find_views(model, regions, [path for path, _ in unusable])


def _reason(model: TorchModel, region: Region, trained: set[str]) -> str | None:
    """Say why values are left alone, if they are."""
    constant = model.survey.frozen and region.path.startswith(CONSTANTS)
    if trained and not constant and trained.isdisjoint(region.paths):
        return "a buffer, which is not trained"
    if not any(not use.reason for use in region.uses):
        return region.uses[0].reason if region.uses else "not used by any operator"
    return _unwritable(model, region)


def _unwritable(model: TorchModel, region: Region) -> str | None:
    """Say why values cannot be written over, if they cannot."""
    if region.kind not in STORAGE:
        return f"of type {region.kind.lower()}"
    if not model.archive.members[region.key].stored:
        return "compressed in the archive: it cannot be overwritten in place"
    return None


def _weight(model: TorchModel, region: Region) -> Weight:
    uses = [use for use in region.uses if not use.reason]
    table = next((use for use in uses if use.table), None)
    use = table or uses[0]
    path = region.path
    if region.permuted:
        sizes = "x".join(map(str, region.shape))
        model.warnings.append(f"'{path}' lies in another order than its sizes: as {sizes}")
    return Weight(
        path=path,
        op=use.op,
        node=path.rpartition(".")[0],
        shape=region.shape,
        dtype=NUMPY_NAMES[region.kind],
        size=region.size,
        layout=use.layout,
        embedding=table is not None,
    )


def _find_shared(model: TorchModel, regions: Sequence[Region]) -> None:
    """Note tensors some of whose values belong to another tensor, too."""
    ordered = sorted(regions, key=lambda each: (each.key, each.start))
    for number, one in enumerate(ordered):
        for other in ordered[number + 1 :]:
            if other.key != one.key or other.start >= one.start + one.size:
                break
            model.shared[one.path], model.shared[other.path] = other.path, one.path


def _find_views(model: TorchModel, regions: Sequence[Region], paths: Sequence[str]) -> None:
    """Note tensors some of whose values another one shows that does not lie together."""
    spans: dict[str, list[tuple[int, int, str]]] = {}
    for path in paths:
        view = model.views[path]
        reach = sum((n - 1) * step for n, step in zip(view.shape, view.stride, strict=True))
        span = view.offset, view.offset + reach + 1, path
        spans.setdefault(view.storage.key, []).append(span)
    for region in regions:
        for start, end, path in spans.get(region.key, []):
            if start < region.start + region.size and region.start < end:
                model.shared.setdefault(region.path, path)
