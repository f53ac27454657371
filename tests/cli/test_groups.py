"""Groups of options: their fields become options, and come back to the command as groups."""

from dataclasses import dataclass, fields
from typing import Annotated

import pytest
import typer

from onnxprune.cli.commands import command
from onnxprune.cli.given import own_options, recipe_of, sparsities_of, trial_of, words
from onnxprune.cli.groups import Choice, Limits, Looking, Printing, Run, Set, grouped
from onnxprune.errors import UsageError
from onnxprune.recipe import make_recipe
from onnxprune.samples.reading import Reading
from onnxprune.trials.trial import GATE, Trial

RUNNING = ("check", "sweep", "search", "sensitivity", "prune")


@dataclass(frozen=True)
class Sizes:
    """Two numbers."""

    height: Annotated[int, typer.Option("--height")]
    width: Annotated[int, typer.Option("--width")] = 3


seen: list[object] = []


def show(name: str, sizes: Sizes, *, often: Annotated[int, typer.Option()] = 1) -> None:
    """Take one group."""
    seen.append((name, sizes, often))


def test_the_fields_of_a_group_become_parameters() -> None:
    call = grouped(show)
    assert list(call.__signature__.parameters) == [  # type: ignore[attr-defined]
        "name",
        "height",
        "width",
        "often",
    ]
    seen.clear()
    call(name="a", height=1, width=2, often=4)
    assert seen == [("a", Sizes(1, 2), 4)]
    assert (call.__name__, call.__doc__) == ("show", "Take one group.")


def test_typer_reads_groups_as_options() -> None:
    app = typer.Typer()
    app.command()(grouped(show))
    parsed = typer.main.get_command(app)
    seen.clear()
    parsed.main(["x", "--height", "5"], standalone_mode=False)
    assert seen == [("x", Sizes(5, 3), 1)]


@pytest.mark.parametrize("name", RUNNING)
def test_every_command_that_runs_models_has_the_same_options(name: str) -> None:
    options = {option.name: option for option in command.commands[name].params}
    for group in (Set, Run, Printing):
        for field in fields(group):
            assert field.name in options
            same = next(o for o in command.commands["check"].params if o.name == field.name)
            assert options[field.name].opts == same.opts
            assert options[field.name].help == same.help
    limits = {field.name for field in fields(Limits)}
    assert limits & options.keys() == (set() if name in ("sweep", "sensitivity") else limits)


@pytest.mark.parametrize("group", [Set, Run, Limits, Printing, Looking, Choice])
def test_every_option_has_a_help_and_a_default(group: type) -> None:
    options = {o.name: o for each in command.commands.values() for o in each.params}
    made = group()
    for field in fields(group):
        assert options[field.name].help
        assert options[field.name].help.endswith((".", ";")) or options[field.name].metavar
        assert hasattr(made, field.name)


def test_limits_are_given_when_one_of_them_is() -> None:
    assert not Limits().given
    for field in fields(Limits):
        assert Limits(**{field.name: "0"}).given
    assert {field.name for field in fields(Limits)} == GATE.keys()


def test_without_options_a_trial_has_its_defaults() -> None:
    assert trial_of(Set(data="random"), Run(), Limits()) == Trial("random")


def test_options_reach_the_trial() -> None:
    samples = Set(
        data="set.npz",
        inputs=["a=b"],
        labels="kinds",
        samples=5,
        image_size="8x9",
        mean="1,2",
        std="3",
        pixel_range="255",
        layout="nhwc",
        channel_order="bgr",
        shape=["x=3x4"],
        cast=True,
    )
    run = Run(device="cpu", batch=2, timeout=1.5, task="values", no_latency=True)
    made = trial_of(samples, run, Limits(max_drop="5%", max_kl="2"), seed=7)
    assert made.reading == Reading(
        inputs={"a": "b"},
        labels="kinds",
        limit=5,
        image_size=(8, 9),
        mean=(1, 2),
        std=(3,),
        pixel_range=255,
        layout="NHWC",
        channel_order="BGR",
        shapes={"x": (3, 4)},
        cast=True,
        seed=7,
    )
    assert (made.data, made.device, made.batch, made.timeout) == ("set.npz", "cpu", 2, 1.5)
    assert (made.task, made.latency) == ("values", False)
    assert made.gate.options() == ("--max-drop 0.05", "--max-kl 2")
    assert trial_of(samples, run, Limits(), data="other.npz").data == "other.npz"


def test_lists_are_split_at_commas() -> None:
    assert words(" lamp, erk ,,global") == ["lamp", "erk", "global"]
    assert words("") == []
    assert sparsities_of("0.5, 90%") == [0.5, 0.9]
    assert own_options(["a-b=c=d", "e="]) == {"a_b": "c=d", "e": ""}
    with pytest.raises(UsageError, match="--set takes NAME=VALUE, not '=x'"):
        own_options(["=x"])


def test_choices_make_a_recipe() -> None:
    choice = Choice(include=["a*"], layer=["b=0.5"], min_kept=3, options=["sigma=2"])
    assert recipe_of(choice, "mt", "0.5") == make_recipe(
        {
            "method": "mt",
            "sparsity": "0.5",
            "include": ["a*"],
            "layer": {"b": 0.5},
            "min_kept": 3,
            "options": {"sigma": "2"},
        }
    )
