"""The hostile corpus, a process for each file: exit codes, seconds, and memory to refuse it."""

import shutil
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks import measure, peers
from tests.benchmarks.figures import Figures
from tests.benchmarks.suites import GIB, MB, Goal, Say, require_space
from tests.hostile.corpus import Case, cases, load_tool, make

IMPORT = "import onnxprune.cli.commands, onnxprune.formats.onnx_file"
PATIENCE = 300.0
COLUMNS = ("case", "wanted", "code", "seconds", "peak MB", "child MB")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one file; without a usage it was not done in time."""

    case: Case
    code: int | None
    said: str
    usage: measure.Usage | None

    @property
    def right(self) -> bool:
        """Whether the exit code is the one that is wanted, or explained."""
        return self.code == self.case.code or (self.case.code is None and not self.crashed)

    @property
    def crashed(self) -> bool:
        """Whether the process ended as none should."""
        return (
            self.code is None
            or self.code not in range(11)
            or self.code == 1
            or ("Traceback" in self.said)
        )

    @property
    def refused(self) -> bool:
        """Whether the file was refused."""
        return bool(self.code)

    def shown(self) -> tuple[str, ...]:
        """Give the cells of the table."""
        wanted = "any" if self.case.code is None else str(self.case.code)
        cells = "-", "-", "-"
        if self.usage is not None:
            child = f"{self.usage.child / MB:.0f}" if self.usage.child else ""
            cells = f"{self.usage.wall:.2f}", f"{self.usage.peak / MB:.0f}", child
        code = "none" if self.code is None else str(self.code)
        mark = "" if self.right and not self.crashed else " !"
        return self.case.name, wanted, code + mark, *cells


def corpus(_: int, say: Say) -> Figures:
    """Run every case in a process of its own."""
    tool = load_tool()
    if tool is None:
        raise measure.CommandError("the optional corpus of bad models is not here")
    # Its large files are holes, but their copies are not.
    require_space(12 * GIB)
    root = peers.workplace() / "out" / "hostile"
    shutil.rmtree(root, ignore_errors=True)
    say("making the files")
    wanted = cases(tool)
    make(tool, wanted, root / "cases")
    starts = [measure.run((sys.executable, "-c", IMPORT)).wall for _ in range(5)]
    rows = []
    for number, case in enumerate(wanted, 1):
        say(f"{number} of {len(wanted)}: {case.name}")
        rows.append(examine(case, root))
    shutil.rmtree(root)
    return Figures(
        "hostile",
        f"{len(rows)} broken, hostile and odd files, a process for each",
        COLUMNS,
        tuple(row.shown() for row in rows),
        goals(rows, statistics.median(starts)),
        notes(rows),
        failed=any(row.crashed or not row.right for row in rows),
    )


def examine(case: Case, root: Path) -> Row:
    """Run one case, and remove what it wrote."""
    output = root / "written"
    output.mkdir()
    argv = (sys.executable, "-m", "onnxprune", *case.words(root / "cases", output))
    try:
        code, said, usage = measure.finish(argv, sample=True, timeout=PATIENCE)
    except measure.CommandError as error:
        return Row(case, None, str(error), None)
    finally:
        shutil.rmtree(output)
    return Row(case, code, said, usage)


def goals(rows: list[Row], start: float) -> tuple[Goal, ...]:
    """Say what was aimed at.

    Args:
        rows: what became of the files.
        start: seconds that Python and the imports take.
    """
    refused = [row.usage for row in rows if row.refused and row.usage is not None]
    scanned = [usage.wall for usage in refused if not usage.child]
    slowest = max(scanned) - start if scanned else None
    peak = max(usage.peak for usage in refused) / MB if refused else None
    return (
        Goal(
            "with the exit code that is wanted",
            sum(row.right for row in rows) / len(rows),
            1.0,
            at_least=True,
        ),
        Goal("tracebacks, signals and bugs", sum(row.crashed for row in rows), 0),
        Goal("slowest refusal by the scan alone, beyond the imports", slowest, 1.0, "s"),
        Goal("largest peak of a refusal", peak, 400.0, "MB"),
    )


def notes(rows: list[Row]) -> tuple[str, ...]:
    """Say more of what went wrong, and of what was slow."""
    wrong = [
        f"{row.case.name} ({row.case.note}): {row.said[-300:]}"
        for row in rows
        if not row.right
    ]
    timed = [(row.usage.wall, row.case.name) for row in rows if row.usage is not None]
    slow = ", ".join(f"{name} {wall:.1f} s" for wall, name in sorted(timed)[:-11:-1])
    return (*wrong, f"slowest: {slow}", "child MB: the largest process that a library ran in")
