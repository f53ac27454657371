"""All that the report on a pruned model says besides its table of tensors."""

from onnxprune.report.calibrations import calibration_facts
from onnxprune.report.channels import channel_facts, odd_widths, removal_grid, same_facts
from onnxprune.report.checks import (
    output_grid,
    result_facts,
    smaller_latency_text,
    warning_facts,
)
from onnxprune.report.patterns import pattern_facts, structure_grid
from onnxprune.report.recoveries import recovery_facts, recovery_grid
from onnxprune.report.tables import Grid
from onnxprune.report.text import Fact, facts, skipped_by_reason, skipped_line
from onnxprune.types import Report

ZEROS = (
    "Zeros do not by themselves make a model faster or its file smaller: runtimes compute with"
    " them as with any number. What shrinks is the compressed file; time is saved where whole"
    " channels go, or by runtimes made for sparse weights."
)
CHANNELS = (
    "Tensors are shown as they were with the zeros; what was taken out is not computed any more."
    " Zeros that stay save no time."
)


def honest(report: Report) -> str:
    """Say what a user may expect of a pruned model."""
    return ZEROS if report.removal is None else CHANNELS


def report_grids(report: Report) -> list[Grid]:
    """Return the tables that stand beside that of the tensors."""
    grids = [structure_grid(report)]
    if report.recovery is not None:
        grids.append(recovery_grid(report.recovery))
    if report.removal is not None:
        grids.append(removal_grid(report.removal))
    if report.check is not None:
        grids.append(output_grid(report.check.measured))
    return [grid for grid in grids if grid is not None]


def report_facts(report: Report) -> list[Fact]:
    """Say all that a report has besides its tables."""
    zeros, *others = facts(report)
    lines = [zeros, *pattern_facts(report)]
    if report.removal is not None:
        lines += channel_facts(report.removal)
        if report.recipe is not None and report.recipe.channel_multiple == 1:
            lines += odd_widths(report.removal)
        others = [fact for fact in others if fact.label != "MACs"]
    lines += others
    if report.calibration is not None:
        lines += calibration_facts(report.calibration)
    if report.recovery is not None:
        lines += recovery_facts(report.recovery)
    lines += _removed(report)
    warnings = report.warnings
    if report.check is not None:
        lines += result_facts(report.check, report.removal is not None)
        warnings = tuple(dict.fromkeys((*warnings, *report.check.warnings)))
        if report.output is None and not report.check.passed:
            lines.append(Fact("wrote", "nothing: the gate failed", "bad"))
    lines += [Fact("left alone", skipped_line(*group)) for group in skipped_by_reason(report)]
    return lines + warning_facts(warnings)


def _removed(report: Report) -> list[Fact]:
    """Say what was seen of the model without its channels."""
    removal = report.removal
    if removal is None:
        return []
    lines = []
    if removal.latency is not None:
        lines.append(Fact("latency", smaller_latency_text(removal.latency)))
    if removal.same is not None:
        same, place = same_facts(removal.same)
        lines += [same] if report.check is not None else [same, place]
    return lines
