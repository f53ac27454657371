"""The claims of the gradient methods' papers: the script's tables, and verdicts that follow."""

import importlib.util
import itertools
import math
import re
import subprocess
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

import pytest

from tests.cli.started import environment
from tests.conftest import ROOT
from tests.forked import Forked, Source

FOLDER = ROOT / "examples" / "gradients"
MODELS = ("linear", "quadratic", "obd")
NETS = ("without BN", "with BN")
STEPS = (1, 4, 14)


@pytest.fixture(scope="module")
def verdicts() -> ModuleType:
    """The module that judges, without the one that measures."""
    spec = importlib.util.spec_from_file_location("verdicts", FOLDER / "verdicts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("pairs", "verdict"),
    [
        ([(1, 2), (3, 4)], "held (2 of 2)"),
        ([(1, 2), (4, 3)], "held in part (1 of 2)"),
        ([(1, 2), (4, 4)], "held in part (1 of 2, 1 equal)"),
        ([(2, 1), (4, 4)], "did not hold (0 of 2, 1 equal)"),
        ([(2, 1), (4, 3)], "did not hold (0 of 2)"),
        ([(1, 1), (math.inf, math.inf)], "no difference (0 of 2, 2 equal)"),
    ],
)
def test_a_claim_holds_as_far_as_the_first_numbers_are_smaller(
    verdicts: ModuleType, pairs: list[tuple[float, float]], verdict: str
) -> None:
    assert verdicts.Claim("so", pairs).verdict == verdict


def test_force_is_compared_with_snip_on_the_same_net(verdicts: ModuleType) -> None:
    outcomes = [
        verdicts.Outcome("a", "snip", 1, 0.99, alive=5, loss=2.0, retrained=1.0),
        verdicts.Outcome("a", "force", 1, 0.99, alive=5, loss=2.0, retrained=1.0),
        verdicts.Outcome("a", "force", 20, 0.99, alive=9, loss=1.9, retrained=0.5),
        verdicts.Outcome("b", "snip", 1, 0.99, alive=8, loss=1.5, retrained=0.2),
        verdicts.Outcome("b", "force", 20, 0.99),
    ]
    claims = verdicts.judge_untrained(outcomes)
    assert [claim.pairs for claim in claims] == [
        [(-9, -5), (0, -8)],
        [(1.9, 2.0), (math.inf, 1.5)],
        [(0.5, 1.0), (math.inf, 0.2)],
    ]


def test_steps_are_compared_with_the_next_fewer_ones(verdicts: ModuleType) -> None:
    losses = {1: 0.5, 14: 0.3, 140: 0.4}
    outcomes = [
        verdicts.Outcome("n", method, steps, sparsity, loss=loss + sparsity)
        for method, sparsity in itertools.product(MODELS, (0.25, 0.5))
        for steps, loss in losses.items()
    ]
    outcomes.append(verdicts.Outcome("n", "magnitude", 1, 0.5, loss=9.0))
    claims = verdicts.judge_steps(outcomes)
    found = {claim.sentence.split()[3]: (claim.pairs, claim.verdict) for claim in claims}
    pairs = [(0.55, 0.75), (0.65, 0.55), (0.8, 1.0), (0.9, 0.8)]
    assert found == dict.fromkeys(MODELS, (pairs, "held in part (2 of 4)"))


def test_quadratic_is_compared_with_obd_at_the_same_place(verdicts: ModuleType) -> None:
    outcomes = [
        verdicts.Outcome("n", "quadratic", 1, 0.9, loss=1.0),
        verdicts.Outcome("n", "quadratic", 14, 0.9, loss=3.0),
        verdicts.Outcome("n", "obd", 14, 0.9, loss=4.0),
        verdicts.Outcome("n", "obd", 1, 0.9, loss=2.0),
        verdicts.Outcome("n", "linear", 1, 0.9, loss=0.0),
    ]
    claim = verdicts.judge_gradient(outcomes, "here")
    assert claim.sentence == "quadratic preserves the loss better than obd here"
    assert claim.pairs == [(1.0, 2.0), (3.0, 4.0)]
    assert claim.verdict == "held (2 of 2)"


class Printed(NamedTuple):
    """What the script printed: the cells of each table by row, and verdicts by claim."""

    untrained: list[list[str]]
    trained: list[list[str]]
    early: list[list[str]]
    verdicts: dict[str, str]


