"""The words and numbers that all forms of a report share."""

import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass

from onnxprune.outcomes import Sizes
from onnxprune.storage import SPARSE, Storage
from onnxprune.types import Report, Skipped, TensorReport

LIMIT = 200
COMMAND = re.compile(r":(?=:)|#(?=#(?:vso)?\[)")
"""What GitHub Actions and Azure Pipelines take for the start of a command."""


READERS = (
    "ONNX Runtime reads sparse tensors and makes them dense in memory; other tools (onnx-ir,"
    " OpenVINO, shape inference, the checker's full check) may not: onnxprune densify turns"
    " them back"
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of the summary.

    Args:
        label: what it is about.
        text: what it says.
        tone: `good`, `bad` or `warning` where it is more than a figure.
    """

    label: str
    text: str
    tone: str = ""


def show(text: str, limit: int = LIMIT) -> str:
    """Make a string from a file safe to print: nothing a terminal or a CI log acts on."""
    out = []
    for letter in text:
        if letter.isprintable() or letter == " ":
            out.append(letter)
        elif unicodedata.category(letter) in ("Zs",):
            out.append(" ")
        else:
            code = ord(letter)
            out.append({"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(letter) or _escape(code))
    shown = COMMAND.sub(lambda found: _escape(ord(found[0])), "".join(out))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def count(number: int) -> str:
    """Spell a number with separators."""
    return f"{number:,}"


def percent(share: float) -> str:
    """Spell a share as a percentage that is neither 0 nor 100 unless it is exactly that."""
    text = f"{100 * share:.1f}"
    if (text == "100.0" and share < 1) or (text == "0.0" and share > 0):
        text = "<0.1" if share < 0.5 else ">99.9"
    return text + " %"


def short(number: int | None) -> str:
    """Spell a large number with a unit."""
    if number is None:
        return "?"
    value = float(number)
    for unit in ("", "k", "M", "G", "T"):
        # What rounds to 1000 has the next unit.
        if value < 999.5 or unit == "T":
            return f"{value:.3g}{unit}" if value < 999.5 else f"{value:.0f}{unit}"
        value /= 1000
    return str(number)


def shape(sizes: tuple[int, ...]) -> str:
    """Spell a shape."""
    return "x".join(str(size) for size in sizes)


def size(number: int | None) -> str:
    """Spell a number of bytes."""
    if number is None:
        return "?"
    value = float(number)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < (1000 if unit == "B" else 999.995) or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.2f} {unit}"
        value /= 1000
    return str(number)


def facts(report: Report) -> list[Fact]:
    """Summarise a report."""
    lines = [Fact("zeros", _zeros(report))]
    macs = report.macs
    if macs is not None:
        dense, left = macs
        saved = percent(1 - left / dense) if dense else "0 %"
        known = sum(tensor.weight.macs is not None for tensor in report.tensors)
        part = "" if known == len(report.tensors) else f" in {known} of {len(report.tensors)}"
        text = (
            f"{short(dense)} dense, {short(left)} on non-zeros{part}: {saved} less in theory"
        )
        lines.append(Fact("MACs", text))
    lines.append(Fact("file", bytes_text(report.sizes)))
    if report.storage is not None:
        lines += _storage(report.storage)
    if report.verified:
        lines.append(Fact("checked", report.verified))
    return lines


def skipped_by_reason(report: Report) -> list[tuple[str, list[Skipped]]]:
    """Group the tensors left alone by reason, the largest groups first."""
    groups: dict[str, list[Skipped]] = defaultdict(list)
    for skipped in report.skipped:
        groups[skipped.reason].append(skipped)
    return sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))


def skipped_line(reason: str, members: list[Skipped]) -> str:
    """Describe one group of tensors left alone."""
    names = ", ".join(show(member.name, 40) for member in members[:3])
    more = ", …" if len(members) > 3 else ""
    return f"{len(members)} {show(reason)} ({names}{more})"


def change(tensor: TensorReport) -> str:
    """Spell how much of a tensor's norm went."""
    return "?" if tensor.change is None else percent(tensor.change)


def _zeros(report: Report) -> str:
    share = report.zeros / report.size if report.size else 0.0
    whole = report.zeros / report.parameters if report.parameters else 0.0
    text = (
        f"{count(report.zeros)} of {count(report.size)} prunable weights ({percent(share)}),"
        f" {percent(whole)} of all {count(report.parameters)}"
    )
    if report.recipe is not None and report.mask_zeros != report.zeros:
        text += f"; the mask makes {count(report.mask_zeros)} of them"
    return text


def _storage(storage: Storage) -> list[Fact]:
    dense, sparse = size(storage.dense_bytes), size(storage.sparse_bytes)
    tensors = f"{count(storage.tensors)} tensor{'' if storage.tensors == 1 else 's'}"
    if storage.form != SPARSE:
        return [Fact("storage", f"{tensors} made dense: {sparse} -> {dense}")]
    text = f"{tensors} sparse: {sparse}, as dense ones {dense}" if storage.tensors else "dense"
    stay = [f"{count(number)} {show(reason)}" for reason, number in storage.stay]
    if stay:
        text += f"; left dense: {', '.join(stay)}"
    lines = [Fact("storage", text)]
    return [*lines, Fact("storage", READERS)] if storage.tensors else lines


def bytes_text(sizes: Sizes) -> str:
    """Say how large files are, and what they compress to."""
    about = "about " if sizes.estimated else ""
    text = size(sizes.before)
    if sizes.after is not None:
        text += f" -> {size(sizes.after)}"
    if sizes.compressed_after is not None:
        was = size(sizes.compressed_before)
        return text + f"; compresses to {about}{size(sizes.compressed_after)} (was {was})"
    return text + f"; compresses to {about}{size(sizes.compressed_before)}"


def _escape(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
