"""Where a user's own measure is found, and what is said where it is not."""

import sys
from pathlib import Path

import numpy as np
import pytest

from onnxprune.errors import UsageError
from onnxprune.trials.own_metric import load_metric

SOURCE = """
import neighbour_of_metric

LIMIT = 3

def accuracy(outputs, samples):
    return outputs["y"].argmax(1) == samples["labels"]

def mean(outputs, samples):
    return neighbour_of_metric.mean(outputs["y"])

mean.whole_set = True
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "measure_of_test.py").write_text(SOURCE)
    (tmp_path / "neighbour_of_metric.py").write_text("def mean(y):\n    return y.mean()\n")
    for name in ("measure_of_test", "neighbour_of_metric"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("place", ["measure_of_test.py", "measure_of_test"])
def test_a_function_is_found_in_a_file_or_a_module(folder: Path, place: str) -> None:
    before = list(sys.path)
    found = load_metric(f"{place}:accuracy")
    assert (found.name, found.whole_set) == (f"{place}:accuracy", False)
    outputs = {"y": np.array([[0, 1], [1, 0]])}
    assert found.function(outputs, {"labels": np.array([1, 1])}).tolist() == [True, False]
    assert load_metric(f"{place}:mean").whole_set
    assert sys.path == before


def test_a_file_in_another_folder_goes_by_its_last_name(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_metric(f"{folder}/measure_of_test.py:mean").name == "measure_of_test.py:mean"


def test_a_function_itself_may_be_given() -> None:
    def score(outputs: object, samples: object) -> float:
        return 1.0

    found = load_metric(score)
    assert (found.name, found.function, found.whole_set) == ("score", score, False)
    score.whole_set = True  # type: ignore[attr-defined]
    assert load_metric(score).whole_set
    with pytest.raises(UsageError) as caught:
        load_metric(3)  # type: ignore[arg-type]
    assert caught.value.message == "metric int is no function but of type int"


def test_a_file_is_read_anew_each_time(folder: Path) -> None:
    load_metric("measure_of_test.py:accuracy")
    (folder / "measure_of_test.py").write_text(
        "def other(outputs, samples):\n    return 7.0\n"
    )
    assert load_metric("measure_of_test.py:other").function({}, {}) == 7


@pytest.mark.parametrize(
    ("spec", "message", "hint"),
    [
        (
            "accuracy",
            "metric 'accuracy' names no function of a file or module",
            "--metric takes FILE.py:FUNCTION or MODULE:FUNCTION",
        ),
        (
            "measure_of_test.py:",
            "metric 'measure_of_test.py:' names no function of a file or module",
            "--metric takes FILE.py:FUNCTION or MODULE:FUNCTION",
        ),
        (
            "measure_of_test.py:acuracy",
            "metric measure_of_test.py has no function 'acuracy'; it has accuracy, mean",
            "did you mean accuracy?",
        ),
        (
            "neighbour_of_metric:zzz",
            "metric neighbour_of_metric has no function 'zzz'; it has mean",
            None,
        ),
        (
            "measure_of_test.py:LIMIT",
            "metric measure_of_test.py:LIMIT is no function but of type int",
            "--metric takes FILE.py:FUNCTION or MODULE:FUNCTION",
        ),
        (
            "measure_of_tets.py:mean",
            "metric file measure_of_tets.py does not exist",
            "did you mean measure_of_test.py?",
        ),
        (
            "nowhere/at_all.py:mean",
            "metric file nowhere/at_all.py does not exist",
            None,
        ),
        (
            "measure_of_tets:mean",
            "metric module measure_of_tets is neither installed nor in the current folder",
            "did you mean measure_of_test?",
        ),
        (
            "no_such.package:mean",
            "metric module no_such.package is neither installed nor in the current folder",
            "--metric takes FILE.py:FUNCTION or MODULE:FUNCTION",
        ),
    ],
)
def test_what_is_not_found_is_named(
    folder: Path, spec: str, message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        load_metric(spec)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit('no\\nmore')", "SystemExit: no more"),
        (
            "import no_such_module_at_all",
            "ModuleNotFoundError: No module named 'no_such_module_at_all'",
        ),
    ],
)
def test_a_file_that_does_not_load_says_why(folder: Path, source: str, what: str) -> None:
    (folder / "broken_of_test.py").write_text(source)
    for spec, kind in (("broken_of_test.py", "file"), ("broken_of_test", "module")):
        with pytest.raises(UsageError) as caught:
            load_metric(f"{spec}:f")
        assert caught.value.message == f"metric {kind} {spec} does not load: {what}"
    assert str(folder) not in sys.path
