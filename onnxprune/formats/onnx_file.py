"""An ONNX file as a model: its weights, the tensors left alone, and where their values lie."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from onnxprune.errors import InputError, LimitError, OnnxpruneError
from onnxprune.formats.files import SourceFile, open_regular
from onnxprune.formats.onnx_attributes import check_attributes
from onnxprune.formats.onnx_checks import check_graph, sniff
from onnxprune.formats.onnx_data import Quantization, StoredTensor
from onnxprune.formats.onnx_densifying import Densified, densify
from onnxprune.formats.onnx_external import Places, resolve
from onnxprune.formats.onnx_graph import Constant, Graph
from onnxprune.formats.onnx_scaling import Scaling
from onnxprune.formats.onnx_sharing import Sharing, find_sharing, spans_of
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import FLOATS, NUMPY_NAMES, STORAGE, element_count, type_name
from onnxprune.formats.onnx_weights import Finding, place_label, survey
from onnxprune.formats.onnx_wire import Scan, scan
from onnxprune.types import Array, Skipped, Weight

SIZE_LIMIT = 1 << 31


@dataclass(slots=True, eq=False)
class OnnxModel:
    """An open ONNX file.

    Args:
        source: the model file, or a dense copy of it if tensors are sparse there.
        scan: where its tensors lie, and its skeleton.
        graph: the graph of the skeleton.
        files: the external data files, by the location that names them.
        findings: for each weight, by path, how it was found.
        weights: what can be pruned, in graph order.
        skipped: what is left alone, and why.
        warnings: what a user should know of this file.
        sharing: the tensors whose bytes another tensor shares.
        densified: what was made dense, if anything was.
    """

    source: SourceFile
    scan: Scan
    graph: Graph
    files: dict[str, SourceFile] = field(default_factory=dict)
    offsets: dict[tuple[int, ...], int] = field(default_factory=dict)
    findings: dict[str, Finding] = field(default_factory=dict)
    weights: list[Weight] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    sharing: Sharing = field(default_factory=Sharing)
    parameters: int = 0
    densified: Densified | None = None
    _stored: dict[str, StoredTensor] = field(default_factory=dict)

    @property
    def conflicts(self) -> dict[str, str]:
        """Return the weights whose bytes another tensor shares, with that tensor's name."""
        return self.sharing.conflicts

    def stored(self, path: str) -> StoredTensor:
        """Return where the values of a constant are."""
        if path not in self._stored:
            tensor = self.tensor(self.graph.by_path[path].record)
            finding = self.findings.get(path)
            scaling = finding.scaling if finding is not None else None
            if scaling is not None and tensor.kind in ("INT8", "UINT8"):
                tensor.quantization = self._quantization(scaling, path)
            self._stored[path] = tensor
        return self._stored[path]

    def editable(self, path: str) -> str | None:
        """Return why the values of a constant cannot be replaced, or None if they can be."""
        constant = self.graph.by_path.get(path)
        if constant is None:
            return "is no constant of the model"
        record = constant.record
        other = self.conflicts.get(path, self.sharing.others.get(record.address))
        if other == "":
            return "has the bytes of another weight, with which it changes"
        if other is not None:
            return f"shares bytes with '{other}', which is not pruned"
        kind = type_name(record)
        if kind not in STORAGE or (kind not in FLOATS and path not in self.findings):
            return f"is of type {kind.lower()}, whose values stay"
        return None if element_count(record) else "has no values"

    def tensor(self, record: TensorRecord) -> StoredTensor:
        """Return where the values of any tensor are."""
        if record.external is None:
            return StoredTensor(record, self.source)
        file = self.files[record.external.entries["location"]]
        return StoredTensor(record, file, self.offsets[record.address])

    def values(self, path: str, start: int, stop: int) -> Array:
        """Return real values of a weight, by flat position."""
        return self.stored(path).values(start, stop)

    def all_files(self) -> list[SourceFile]:
        """Return the model file and the data files it names, as the user knows them."""
        if self.densified is not None:
            return [self.densified.source, *self.densified.files]
        return [self.source, *{id(file): file for file in self.files.values()}.values()]

    def seal(self, descriptor: int, paths: Sequence[str], target: Path) -> None:
        """Do nothing: a model file has no checksums of its tensors."""

    def reopen(
        self, path: Path, places: Mapping[str, Path], verify: bool = True
    ) -> "OnnxModel":
        """Open what was written of this model."""
        del verify  # it was looked at before, and has not changed but for its values
        return load_onnx(path, places)

    def close(self) -> None:
        """Close all files."""
        for file in {self.source, *self.files.values(), *self.all_files()}:
            file.close()

    def __enter__(self) -> "OnnxModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _quantization(self, scaling: Scaling, path: str) -> Quantization:
        scale = self._parameter(scaling.scale)
        if scale is None:
            scale = np.ones(1)
            self.warnings.append(
                f"the scale of '{path}' was not found: its integers count as 1"
            )
        zero = self._zero_point(scaling)
        return Quantization(scale, zero, scaling.channels, scaling.inner, scaling.block)

    def have_same_zero(self, one: Finding, other: Finding) -> bool:
        """Whether two weights have their zeros at the same place."""
        first, second = self._zero_point(one.scaling), self._zero_point(other.scaling)
        return np.array_equal(first, second) or not (first.any() or second.any())

    def _zero_point(self, scaling: Scaling | None) -> Array:
        """Return the zero points of a weight, which are 0 where none are given."""
        zero = self._parameter(scaling.zero) if scaling is not None else None
        return np.zeros(1) if zero is None else zero

    def _parameter(self, constant: Constant | None) -> Array | None:
        if constant is None:
            return None
        tensor = self.tensor(constant.record)
        return tensor.values(0, tensor.size).astype(np.float64)


