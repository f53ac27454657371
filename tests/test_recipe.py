"""Recipes: every field from options and from TOML files, checked and typed."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnxprune.errors import UsageError
from onnxprune.recipe import make_recipe, own_options, parse_sparsity, read_recipe
from onnxprune.registry import Entry
from onnxprune.types import Recipe
from tests.conftest import Ran

Run = Callable[..., Ran]
RECOVERY = """
recover = ["distill", "refit"]
epochs = 7
time_budget = "1.5h"
lr = 0.5
optimizer = "sgd"
augment = "flip,mix"
match = ["hidden*"]
label_weight = 0.25
held_out = 0.2
rewind = "early.onnx"
"""
"""What is about winning accuracy back, which needs samples to run."""

PLAIN = """
sparsity = "75%"
method = "random"
allocation = "min_threshold"
include = ["conv*", "fc*"]
exclude = ["fc2*"]
max_layer_sparsity = 0.9
min_kept = 20
min_size = 100
include_embeddings = true
seed = 3
steps = 1
schedule = "linear"
batches_per_step = 2
precision = "float64"
loss = "mse"
bn = "batch"
curvature = "mc"
group = "row"

[options]
sigma = 100
mode = "protect"

[layer]
"conv1.weight" = 0.25
"""
SHAPED = """
pattern = "filters"
channel_multiple = 4
remove = true
"""
EVERY = RECOVERY + SHAPED + PLAIN
READ = Recipe(
    sparsity=0.75,
    method="random",
    allocation="min_threshold",
    options={"sigma": 100, "mode": "protect"},
    include=("conv*", "fc*"),
    exclude=("fc2*",),
    layer={"conv1.weight": 0.25},
    max_layer_sparsity=0.9,
    min_kept=20,
    min_size=100,
    include_embeddings=True,
    seed=3,
    steps=1,
    schedule="linear",
    batches_per_step=2,
    precision="float64",
    loss="mse",
    bn="batch",
    curvature="mc",
    group="row",
    pattern="filters",
    channel_multiple=4,
    remove=True,
    recover=("refit", "distill"),
    epochs=7,
    time_budget=5400.0,
    lr=0.5,
    optimizer="sgd",
    augment=("flip", "mix"),
    match=("hidden*",),
    label_weight=0.25,
    held_out=0.2,
    rewind="early.onnx",
)


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[[str], Path]:
    def written(text: str) -> Path:
        path = tmp_path / "r.toml"
        path.write_text(text)
        return path

    return written


def asked(ran: Ran) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)["recipe"]
    return found


def test_a_file_holds_every_field(recipe: Callable[[str], Path]) -> None:
    made = make_recipe(read_recipe(recipe(EVERY)))
    assert made == READ
    default = Recipe()
    for field in fields(Recipe):
        assert getattr(made, field.name) != getattr(default, field.name)


def test_a_file_does_what_the_options_do(
    run: Run, digits: Path, recipe: Callable[[str], Path]
) -> None:
    common = ["--dry-run", "--json", "--no-verify"]
    by_file = run(digits, "--recipe", recipe(PLAIN), *common)
    by_options = run(
        *(digits, "-s", "75%", "-m", "random", "--allocation", "min_threshold"),
        *("--set", "sigma=100", "--set", "mode=protect", "--include", "conv*"),
        *("--include", "fc*", "--exclude", "fc2*", "--layer", "conv1.weight=0.25"),
        *("--max-layer-sparsity", "0.9", "--min-kept", "20", "--min-size", "100"),
        *("--include-embeddings", "--seed", "3", "--steps", "1", "--schedule", "linear"),
        *("--batches-per-step", "2", "--precision", "float64", "--loss", "mse"),
        *("--bn", "batch", "--curvature", "mc", "--group", "row", *common),
    )
    one, other = json.loads(by_file.out), json.loads(by_options.out)
    assert one["tensors"] == other["tensors"]
    assert one["recipe"] | {"options": {"sigma": "100", "mode": "protect"}} == other["recipe"]
    zeros = {tensor["name"]: tensor["zeros"] for tensor in one["tensors"]}
    assert zeros.keys() == {"conv1.weight", "conv2.weight", "fc1.weight"}
    assert zeros["conv1.weight"] == 36


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["-s", "0.5"], {"sparsity": 0.5}),
        (["-m", "magnitude"], {"method": "magnitude"}),
        (["--allocation", "uniform", "--set", "sigma=100"], None),
        (["--set", "sigma=7"], {"options": {"sigma": "7", "mode": "protect"}}),
        (["--include", "fc1*", "--include", "conv1*"], {"include": ["fc1*", "conv1*"]}),
        (["--exclude", "conv2*"], {"exclude": ["conv2*"]}),
        (["--layer", "fc1*=0.75"], {"layer": {"fc1*": 0.75}}),
        (["--max-layer-sparsity", "0.95"], {"max_layer_sparsity": 0.95}),
        (["--min-kept", "0"], {"min_kept": 0}),
        (["--min-size", "0"], {"min_size": 0}),
        (["--seed", "0"], {"seed": 0}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_an_option_wins_over_the_file(
    words: list[str],
    changed: dict[str, Any] | None,
    run: Run,
    digits: Path,
    recipe: Callable[[str], Path],
) -> None:
    common = ["--recipe", recipe(PLAIN), "--dry-run", "--json", "--no-verify"]
    ran = run(digits, *common, *words)
    if changed is None:
        # The file's options are then those of no one.
        assert (ran.code, ran.out) == (2, "")
        assert "unknown option 'sigma'; those of random and uniform: none" in ran.err
        return
    assert asked(ran) == asked(run(digits, *common)) | changed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sparsty = 0.5", "unknown key 'sparsty'; did you mean sparsity?"),
        ("exlude = []", "unknown key 'exlude'; did you mean exclude?"),
        (
            "qwxyz = 1",
            "unknown key 'qwxyz'; known are allocation, augment, batches_per_step, bn,",
        ),
        ("output = 'x'", "unknown key 'output'; known are"),
        ("sparsity = 90", "--sparsity lies in [0, 1), got 90; did you mean 0.9?"),
        ("sparsity = true", "--sparsity is a number such as 0.9 or 90%, not 'True'"),
        ("sparsity = [0.5]", "--sparsity is a number such as 0.9 or 90%, not '[0.5]'"),
        ("sparsity = nan", "--sparsity lies in [0, 1), got nan"),
        ("sparsity = inf", "--sparsity lies in [0, 1), got inf"),
        ("method = 3", "method is a name, not 3"),
        ("method = ''", "unknown method ''"),
        ("allocation = ['erk']", "allocation is a name, not ['erk']"),
        ("allocation = ''", "unknown allocation ''"),
        ("options = 'sigma=3'", "options is a table of NAME = VALUE"),
        ("options = {sigma = [1]}", "option 'sigma' is a number or a string, not [1]"),
        ("options = {sigma = 1979-05-27}", "option 'sigma' is a number or a string"),
        ("options = {power = 2}", "unknown option 'power'; those of magnitude and lamp: none"),
        ("include = 3", "--include takes globs, not 3"),
        ("include = ['a', 3]", "--include takes globs, not ['a', 3]"),
        ("exclude = {a = 1}", "--exclude takes globs, not {'a': 1}"),
        ("layer = 3", "--layer takes GLOB=SPARSITY, not 3"),
        ("layer = ['fc1']", "--layer takes GLOB=SPARSITY, not 'fc1'"),
        ("layer = {'fc1*' = 'x'}", "--layer fc1* is a number such as 0.9 or 90%, not 'x'"),
        ("layer = {'fc1*' = true}", "--layer fc1* is a number such as"),
        ("max_layer_sparsity = 90", "--max-layer-sparsity lies in [0, 1), got 90"),
        ("max_layer_sparsity = nan", "--max-layer-sparsity lies in [0, 1), got nan"),
        ("min_kept = 1.5", "--min-kept is a whole number, not '1.5'"),
        ("min_kept = inf", "--min-kept is a whole number, not 'inf'"),
        ("min_kept = nan", "--min-kept is a whole number, not 'nan'"),
        ("min_kept = true", "--min-kept is a whole number, not 'True'"),
        ("min_kept = -1", "--min-kept must not be negative"),
        ("min_size = {}", "--min-size is a whole number, not '{}'"),
        ("seed = 'x'", "--seed is a whole number, not 'x'"),
        ("include_embeddings = 1", "include_embeddings is true or false, not 1"),
        ("sparsity =", "Invalid value"),
        ("sparsity = 0.5\nsparsity = 0.5", "Cannot overwrite a value"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(
    text: str, message: str, run: Run, digits: Path, recipe: Callable[[str], Path]
) -> None:
    sparsity = [] if "sparsity" in text.split("=")[0].split() else ["-s", "0.5"]
    ran = run(digits, "--recipe", recipe(text), *sparsity, "--dry-run", "--no-verify")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert ran.err.count("\n") == 1


def test_a_file_that_is_no_text_is_refused(run: Run, digits: Path, tmp_path: Path) -> None:
    for name, content in {"latin": b"\xff\xfe", "nul": b"\x00"}.items():
        (tmp_path / name).write_bytes(content)
        ran = run(digits, "-s", "0.5", "--recipe", tmp_path / name, "--dry-run")
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert run(digits, "-s", "0.5", "--recipe", tmp_path).err.endswith("is a directory\n")


def test_a_file_alone_may_say_how_much_goes(
    run: Run, digits: Path, recipe: Callable[[str], Path]
) -> None:
    words = [digits, "--dry-run", "--no-verify", "--json", "--recipe"]
    assert asked(run(*words, recipe("sparsity = 0.5")))["sparsity"] == 0.5
    assert "how much should go?" in run(*words, recipe("seed = 1")).err


def test_an_allocation_alone_divides_what_magnitude_ranks() -> None:
    assert make_recipe({"sparsity": 0.5}).method == "lamp"
    assert make_recipe({"sparsity": 0.5, "allocation": "erk"}).method == "magnitude"
    assert make_recipe({"allocation": "from:x.npz"}).method == "magnitude"
    assert make_recipe({"method": "random", "allocation": "erk"}).method == "random"


def test_globs_may_be_one_string_and_layers_a_list() -> None:
    assert make_recipe({"include": "a*"}).include == ("a*",)
    assert make_recipe({"layer": ["a=0.5", "b[0]=c=1"]}).layer == {"a": 0.5, "b[0]=c": 1.0}


def test_options_of_a_method_keep_types_that_json_has() -> None:
    options = {"a": np.int64(3), "b": np.float32(0.5), "c": True, "d": float("inf"), "e": "x"}
    made = make_recipe({"options": options}).options
    assert made == {"a": 3, "b": 0.5, "c": True, "d": "inf", "e": "x"}
    assert [type(value) for value in made.values()] == [int, float, bool, str, str]


def typed(**options: Any) -> dict[str, Any]:
    """Read options of a method that has one of each type."""
    defaults = {"flag": False, "count": 1, "power": 1.0, "mode": "a"}
    entry = Entry("mine", "method", print, "Do.", "", (), defaults)
    return own_options(entry, make_recipe({"options": options}).options)


def test_options_of_a_method_get_the_types_of_their_defaults() -> None:
    assert typed() == {}
    for word in ("yes", "True", "1", "on", True, 1):
        assert typed(flag=word) == {"flag": True}
    for word in ("no", "FALSE", "0", "off", False, 0):
        assert typed(flag=word) == {"flag": False}
    found = typed(count="3", power="2", mode=7, other="x")
    assert found == {"count": 3, "power": 2.0, "mode": "7"}
    assert [type(value) for value in found.values()] == [int, float, str]
    assert typed(power=float("inf")) == {"power": float("inf")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"flag": "maybe"}, "--set flag is true or false, not 'maybe'"),
        ({"count": "1.5"}, "--set count is a whole number, not '1.5'"),
        ({"count": 1.5}, "--set count is a whole number, not '1.5'"),
        ({"count": float("inf")}, "--set count is a whole number, not 'inf'"),
        ({"power": "two"}, "--set power is a number, not 'two'"),
    ],
)
def test_an_option_of_another_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        typed(**options)
    assert refused.value.message == message


def test_whole_numbers_may_be_large() -> None:
    assert make_recipe({"seed": 2**53 + 1}).seed == 2**53 + 1
    assert make_recipe({"seed": 4.0}).seed == 4


@given(st.integers(0, 99_999))
def test_a_percentage_means_its_hundredth_exactly(thousandths: int) -> None:
    spelled = f"{thousandths // 1000}.{thousandths % 1000:03}"
    expected = float(f"{thousandths / 100_000:.5f}")
    assert parse_sparsity(f"{spelled}%") == expected
    assert parse_sparsity(f" {spelled} % ") == expected


@given(st.floats(0, 1, exclude_max=True))
def test_a_sparsity_is_read_as_it_is(value: float) -> None:
    assert parse_sparsity(value) == parse_sparsity(repr(value)) == value


@pytest.mark.parametrize("text", ["1", "1.0", "100", "100%", "100.0 %"])
def test_a_sparsity_of_all_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="must be below 1") as refused:
        parse_sparsity(text)
    assert refused.value.hint == "try 0.99"


@pytest.mark.parametrize(
    "text", ["", "%", "90%%", "a%", "0.5x", "0,5", "None", "-0.1", "1e99", "101"]
)
def test_what_is_no_sparsity_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--sparsity"):
        parse_sparsity(text)


@pytest.mark.parametrize(
    ("text", "meant"), [("90", "0.9"), ("1.5", "0.015"), ("99.9", "0.999"), ("2", "0.02")]
)
def test_a_percentage_without_its_sign_is_recognised(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_sparsity(text)
    assert refused.value.hint == f"did you mean {meant}?"
