"""Channels that were taken out, in reports: what became of each, and what was won."""

from onnxprune.outcomes import DataFacts
from onnxprune.removals import Removal, RemovedChannels, Sameness
from onnxprune.report.checks import place_text, smaller_latency_text, warning_facts
from onnxprune.report.spelling import NONE
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import Fact, bytes_text, count, percent, short, show

REASON = 120
FEW = 3
EVEN = 8
"""Widths that are a multiple of this suit the kernels of most runtimes."""

COLUMNS = (
    Column("channels of", right=False),
    Column("before", rank=1),
    Column("after"),
    Column("zero, stay", rank=2),
    Column("why", right=False, rank=3),
)


def removal_grid(removal: Removal) -> Grid:
    """Return what became of each group of channels."""
    return Grid(COLUMNS, tuple(_row(group) for group in removal.groups))


def _row(group: RemovedChannels) -> tuple[Cell, ...]:
    first, *others = group.producers or ("?",)
    name = show(first) + (f" +{len(others)}" if others else "")
    gone = group.after < group.before
    return (
        Cell(name),
        Cell(count(group.before)),
        Cell(count(group.after), "good" if gone else ""),
        Cell(count(group.zeros) if group.zeros else NONE),
        Cell(show(group.reason, REASON) if group.reason else NONE),
    )


def removal_facts(removal: Removal) -> list[Fact]:
    """Say what was won, and what was seen to."""
    lines = [*channel_facts(removal), Fact("file", bytes_text(removal.sizes))]
    if removal.latency is not None:
        lines.append(Fact("latency", smaller_latency_text(removal.latency)))
    if removal.verified is not None:
        lines.append(Fact("checked", show(removal.verified)))
    if removal.same is not None:
        lines += same_facts(removal.same)
    if removal.output is not None:
        files = ", ".join(show(file) for file in removal.files)
        lines.append(Fact("wrote", f"{files} in {removal.seconds:.1f} s"))
    return lines + warning_facts(removal.warnings)


def channel_facts(removal: Removal) -> list[Fact]:
    """Say how much smaller a model became."""
    text = f"{count(removal.removed)} of {count(removal.before)} taken out"
    stay = sum(group.zeros for group in removal.groups)
    if stay:
        text += f"; {count(stay)} that are zero stay"
    lines = [Fact("channels", text), *_staying(removal)]
    lines.append(Fact("weights", _change(*removal.parameters)))
    if removal.macs is not None:
        lines.append(Fact("MACs", _change(*removal.macs)))
    return lines


def _staying(removal: Removal) -> list[Fact]:
    """Say why channels that are zero were not taken out."""
    reasons: dict[str, list[RemovedChannels]] = {}
    for group in removal.groups:
        if group.zeros:
            reasons.setdefault(group.reason or "?", []).append(group)
    lines = []
    for reason, groups in reasons.items():
        names = ", ".join(show(group.producers[0], 40) for group in groups[:FEW])
        more = ", …" if len(groups) > FEW else ""
        zeros = count(sum(group.zeros for group in groups))
        lines.append(Fact("stay zero", f"{zeros} ({names}{more}): {show(reason, REASON)}"))
    return lines


def odd_widths(removal: Removal) -> list[Fact]:
    """Say so where kernels would like other widths better."""
    changed = [group for group in removal.groups if group.after < group.before]
    odd = [group for group in changed if group.after % EVEN]
    if not odd:
        return []
    text = (
        f"{count(len(odd))} of {count(len(changed))} that changed are no multiple of {EVEN}:"
        f" kernels are faster with such (--channel-multiple {EVEN})"
    )
    return [Fact("widths", text)]


def same_facts(same: Sameness) -> list[Fact]:
    """Say how close both models are."""
    text = (
        f"the same outputs, within {same.largest:.1g} of the largest value"
        f" ({same.allowed:.1g} is allowed)"
    )
    facts = DataFacts(same.source, same.samples, labelled=False, batch=same.batch)
    return [Fact("outputs", text, "good"), Fact("ran on", place_text(same.place, facts))]


def _change(before: int, after: int) -> str:
    less = percent(1 - after / before) if before else percent(0.0)
    return f"{short(before)} -> {short(after)}: {less} less"
