"""Patterns in reports: what one did to a model, and which of them a model has."""

from typing import Any

from onnxprune.patterns.pattern import (
    Blocks,
    Filters,
    Groups,
    Pattern,
    Unstructured,
    parse_pattern,
)
from onnxprune.patterns.tiling import tile
from onnxprune.report.tables import Cell, Column, Grid
from onnxprune.report.text import Fact, count, percent, show
from onnxprune.types import Report, Structure, TensorReport

FAST = ("float16", "bfloat16", "int8")
"""Types that TensorRT has sparse kernels for."""

WIDE = 256
"""Channels from which on these tend to be faster than others."""

FEW = 3
NONE = "-"


def pattern_of(report: Report) -> Pattern:
    """Return the pattern that a model was pruned by."""
    return parse_pattern(
        report.recipe.pattern if report.recipe is not None else "unstructured"
    )


def pattern_facts(report: Report) -> list[Fact]:
    """Say what a pattern made of a model, or which patterns a model has."""
    if report.inspected is not None:
        return [Fact("patterns", _found(report))] if report.tensors else []
    match pattern := pattern_of(report):
        case Unstructured():
            return []
        case Groups():
            text = (
                f"{pattern}: of {pattern.m} input channels in a row at most {pattern.n}"
                f" {'is' if pattern.n == 1 else 'are'} kept, which makes"
                f" {percent(float(pattern.sparsity))} zeros"
            )
            return [Fact("pattern", text), *_hint(report)]
        case Blocks():
            units, fallen = _units(report, pattern)
            what = f"blocks of {pattern.rows} outputs x {pattern.columns} input channels"
            return [Fact("pattern", f"{count(fallen)} of {count(units)} {what} are zero")]
        case Filters():
            units, fallen = _units(report, pattern)
            text = f"{count(fallen)} of {count(units)} filters are zero"
            return [Fact("pattern", text + _with(report.followers))]


def pattern_to_dict(report: Report) -> dict[str, Any] | None:
    """Return the same as plain values."""
    if report.inspected is not None:
        looked = report.inspected
        return {"name": looked.asked, "groups": looked.groups, "blocks": looked.blocks}
    match pattern := pattern_of(report):
        case Unstructured():
            return None
        case Groups():
            return {"name": str(pattern), "sparsity": float(pattern.sparsity)}
        case Blocks() | Filters():
            units, fallen = _units(report, pattern)
            found = {"name": str(pattern), "units": units, "fallen": fallen}
            return found | {"followers": list(report.followers)}


def structure_to_dict(found: Structure, groups: str) -> dict[str, Any]:
    """Return where a tensor's zeros lie as plain values."""
    eligible = found.groups is not None
    return {
        "pattern": groups,
        "eligible": eligible,
        "compliant": eligible and found.complying == found.groups,
        "groups": found.groups,
        "complying_groups": found.complying,
        "blocks": found.blocks,
        "occupied_blocks": found.occupied,
        "filters": found.filters,
        "empty_filters": found.empty,
    }


def structure_grid(report: Report) -> Grid | None:
    """Return, tensor by tensor, how far a model has the pattern that was named."""
    if report.inspected is None or report.inspected.asked is None:
        return None
    pattern = parse_pattern(report.inspected.asked)
    rows = tuple(
        (Cell(show(tensor.weight.path)), *map(Cell, _cells(tensor, pattern)))
        for tensor in report.tensors
    )
    titles = {
        Groups: ("groups", "comply", "share", str(pattern)),
        Blocks: ("blocks", "hold weights", "share"),
    }.get(type(pattern), ("filters", "empty", "share"))
    columns = [
        Column(title, rank=rank) for rank, title in zip((2, 1, 0, 0), titles, strict=False)
    ]
    return Grid((Column("tensor", right=False), *columns), rows)


def _cells(tensor: TensorReport, pattern: Pattern) -> list[str]:
    found = tensor.structure
    assert found is not None
    match pattern:
        case Groups():
            if found.groups is None or found.complying is None:
                return [NONE, NONE, NONE, "not eligible"]
            whole = "yes" if found.complying == found.groups else "no"
            return [*_share(found.groups, found.complying), whole]
        case Blocks():
            if found.blocks is None or found.occupied is None:
                return [NONE, NONE, "not eligible"]
            return _share(found.blocks, found.occupied)
        case _:
            return _share(found.filters, found.empty)


def _share(whole: int, part: int) -> list[str]:
    return [count(whole), count(part), percent(part / whole if whole else 0.0)]


def _found(report: Report) -> str:
    """Summarise which patterns a model has."""
    assert report.inspected is not None
    each = [tensor.structure for tensor in report.tensors if tensor.structure is not None]
    eligible = [one for one in each if one.groups is not None]
    whole = sum(one.complying == one.groups for one in eligible)
    tiled = [one for one in each if one.blocks]
    blocks = sum(one.blocks or 0 for one in tiled)
    occupied = percent(sum(one.occupied or 0 for one in tiled) / blocks) if blocks else NONE
    empty, filters = sum(one.empty for one in each), sum(one.filters for one in each)
    size = report.inspected.blocks.removeprefix("block:")
    return (
        f"{report.inspected.groups} in {whole} of {len(eligible)} tensors it fits; {occupied} of"
        f" {size} blocks hold weights; {count(empty)} of {count(filters)} filters are empty"
    )


def _units(report: Report, pattern: Blocks | Filters) -> tuple[int, int]:
    """Count units, and those that the mask takes away."""
    tilings = [tile(pattern, tensor.weight.layout) for tensor in report.tensors]
    fallen = sum(
        tensor.mask_zeros // tiling.size
        for tensor, tiling in zip(report.tensors, tilings, strict=True)
    )
    return sum(tiling.count for tiling in tilings), fallen


def _with(followers: tuple[str, ...]) -> str:
    """Name what went with filters."""
    if not followers:
        return ""
    names = ", ".join(show(name, 40) for name in followers[:FEW])
    more = ", …" if len(followers) > FEW else ""
    return f", and with them values of biases and normalisations ({names}{more})"


def _hint(report: Report) -> list[Fact]:
    """Say where TensorRT's sparse kernels will hardly be used."""
    fitting = [each.weight for each in report.tensors]
    typed = sum(weight.dtype not in FAST for weight in fitting)
    narrow = sum(
        min(weight.layout.input_count, weight.layout.output_count) < WIDE for weight in fitting
    )
    if pattern_of(report) != Groups(2, 4) or not (typed or narrow):
        return []
    of = count(len(fitting))
    parts = [f"{count(typed)} of {of} tensors are of another type than those"] if typed else []
    parts += [f"{count(narrow)} of {of} have fewer channels"] if narrow else []
    text = f"TensorRT's sparse kernels take fp16, bf16 and int8, and pay from {WIDE} channels on: "
    return [Fact("pattern", text + ", ".join(parts))]
