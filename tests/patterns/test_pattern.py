"""Patterns by name; what they ask of a recipe; which tensors they fit."""

from typing import Any

import pytest

from onnxprune.errors import TargetError, UsageError
from onnxprune.patterns.pattern import Blocks, Filters, Groups, misfit, parse_pattern
from onnxprune.planning import make_plan, select
from onnxprune.recipe import make_recipe
from onnxprune.types import Layout, Recipe, Weight
from tests.tensors_made import Tensors, normal, weight


@pytest.mark.parametrize("text", ["unstructured", "2:4", "1:16", "block:4x8", "filters"])
def test_a_pattern_is_spelt_as_it_is_read(text: str) -> None:
    assert str(parse_pattern(text)) == text
    assert parse_pattern(f" {text.upper()} ") == parse_pattern(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("4:2", "--pattern 4:2: of M input channels N are kept, and N lies in 1 to M - 1"),
        ("0:4", "--pattern 0:4: of M input channels N are kept, and N lies in 1 to M - 1"),
        ("4:4", "N lies in 1 to M - 1"),
        ("1:99999", "N lies in 1 to M - 1"),
        ("block:0x4", "a block has at least one output and one input channel"),
        ("block:4x0", "a block has at least one output and one input channel"),
        ("block:4", "--pattern is one of unstructured, N:M such as 2:4"),
        ("-2:4", "not '-2:4'"),
        ("nonsense", "not 'nonsense'"),
        ("", "not ''"),
        (24, "not 24"),
    ],
)
def test_what_is_no_pattern_is_refused(text: Any, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_recipe({"sparsity": 0.5, "pattern": text})
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sparsity": 0.6}, "fixes the sparsity of every tensor to 0.5, asked was 0.6"),
        ({"layer": {"a": 0.9}}, "--layer a=0.9 is another"),
        ({"max_layer_sparsity": 0.4}, "--max-layer-sparsity 0.4 is less"),
        ({"channel_multiple": 2}, "--channel-multiple is of whole filters"),
    ],
)
def test_n_of_m_refuses_what_contradicts_it(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        make_recipe({"pattern": "2:4"} | more)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"method": "lamp"}, "so that lamp has nothing to divide"),
        ({"allocation": "erk"}, "so that erk has nothing to divide"),
        ({"min_kept": 33}, "keeps 32 of 64 weights in 'a'"),
        ({"options": {"norm": "l2"}}, "unknown option 'norm'"),
    ],
)
def test_n_of_m_leaves_nothing_to_divide(more: dict[str, Any], words: str) -> None:
    made = Tensors({"a": normal("a", 8, 8)})
    recipe = make_recipe({"pattern": "2:4"} | more)
    with pytest.raises(UsageError) as raised:
        make_plan(recipe, made.weights, made.values)
    assert words in str(raised.value)


def test_n_of_m_says_what_the_sparsity_is() -> None:
    assert make_recipe({"pattern": "2:4"}).sparsity == 0.5
    assert make_recipe({"pattern": "1:3", "sparsity": "66.7%"}).sparsity == 2 / 3
    assert make_recipe({"pattern": "2:4"}).method == "magnitude"
    even = {"layer": {"a": 0.5}, "max_layer_sparsity": 0.5, "allocation": "uniform"}
    made = make_recipe({"pattern": "2:4", "min_kept": 4} | even)
    assert (made.sparsity, made.layer) == (0.5, {"a": 0.5})


@pytest.mark.parametrize("pattern", ["filters", "block:2x2"])
def test_whole_units_refuse_rows_and_unknown_norms(pattern: str) -> None:
    made = Tensors({"a": normal("a", 8, 8)})
    for more in ({"group": "row"}, {"options": {"norm": "l3"}}):
        recipe = make_recipe({"pattern": pattern, "sparsity": 0.5} | more)
        with pytest.raises(UsageError, match=r"--group row|--set norm is l1 or l2"):
            make_plan(recipe, made.weights, made.values)


def recurrent() -> Weight:
    layout = Layout((1, 12, 8), (0, 1), (), (2,))
    return Weight("w", "LSTM", "n", (1, 12, 8), "float32", 96, layout)


def test_what_a_pattern_does_not_fit_is_left_alone_with_the_reason() -> None:
    flat, table = weight("a", (6, 9)), weight("t", (8, 8), embedding=True)
    depthwise = weight("d", (8, 1, 3, 3))
    assert misfit(Groups(2, 4), flat) == "input channels are no multiple of 4 (--pattern 2:4)"
    assert misfit(Groups(1, 3), flat) is None
    assert (
        misfit(Groups(2, 4), depthwise) == "one input channel for each output (--pattern 2:4)"
    )
    assert "embedding table" in (misfit(Groups(2, 4), table) or "")
    assert misfit(Groups(2, 4), recurrent()) is None
    assert misfit(Blocks(4, 3), flat) == "outputs are no multiple of 4 (--pattern block:4x3)"
    assert "no multiple of 2" in (misfit(Blocks(3, 2), flat) or "")
    assert misfit(Blocks(3, 3), flat) is None
    assert misfit(Filters(), table) == "embedding table, which has no filters"
    assert misfit(Filters(), recurrent()) == "recurrent weight, whose outputs are gates"
    assert misfit(Filters(), depthwise) is None


def test_a_plan_lists_what_the_pattern_does_not_fit() -> None:
    weights = [weight("a", (6, 9)), weight("b", (8, 8))]
    plan = select(Recipe(0.5, pattern="2:4"), weights)
    assert [each.path for each in plan.weights] == ["b"]
    assert [(each.name, each.size) for each in plan.skipped] == [("a", 54)]


def test_nothing_that_fits_is_an_error_that_says_why() -> None:
    made = Tensors({"a": normal("a", 6, 9)})
    with pytest.raises(TargetError, match="left out: input channels are no multiple of 4"):
        make_plan(make_recipe({"pattern": "2:4"}), made.weights, made.values)
