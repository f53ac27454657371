"""How much of onnx's own node tests the re-import computes."""

import onnx

from tests.benchmarks import node_suite
from tests.benchmarks.figures import Figures
from tests.benchmarks.node_suite import FALLBACK, KINDS, REFUSED, TORCH, WRONG
from tests.benchmarks.suites import Goal, Say

COMPUTED, NATIVE = 0.9, 0.85
VARIANTS = {"as they are": False, "all but the first input constant": True}


def nodes(_: int, say: Say) -> Figures:
    """Run all node tests whose inputs and outputs are numbers."""
    found = {}
    for title, frozen in VARIANTS.items():
        say(f"node tests, {title}")
        found[title] = node_suite.suite(frozen)
    counts = {title: node_suite.counts(results) for title, results in found.items()}
    rows = []
    for kind in KINDS:
        cells = [
            f"{counts[title][kind]:,} ({counts[title][kind] / len(results):.1%})"
            for title, results in found.items()
        ]
        rows.append((kind, *cells))
    rows.append(("all", *(f"{len(results):,}" for results in found.values())))
    plain, total = counts["as they are"], len(found["as they are"])
    wrong = sum(each[WRONG] for each in counts.values())
    goals = (
        Goal("computed", (plain[TORCH] + plain[FALLBACK]) / total, COMPUTED, at_least=True),
        Goal("as torch code", plain[TORCH] / total, NATIVE, at_least=True),
        Goal("wrong without an error", wrong, 0),
    )
    notes = []
    for title, results in found.items():
        odd = [each for each in results if each.kind in (WRONG, REFUSED)]
        notes += [f"{each.kind}, {title}: {each.name}: {each.reason}" for each in odd]
    fallen = {each.operator for each in found["as they are"] if each.kind == FALLBACK}
    notes.append(f"{FALLBACK}: {', '.join(sorted(fallen))}")
    title = f"Node tests of onnx {onnx.__version__} that have numbers, through the re-import"
    return Figures(
        "nodes", title, ("", *VARIANTS), tuple(rows), goals, tuple(notes), failed=wrong > 0
    )
