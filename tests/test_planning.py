"""Which tensors take part, what caps and fixed layers do, and that every total is exact."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxprune.allocations.candidate import Candidate
from onnxprune.choosing import matches, resolve
from onnxprune.errors import InputError, OnnxpruneError, TargetError, UsageError
from onnxprune.planning import Plan, make_plan, select
from onnxprune.recipe import make_recipe
from onnxprune.registry import Entry, entries
from onnxprune.types import Recipe
from tests.laws.candidates import statistics
from tests.tensors_made import Tensors, normal, ordinary, weight

ALLOCATIONS = [entry.name for entry in entries("allocation") if "ratios" not in entry.needs]
SIZES = {"conv1.weight": 72, "conv2.weight": 1152, "fc1.weight": 2048, "fc2.weight": 320}
TOTAL = sum(SIZES.values())


def plan_of(tensors: Tensors | None = None, **asked: Any) -> Plan:
    made = tensors or ordinary()
    recipe = make_recipe(asked)
    given = statistics(resolve(recipe)[1], made.weights)
    plan = make_plan(recipe, made.weights, made.values, given=given)
    assert {path: int(gone.sum()) for path, gone in made.pruned(plan).items()} == plan.zeros
    return plan


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("loop.body/enc/w", True),
        ("w", True),
        ("gemm_3", True),
        ("*/w", True),
        ("loop.*", True),
        ("gemm_?", True),
        ("gemm_[0-9]", True),
        ("enc/w", False),
        ("W", False),
        ("gemm", False),
        ("", False),
    ],
)
def test_a_glob_matches_path_name_or_node(pattern: str, found: bool) -> None:
    assert matches(pattern, weight("loop.body/enc/w", (2, 2), "gemm_3")) == found


def test_a_name_with_brackets_is_matched_as_it_is_spelt() -> None:
    one, other = weight("blocks[0].w", (2, 2)), weight("blocks0.w", (2, 2))
    assert matches("blocks[0].w", one)
    assert matches("blocks[[]*", one)
    assert not matches("blocks[[]*", other)


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        ({}, [0, 1, 2, 3]),
        ({"include": ["conv*"]}, [0, 1]),
        ({"include": ["conv*", "fc2.weight"]}, [0, 1, 3]),
        ({"exclude": ["conv*"]}, [2, 3]),
        ({"include": ["conv*"], "exclude": ["conv1*"]}, [1]),
        ({"min_size": 320}, [1, 2, 3]),
        ({"min_size": 321}, [1, 2]),
        ({"exclude": ["nothing"]}, [0, 1, 2, 3]),
    ],
)
def test_the_tensors_that_take_part_are_those_asked_for(
    asked: dict[str, Any], chosen: list[int]
) -> None:
    plan = plan_of(sparsity=0.5, **asked)
    names = list(SIZES)
    assert [one.path for one in plan.weights] == [names[index] for index in chosen]
    assert {skip.name for skip in plan.skipped} == set(names) - {w.path for w in plan.weights}
    assert sum(plan.zeros.values()) == round(0.5 * sum(one.size for one in plan.weights))


def test_every_tensor_left_out_has_its_reason() -> None:
    weights = [
        weight("table", (50, 4), embedding=True),
        weight("small", (2, 2)),
        weight("named", (9, 9)),
        weight("other", (9, 9)),
        weight("kept", (9, 9)),
    ]
    recipe = Recipe(0.5, include=("t*", "s*", "n*", "k*"), exclude=("named",), min_size=5)
    plan = select(recipe, weights)
    assert [one.path for one in plan.weights] == ["kept"]
    assert {skip.name: (skip.reason, skip.size) for skip in plan.skipped} == {
        "table": ("embedding table (--include-embeddings prunes it)", 200),
        "small": ("fewer than 5 elements (--min-size)", 4),
        "named": ("excluded by --exclude", 81),
        "other": ("not matched by --include", 81),
    }
    wider = select(replace(recipe, include_embeddings=True), weights)
    assert [one.path for one in wider.weights] == ["table", "kept"]


def test_a_glob_that_matches_nothing_is_an_error_or_a_warning() -> None:
    for asked in ({"include": ["nope"]}, {"layer": {"nope": 0.5}}):
        with pytest.raises(UsageError, match="'nope' matches no prunable tensor"):
            plan_of(sparsity=0.5, **asked)
    assert plan_of(sparsity=0.5, exclude=["nope"]).warnings == [
        "--exclude 'nope' matches nothing"
    ]


def test_a_plan_without_tensors_is_refused_with_the_reasons() -> None:
    with pytest.raises(TargetError, match=r"nothing to prune: .*excluded by --exclude"):
        plan_of(sparsity=0.5, exclude=["*"])
    with pytest.raises(TargetError, match=r"nothing to prune: no prunable weight$"):
        plan_of(Tensors({}), sparsity=0.5, include=["x"])


@pytest.mark.parametrize("sparsity", [0.0, 0.001, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", ALLOCATIONS)
def test_the_total_is_exact(name: str, sparsity: float) -> None:
    plan = plan_of(sparsity=sparsity, method=name)
    assert sum(plan.zeros.values()) == round(sparsity * TOTAL)
    assert list(plan.zeros) == list(SIZES)


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_a_fixed_layer_has_its_count_and_the_total_stays(name: str) -> None:
    plan = plan_of(sparsity=0.5, method=name, layer={"fc1*": 0.301})
    assert plan.zeros["fc1.weight"] == round(0.301 * 2048)
    assert sum(plan.zeros.values()) == round(0.5 * TOTAL)


@pytest.mark.parametrize("name", ALLOCATIONS)
def test_caps_hold_for_every_tensor(name: str) -> None:
    plan = plan_of(sparsity=0.5, method=name, max_layer_sparsity=0.55, min_kept=150)
    for path, size in SIZES.items():
        assert plan.zeros[path] <= int(Fraction("0.55") * size)
        assert size - plan.zeros[path] >= min(150, size)
    assert plan.zeros["conv1.weight"] == 0
    assert sum(plan.zeros.values()) == round(0.5 * TOTAL)


def test_the_last_pattern_that_matches_fixes_a_layer() -> None:
    plan = plan_of(sparsity=0.5, layer={"fc*": 0.2, "fc1*": 0.3, "conv1*": 0})
    counts = {"conv1.weight": 0, "fc1.weight": round(0.3 * 2048), "fc2.weight": 64}
    assert plan.zeros == counts | {"conv2.weight": 1796 - sum(counts.values())}


def test_a_cap_is_no_less_strict_for_a_decimal_that_floats_miss() -> None:
    made = Tensors({"w": normal("w", 10, 10), "v": normal("v", 10, 10)})
    plan = make_plan(
        make_recipe({"sparsity": 0.29, "max_layer_sparsity": 0.29}), made.weights, made.values
    )
    assert plan.zeros == {"w": 29, "v": 29}


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        (
            {"sparsity": 0.1, "layer": {"fc1*": 0.5}},
            "--layer alone makes 1,024 zeros, the target is 359",
            "the smallest feasible sparsity is 0.2851",
        ),
        (
            {"sparsity": 0.9, "max_layer_sparsity": 0.5},
            "the caps on tensors: at most 1,796 of 3,592 weights can go",
            "the largest feasible sparsity is 0.5000",
        ),
        (
            {"sparsity": 0.5, "layer": {"fc1*": 0.6}, "max_layer_sparsity": 0.55},
            "--layer makes 1,229 zeros in 'fc1.weight', the caps on tensors allow 1,126",
            "--max-layer-sparsity and --min-kept hold for every tensor",
        ),
        (
            {"sparsity": 0.5, "layer": {"fc2*": 1}, "min_kept": 1},
            "--layer makes 320 zeros in 'fc2.weight', the caps on tensors allow 319",
            "--max-layer-sparsity and --min-kept hold for every tensor",
        ),
        (
            {"sparsity": 0.9, "layer": {"*": 0.5}},
            "the caps on tensors: at most 1,796 of 3,592 weights can go",
            "the largest feasible sparsity is 0.5000",
        ),
        (
            {"sparsity": 0.7, "method": "uniform_plus", "layer": {"fc1*": 0.5}},
            "uniform_plus cannot reach the target: at most 1,408 of 1,544 weights can go",
            "these are the weights that --layer leaves free",
        ),
    ],
)
def test_what_cannot_be_met_is_refused_with_what_can(
    asked: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(TargetError) as refused:
        plan_of(**asked)
    assert (refused.value.message, refused.value.hint) == (message, hint)


def test_a_tensor_that_ends_empty_is_warned_of() -> None:
    plan = plan_of(sparsity=0.5, layer={"fc2*": 1})
    assert plan.warnings == ["'fc2.weight' ends with no weight at all"]
    assert plan_of(sparsity=0.5, method="uniform").warnings == []


def test_methods_and_allocations_are_told_apart() -> None:
    def pair(**asked: Any) -> tuple[str, str]:
        score, allocate = resolve(make_recipe({"sparsity": 0.5, **asked}))
        return score.name, allocate.name

    assert pair() == ("magnitude", "lamp")
    assert pair(method="erk") == ("magnitude", "erk")
    assert pair(method="mt") == ("magnitude", "min_threshold")
    assert pair(method="random") == ("random", "global")
    assert pair(method="random", allocation="lamp") == ("random", "lamp")
    assert pair(allocation="uniform") == ("magnitude", "uniform")
    assert pair(allocation="from:x") == ("magnitude", "from")
    assert pair(method="erk", allocation="erk") == ("magnitude", "erk")
    with pytest.raises(
        UsageError, match="erk is an allocation, and --allocation er is another"
    ):
        pair(method="erk", allocation="er")


def test_random_scores_depend_on_the_seed_and_the_name_only() -> None:
    made = ordinary()
    alone = Tensors({"fc1.weight": made.arrays["fc1.weight"]})
    asked = {"sparsity": 0.5, "method": "random", "allocation": "uniform"}
    both = [made.pruned(plan_of(made, **asked, seed=seed)) for seed in (0, 0, 1)]
    one = alone.pruned(plan_of(alone, **asked))
    np.testing.assert_array_equal(both[0]["fc1.weight"], both[1]["fc1.weight"])
    np.testing.assert_array_equal(both[0]["fc1.weight"], one["fc1.weight"])
    assert not np.array_equal(both[0]["fc1.weight"], both[2]["fc1.weight"])


def failing(_: Sequence[Candidate], __: int) -> list[int]:
    raise ValueError("no idea")


BROKEN: dict[str, tuple[Callable[..., Any], str]] = {
    "too few": (
        lambda c, z: [0] * len(c),
        "gave 0 zeros for 4 tensors, asked were 1,796 for 4",
    ),
    "too short": (lambda c, z: [z], "gave 1,796 zeros for 1 tensors"),
    "too many from one": (
        lambda c, z: [z, 0, 0, 0],
        "took 1,796 from 'conv1.weight', which may give 72",
    ),
    "negative": (lambda c, z: [-1, 0, z + 1, 0], "took -1 from 'conv1.weight'"),
    "nothing": (lambda c, z: None, "failed: TypeError: 'NoneType' object is not iterable"),
    "words": (lambda c, z: ["a"] * 4, "failed: ValueError: invalid literal"),
    "error": (failing, "failed: ValueError: no idea"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_allocation_is_held_to_its_contract(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    function, message = BROKEN[name]
    broken = Entry("broken", "allocation", function, "Break.", "", (), {})
    monkeypatch.setattr("onnxprune.registry._entries", {**registered(), "broken": broken})
    with pytest.raises(UsageError) as refused:
        plan_of(sparsity=0.5, allocation="broken")
    assert refused.value.message.startswith("allocation broken ")
    assert message in refused.value.message


def registered() -> dict[str, Entry]:
    return {entry.name: entry for entry in entries()}


def test_numbers_that_are_none_are_refused_and_named() -> None:
    made = ordinary()
    made.arrays["fc1.weight"][3, 5] = np.inf
    with pytest.raises(InputError, match=r"'fc1.weight': Inf at \[3,5\]"):
        plan_of(made, sparsity=0.5)
    assert isinstance(plan_of(made, sparsity=0.5, exclude=["fc1*"]), Plan)


def test_without_a_sparsity_there_is_nothing_to_plan() -> None:
    with pytest.raises(OnnxpruneError, match="how much should go"):
        plan_of()


@pytest.mark.parametrize("name", ["uniform", "global", "lamp", "erk"])
@given(
    shapes=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1, max_size=4),
    sparsity=st.floats(0, 0.9),
    fixed=st.floats(0, 0.9),
    highest=st.one_of(st.sampled_from([1.0, 0.9]), st.floats(0.2, 1)),
    kept=st.integers(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_budgets_sum_to_the_total_with_layers_fixed_and_caps_on_all(
    name: str,
    shapes: list[tuple[int, int]],
    sparsity: float,
    fixed: float,
    highest: float,
    kept: int,
) -> None:
    made = Tensors({f"t{n}": normal(f"t{n}", *shape) for n, shape in enumerate(shapes)})
    asked = {"sparsity": sparsity, "allocation": name, "layer": {"t0": fixed}}
    try:
        plan = plan_of(made, max_layer_sparsity=highest, min_kept=kept, **asked)
    except TargetError as error:
        assert "feasible" in (error.hint or "") or "--layer" in error.message + (
            error.hint or ""
        )
        return
    sizes = {each.path: each.size for each in made.weights}
    assert sum(plan.zeros.values()) == round(sparsity * sum(sizes.values()))
    assert plan.zeros["t0"] == round(fixed * sizes["t0"])
    for path, zeros in plan.zeros.items():
        assert 0 <= zeros <= sizes[path] - min(kept, sizes[path])
        assert zeros <= Fraction(repr(highest)) * sizes[path]