def load_onnx(
    path: Path,
    data_files: Mapping[str, Path] | None = None,
    allow_hardlinks: bool = False,
) -> OnnxModel:
    """Open an ONNX file and find its weights, reading no weight.

    Args:
        path: the model file.
        data_files: other files to read external data from, by location.
        allow_hardlinks: whether external data may have more than one name.
    """
    source = content = open_regular(path)
    opened: dict[str, SourceFile] = {}
    dense = None
    try:
        sniff(source)
        if source.size > SIZE_LIMIT:
            raise LimitError(
                f"{source.size / 2**30:.1f} GiB in one protobuf message (its limit is 2 GiB)",
                "re-export the model with external data",
            )
        found = scan(source.descriptor, source.size)
        places = Places(data_files or {}, allow_hardlinks)
        dense = densify(source, found, places, SIZE_LIMIT) if found.sparse else None
        if dense is not None:
            content = dense.content
            found = scan(content.descriptor, content.size)
        graph = Graph(_parse(found.skeleton), found.tensors)
        check_graph(graph)
        model = OnnxModel(content, found, graph, opened, densified=dense)
        if found.unknown_fields:
            model.warnings.append(
                f"{found.unknown_fields} unknown fields (a newer writer?) are kept as they are"
            )
        model.offsets = resolve(content, found.tensors, opened, places)
        check_attributes(graph)
        _survey(model)
    except OnnxpruneError:
        others = () if dense is None else dense.files
        for file in {source, content, *opened.values(), *others}:
            file.close()
        raise
    return model


def _parse(skeleton: bytes) -> onnx.ModelProto:
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(skeleton)
    except DecodeError as error:
        raise InputError("not a whole ONNX file (protobuf parse failed)") from error
    return model


def _survey(model: OnnxModel) -> None:
    findings, model.skipped = survey(model.graph)
    spans = spans_of(model.scan.tensors, model.offsets, model.files, findings)
    model.sharing = find_sharing(spans, model.have_same_zero)
    model.skipped += model.sharing.skipped
    for finding in findings:
        constant = finding.constant
        if constant.path in model.conflicts and model.conflicts[constant.path] == "":
            continue
        model.findings[constant.path] = finding
        tensor = model.stored(constant.path)
        assert finding.layout is not None
        dims = tuple(constant.record.dims)
        weight = Weight(
            path=constant.path,
            op=finding.op,
            node=place_label(finding),
            shape=dims,
            dtype=NUMPY_NAMES[tensor.kind],
            size=tensor.size,
            layout=finding.layout,
            embedding=finding.table,
        )
        model.weights.append(weight)
        if constant.initializer and constant.name in constant.scope.inputs:
            model.warnings.append(
                f"'{constant.path}' is also an input: a caller can override it"
            )
        model.warnings += [f"'{constant.path}' {note}" for note in finding.notes]
    model.parameters = sum(weight.size for weight in model.weights)
    model.parameters += sum(skipped.size for skipped in model.skipped)


def file_hash(file: SourceFile) -> str:
    """Return the SHA-256 sum of a file."""
    digest = hashlib.sha256()
    for start in range(0, file.size, 1 << 20):
        digest.update(os.pread(file.descriptor, 1 << 20, start))
    return digest.hexdigest()