@pytest.fixture(scope="module")
def printed(source: Source) -> Printed:
    """The shortest run there is, in a process of its own: it sets torch's threads."""
    words = [sys.executable, str(FOLDER / "claims.py"), "--quick"]
    pipe = subprocess.PIPE
    done = Forked(source, words, env=environment(), stdout=pipe, stderr=pipe, text=True)
    out, err = done.communicate(timeout=280)
    assert (done.returncode, err) == (0, "")
    *tables, last = out.strip().split("\n\n")
    titles = [table.splitlines()[0] for table in tables]
    assert titles[0] == "Never trained, 99% pruned"
    assert re.fullmatch(r"Trained, loss \d\.\d{4} before pruning", titles[1])
    assert re.fullmatch(
        r"After a tenth of its training, loss \d\.\d{4} before pruning", titles[2]
    )
    cells = [
        [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:]]
        for table in tables
    ]
    claims = dict(line.split(": ") for line in last.splitlines())
    return Printed(cells[0], cells[1], cells[2], claims)


def verdict(pairs: Sequence[tuple[float, float]]) -> str:
    """Judge pairs, of which the first number should be the smaller one."""
    smaller = [a < b for a, b in pairs].count(True)
    same = [a == b for a, b in pairs].count(True)
    words = "held in part" if smaller else "did not hold"
    words = "held" if smaller == len(pairs) else words
    words = "no difference" if same == len(pairs) else words
    return f"{words} ({smaller} of {len(pairs)}{f', {same} equal' if same else ''})"


@pytest.mark.slow
def test_the_tables_have_a_row_for_everything_that_was_tried(printed: Printed) -> None:
    heads = [table[0] for table in (printed.untrained, printed.trained, printed.early)]
    assert heads[0] == [
        *("net", "method", "steps", "alive", "smallest", "loss", "after training")
    ]
    assert heads[1] == heads[2] == ["method", "steps", "95%"]
    skeletons = [("snip", "1"), *itertools.product(("iterative_snip", "force"), "14")]
    rows = [tuple(row[:3]) for row in printed.untrained[1:]]
    assert rows == [(net, *each) for net in NETS for each in skeletons]
    models = [*itertools.product(MODELS, map(str, STEPS)), ("magnitude", "1")]
    for table in (printed.trained, printed.early):
        assert [tuple(row[:2]) for row in table[1:]] == models
        assert all(float(row[2]) > 0 for row in table[1:])


@pytest.mark.slow
def test_one_step_of_each_untrained_method_is_snip(printed: Printed) -> None:
    for net in NETS:
        once = [row[3:] for row in printed.untrained if row[0] == net and row[2] == "1"]
        assert len(once) == 3
        assert once[0] == once[1] == once[2]


@pytest.mark.slow
def test_the_verdicts_follow_from_the_tables(printed: Printed) -> None:
    rows = {(row[0], row[1], row[2]): row[3:] for row in printed.untrained[1:]}
    pairs = [(rows[net, "force", "4"], rows[net, "snip", "1"]) for net in NETS]
    alive = [(-int(a[0].split()[0]), -int(b[0].split()[0])) for a, b in pairs]
    losses = [[(loss(a[at]), loss(b[at])) for a, b in pairs] for at in (2, 3)]
    trained, early = (
        {(row[0], int(row[1])): float(row[2]) for row in table[1:]}
        for table in (printed.trained, printed.early)
    )
    force = "FORCE in several steps"
    expected: dict[str, Sequence[tuple[float, float]]] = {
        f"{force} keeps more layers alive than SNIP": alive,
        f"{force} has a lower loss than SNIP at once": losses[0],
        f"{force} has a lower loss than SNIP once trained": losses[1],
    }
    for method in MODELS:
        steps = [
            (trained[method, b], trained[method, a]) for a, b in itertools.pairwise(STEPS)
        ]
        expected[f"More steps of {method} preserve the loss better"] = steps
    against = "quadratic preserves the loss better than obd"
    for when, found in (("a tenth", early), ("all", trained)):
        compared = [(found["quadratic", n], found["obd", n]) for n in STEPS]
        expected[f"{against} after {when} of the training"] = compared
    assert printed.verdicts == {name: verdict(pairs) for name, pairs in expected.items()}


def loss(cell: str) -> float:
    """Read a loss; where the method gave up there is none."""
    return math.inf if cell == "-" else float(cell)


def test_the_readme_is_short_and_shows_the_output_of_its_command() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "python examples/gradients/claims.py" in text
    assert "FORCE in several steps keeps more layers alive than SNIP: " in text
