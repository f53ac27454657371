"""Methods and allocations by name, from files and from other packages."""

import json
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest

import onnxprune
from onnxprune import registry
from onnxprune.errors import UsageError
from onnxprune.registry import allocation, entries, find, method
from tests.conftest import Ran
from tests.reference_weights import onnx_values

Run = Callable[..., Ran]
HEAD = "import numpy as np\nfrom onnxprune import allocation, method\n\n"
GOOD = f'''{HEAD}
@method("mine", allocation="uniform")
def mine(weight, *, power: float = 1.0):
    """Keep what is large in its column."""
    return np.abs(weight) ** power / np.abs(weight).max(axis=0)
'''
DIVIDED = f'''"""Halves (Nobody 2026)."""
{HEAD}
@allocation("halves")
def halves(candidates, zeros):
    """Take all from the tensor of most weights."""
    largest = max(range(len(candidates)), key=lambda i: candidates[i].weight.size)
    return [zeros if i == largest else 0 for i in range(len(candidates))]
'''
DRY = ["-s", "0.5", "--dry-run", "--no-verify", "--json"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(tmp_path)

    def written(text: str, name: str = "mine.py") -> Path:
        path = Path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return written


def zeros_of(ran: Ran) -> dict[str, int]:
    assert ran.code == 0, ran.err
    return {tensor["name"]: tensor["zeros"] for tensor in json.loads(ran.out)["tensors"]}


def test_a_method_from_a_file_scores(
    run: Run, digits: Path, file: Callable[..., Path]
) -> None:
    path = file(GOOD)
    words = ["-s", "0.5", "--no-verify", "-q", "-o", "out.onnx", "--set", "power=2"]
    ran = run(digits, "-m", f"./{path}", *words)
    assert ran == (0, "", "")
    before, after = onnx_values(digits), onnx_values("out.onnx")
    weight = before["fc1.weight"].astype("f4")
    scores = np.abs(weight) ** 2.0 / np.abs(weight).max(axis=0)
    kept = after["fc1.weight"] != 0
    assert np.count_nonzero(~kept) == weight.size // 2
    assert scores[kept].min() >= scores[~kept].max()


def test_an_allocation_from_a_file_divides(
    run: Run, digits: Path, file: Callable[..., Path]
) -> None:
    path = file(DIVIDED)
    expected = {"conv1.weight": 0, "conv2.weight": 0, "fc1.weight": 35784, "fc2.weight": 0}
    assert zeros_of(run(digits, "-m", path, *DRY)) == expected
    assert zeros_of(run(digits, "--allocation", path, *DRY)) == expected
    assert zeros_of(run(digits, "-m", "random", "--allocation", path, *DRY)) == expected
    assert find(str(path)).paper == "Nobody 2026"


def test_a_file_may_hold_a_method_and_its_allocation(
    run: Run, digits: Path, file: Callable[..., Path]
) -> None:
    text = GOOD.replace('"uniform"', '"halves"') + DIVIDED.partition(HEAD)[2]
    path = file(text)
    assert zeros_of(run(digits, "-m", path, *DRY))["fc1.weight"] == 35784
    assert zeros_of(run(digits, "-m", "random", "--allocation", path, *DRY))["fc2.weight"] == 0


def test_a_file_read_again_counts_as_it_is_now(file: Callable[..., Path]) -> None:
    path = file(GOOD)
    assert find(str(path)).allocation == "uniform"
    file(GOOD.replace('"mine"', '"renamed"').replace('"uniform"', '"erk"'))
    assert (find(str(path)).name, find(str(path)).allocation) == ("renamed", "erk")
    assert "mine" not in {entry.name for entry in entries()}


def test_files_of_one_name_do_not_disturb_each_other(file: Callable[..., Path]) -> None:
    one = file(GOOD, "one/mine.py")
    other = file(GOOD.replace('"mine"', '"yours"'), "other/mine.py")
    assert find(str(one)).name == "mine"
    assert find(str(other)).name == "yours"
    assert {"mine", "yours"} <= {entry.name for entry in entries()}
    # The later of two methods of one name counts.
    third = file(GOOD.replace("power: float = 1.0", "factor: float = 2.0"), "third.py")
    assert find(str(third)).options == {"factor": 2.0}
    assert find("mine").options == {"factor": 2.0}


BROKEN = {
    "syntax": ("def x(:\n", "SyntaxError: invalid syntax"),
    "no docstring": (
        f'{HEAD}@method("x")\ndef x(weight):\n    return weight\n',
        "method x: its docstring is what `onnxprune methods` prints",
    ),
    "statistic": (
        f'{HEAD}@method("x")\ndef x(weight, *, gradiant):\n    """Do."""\n    return weight\n',
        "method x: no statistic is called 'gradiant'; choose one of curvature, flow, gradient",
    ),
    "nothing": ("", "must register one method, it registers none; decorate one function"),
    "two": (
        GOOD + GOOD.partition(HEAD)[2].replace('"mine"', '"other"'),
        "must register one method, it registers mine, other",
    ),
    "taken": (
        GOOD.replace('"mine"', '"lamp"'),
        "method lamp: the name is taken by allocation",
    ),
    "alias": (GOOD.replace('"mine"', '"mt"'), "the name is taken by allocation min_threshold"),
    "import": ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named"),
    "exit": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "lines": ("raise ValueError('a\\nb')\n", "ValueError: a b"),
    "shape": (
        GOOD.replace("** power / np.abs(weight).max(axis=0)", "[0]"),
        "method mine returned (9,) for 'conv1.weight'",
    ),
    "score": (GOOD.replace("power /", "power / 0j /"), "method mine "),
    "raises": (GOOD.replace("np.abs(weight) **", "nope **"), "NameError: name 'nope'"),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
def test_a_broken_file_is_a_usage_error_in_one_line(
    name: str, run: Run, digits: Path, file: Callable[..., Path]
) -> None:
    text, message = BROKEN[name]
    ran = run(digits, "-m", file(text), "-s", "0.5", "--no-verify", "-o", "out.onnx")
    assert (ran.code, ran.out) == (2, ""), ran.err
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert sorted(path.name for path in Path().glob("*.onnx")) == []


@pytest.mark.filterwarnings("ignore:invalid value")
def test_scores_that_are_no_numbers_are_bad_input(
    run: Run, digits: Path, file: Callable[..., Path]
) -> None:
    path = file(GOOD.replace("np.abs(weight).max(axis=0)", "np.full_like(weight, np.nan)"))
    ran = run(digits, "-m", path, "-s", "0.5", "--no-verify", "-o", "out.onnx")
    assert (ran.code, ran.out) == (3, "")
    assert "method mine scored 'conv1.weight' with NaN or Inf" in ran.err
    assert not Path("out.onnx").exists()


def test_an_unknown_name_lists_what_there_is_and_suggests() -> None:
    with pytest.raises(UsageError) as refused:
        find("lmap")
    names = refused.value.message.partition("choose one of ")[2].split(", ")
    known = [name for entry in entries() for name in (entry.name, *entry.aliases)]
    assert names == sorted(known)
    assert refused.value.hint == "did you mean lamp?"
    with pytest.raises(UsageError) as refused:
        find("qqq", "allocation")
    assert refused.value.message.startswith("unknown allocation 'qqq'; choose one of er,")
    assert refused.value.hint == "onnxprune methods explains them"
    with pytest.raises(UsageError, match="unknown allocation 'random'"):
        find("random", "allocation")


def test_aliases_find_the_same_function() -> None:
    for entry in entries():
        for name in (entry.name, *entry.aliases):
            assert find(name) is entry


def test_what_a_function_declares_is_its_contract() -> None:
    @method("declared", allocation="erk", elementwise=True)
    def declared(weight, other=None, *, rng, power=2.0, flag=True):  # type: ignore[no-untyped-def]
        """Do this.

        And that.
        """

    entry = find("declared")
    assert (entry.summary, entry.needs) == ("Do this.", ("rng",))
    assert entry.options == {"power": 2.0, "flag": True}
    assert (entry.allocation, entry.elementwise, entry.kind) == ("erk", True, "method")


def test_an_allocation_of_one_s_own_is_registered_by_its_decorator() -> None:
    @onnxprune.allocation("first_only", aliases=("fo",))
    def first_only(candidates, zeros):  # type: ignore[no-untyped-def]
        """Take from the first."""
        return [zeros, *[0] * (len(candidates) - 1)]

    assert find("fo", "allocation").function is first_only
    assert allocation is onnxprune.allocation


class Point:
    """An entry point that does not load."""

    value = "other_package:method"

    def load(self) -> None:
        raise ImportError("libfoo.so is missing")


def test_a_plug_in_that_does_not_load_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_loaded", {"own"})
    monkeypatch.setattr(registry, "entry_points", lambda **_: [Point()])
    message = (
        "the plug-in other_package:method does not load: ImportError: libfoo.so is missing"
    )
    with pytest.raises(UsageError, match=message):
        find("theirs")


def test_a_plug_in_of_another_package_is_found(
    file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file(GOOD.replace('"mine"', '"theirs"'), "other_package_of_a_test.py")
    monkeypatch.syspath_prepend(Path.cwd())
    point = EntryPoint("x", "other_package_of_a_test:mine", "onnxprune.methods")
    monkeypatch.setattr(registry, "_loaded", {"own"})
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point] * (group == point.group)
    )
    assert find("theirs").summary == "Keep what is large in its column."
    assert "theirs" in {info.name for info in onnxprune.methods()}
