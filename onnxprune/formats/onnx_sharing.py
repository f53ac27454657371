"""Tensors over the same bytes of a data file: what is done to one is done to the others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from onnxprune.formats.files import SourceFile
from onnxprune.formats.onnx_graph import Address
from onnxprune.formats.onnx_tensor import TensorRecord
from onnxprune.formats.onnx_types import element_count, needed_bytes, type_name
from onnxprune.formats.onnx_weights import Finding
from onnxprune.types import Skipped

TWIN = "the same bytes as another weight, pruned with it"
SameZero = Callable[[Finding, Finding], bool]
"""Whether two weights have their zero at the same place."""


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The bytes of one tensor in a data file."""

    place: tuple[int, int]
    start: int
    end: int
    record: TensorRecord
    finding: Finding | None


@dataclass(slots=True, eq=False)
class Sharing:
    """The tensors that share bytes.

    Args:
        conflicts: weights, by path, with the name of the other tensor; nothing for those that
            are another weight once more.
        others: tensors that are no weights, by address, with the name of the other tensor.
        skipped: weights that are another one once more.
    """

    conflicts: dict[str, str] = field(default_factory=dict)
    others: dict[Address, str] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    def note(self, one: Span, other: Span) -> None:
        """Note that a tensor shares bytes with another one."""
        if one.finding is not None:
            self.conflicts[one.finding.constant.path] = other.record.name
        else:
            self.others[one.record.address] = other.record.name


def spans_of(
    tensors: Mapping[Address, TensorRecord],
    offsets: Mapping[Address, int],
    files: Mapping[str, SourceFile],
    findings: list[Finding],
) -> list[Span]:
    """Return the bytes of all external tensors in order, weights first among equals."""
    weights = {finding.constant.record.address: finding for finding in findings}
    spans = []
    for address, start in offsets.items():
        record = tensors[address]
        assert record.external is not None
        length = needed_bytes(type_name(record), element_count(record))
        file = files[record.external.entries["location"]]
        if length:
            finding = weights.get(address)
            spans.append(Span(file.state[:2], start, start + length, record, finding))
    spans.sort(key=lambda span: (span.place, span.start, span.end, span.finding is None))
    return spans


def find_sharing(spans: list[Span], same_zero: SameZero) -> Sharing:
    """Note tensors that share bytes: the same weight written twice is one, others conflict."""
    found = Sharing()
    before: list[Span] = []
    for span in spans:
        before = [
            other for other in before if other.place == span.place and span.start < other.end
        ]
        if span.finding and any(_is_twin(other, span, same_zero) for other in before):
            path = span.finding.constant.path
            found.conflicts[path] = ""
            found.skipped.append(Skipped(path, TWIN))
            continue
        for other in before:
            found.note(span, other)
            found.note(other, span)
        # The last one and the one that reaches furthest stand for all that came before.
        furthest = max([*before, span], key=lambda each: each.end)
        before = [span] if furthest is span else [furthest, span]
    return found


def _is_twin(one: Span, other: Span, same_zero: SameZero) -> bool:
    """Whether two weights are the same values, with zero at the same place."""
    if one.finding is None or other.finding is None:
        return False
    if (one.start, one.end) != (other.start, other.end):
        return False
    if (one.record.data_type, one.record.dims) != (other.record.data_type, other.record.dims):
        return False
    return same_zero(one.finding, other.finding)
