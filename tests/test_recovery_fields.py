"""The fields of a recipe that are about recovery: their spellings, and what is refused."""

from pathlib import Path
from typing import Any

import pytest

from onnxprune.errors import UsageError
from onnxprune.recovery_fields import FIELDS, RECOVERIES, recovery_field
from onnxprune.types import Recipe

NUMBERS = ("lr", "label_weight", "held_out")


def refusal(name: str, value: Any) -> tuple[str, str | None]:
    with pytest.raises(UsageError) as caught:
        recovery_field(name, value)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_one_of_a_recipe_and_may_be_left_to_its_default(name: str) -> None:
    assert hasattr(Recipe(), name)
    assert recovery_field(name, None) == (() if name == "recover" else None)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("refit", ("refit",)),
        ("distill,refit", ("refit", "distill")),
        (" bias , sparsegpt,, statistics ", ("sparsegpt", "statistics", "bias")),
        (["distill", "bias"], ("bias", "distill")),
        (("refit", "refit"), ("refit",)),
        ("refit,refit", ("refit",)),
        ("", ()),
        (",", ()),
        ([], ()),
        (",".join(reversed(RECOVERIES)), RECOVERIES),
    ],
)
def test_what_is_tried_comes_in_the_order_in_which_it_is_done(
    value: Any, wanted: tuple[str, ...]
) -> None:
    assert recovery_field("recover", value) == wanted


def test_a_way_that_is_not_known_is_refused_with_the_nearest_one() -> None:
    words = "--recover is of refit, sparsegpt, statistics, bias, distill; not '{}'"
    assert refusal("recover", "refit,distil") == (
        words.format("distil"),
        "did you mean distill?",
    )
    assert refusal("recover", ["xyz"]) == (words.format("xyz"), None)
    assert refusal("recover", "Refit") == (words.format("Refit"), "did you mean refit?")


@pytest.mark.parametrize("name", ["recover", "augment"])
@pytest.mark.parametrize("value", [3, True, {"refit": 1}, [1], ["refit", None], {"refit"}])
def test_what_is_no_list_of_words_is_refused(name: str, value: Any) -> None:
    message = f"--{name} takes words with commas between them, not {value!r}"
    assert refusal(name, value) == (message, None)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("flip", ("flip",)),
        ("mix, flip", ("mix", "flip")),
        (["shift", "shift", "mix"], ("shift", "mix")),
        ("none", ()),
        (["none"], ()),
        ("", ()),
        ([], ()),
    ],
)
def test_samples_are_changed_in_the_ways_that_are_named(
    value: Any, wanted: tuple[str, ...]
) -> None:
    assert recovery_field("augment", value) == wanted


@pytest.mark.parametrize(("value", "wrong"), [("turn", "turn"), ("flip,none", "none")])
def test_another_change_of_samples_is_refused(value: str, wrong: str) -> None:
    message, _ = refusal("augment", value)
    assert message == f"--augment is of flip, shift, mix; not '{wrong}'"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        ("1.5h", 5400),
        ("2d", 172800),
        (".5h", 1800),
        (" 5 m ", 300),
        (45, 45),
        (0.25, 0.25),
        ("007s", 7),
    ],
)
def test_a_time_is_a_number_and_a_unit(value: Any, seconds: float) -> None:
    found = recovery_field("time_budget", value)
    assert found == seconds
    assert isinstance(found, float)


NO_TIMES: list[Any] = [
    *("", "m", "0", "0s", "0.0h", "-5", "+5", "5,0", "5 minutes", "1e3", "10M", "1.5.2"),
    *("5m3s", "nan", "inf", "9" * 400, True, False, 0, -1.0, float("nan"), float("inf")),
    *(["5m"], b"5"),
]


@pytest.mark.parametrize("value", NO_TIMES)
def test_what_is_no_time_is_refused(value: Any) -> None:
    message, _ = refusal("time_budget", value)
    assert message == f"--time-budget is a time such as 90s, 10m or 1.5h, not '{value}'"


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("lr", 0.1, 0.1),
        ("lr", "1e-3", 1e-3),
        ("lr", 1, 1.0),
        ("label_weight", 0, 0.0),
        ("label_weight", "2.5", 2.5),
        ("label_weight", 100, 100.0),
        ("held_out", 0.9, 0.9),
        ("held_out", "0.05", 0.05),
    ],
)
def test_numbers_are_read_in_their_ranges(name: str, value: Any, wanted: float) -> None:
    found = recovery_field(name, value)
    assert found == wanted
    assert isinstance(found, float)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", ["x", "", -0.1, "-1", True, False, "nan", float("inf"), [0.1], "10%"]
)
def test_what_is_no_number_or_less_than_nothing_is_refused(name: str, value: Any) -> None:
    option = "--" + name.replace("_", "-")
    message = f"{option} is a number that is not negative, not '{value}'"
    assert refusal(name, value) == (message, None)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("lr", 0, "--lr lies in (0, 1], got 0"),
        ("lr", "1.5", "--lr lies in (0, 1], got 1.5"),
        ("held_out", 0, "--held-out lies in (0, 0.9], got 0"),
        ("held_out", 0.91, "--held-out lies in (0, 0.9], got 0.91"),
        ("held_out", 1, "--held-out lies in (0, 0.9], got 1"),
    ],
)
def test_numbers_beyond_their_ranges_are_refused(name: str, value: Any, message: str) -> None:
    found, hint = refusal(name, value)
    assert found == message
    assert (hint is not None) is (name == "lr")


def test_a_model_to_rewind_to_is_named() -> None:
    assert recovery_field("rewind", "early.onnx") == "early.onnx"
    for value in (3, True, ["a.onnx"], Path("a.onnx")):
        assert refusal("rewind", value)[0] == f"--rewind names a model file, not {value!r}"
