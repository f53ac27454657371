"""How a trial is asked for: plain values become fields, and what makes no sense is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxprune.errors import UsageError
from onnxprune.samples.reading import Reading
from onnxprune.studying import trial
from onnxprune.trials.gate import Gate
from onnxprune.trials.trial import Trial, make_trial

DATA = {"x": np.ones((1, 1))}


def test_options_go_where_they_belong() -> None:
    made = trial(
        DATA,
        labels="kinds",
        limit=5,
        device="cpu",
        batch=4,
        timeout=2.5,
        task="values",
        cache="kept",
        latency=False,
        max_drop="1%",
        min_agreement=0.9,
        max_kl=2,
    )
    assert made == Trial(
        data=DATA,
        reading=Reading(labels="kinds", limit=5),
        device="cpu",
        batch=4,
        timeout=2.5,
        task="values",
        cache=Path("kept"),
        latency=False,
        gate=Gate(max_drop=0.01, min_agreement=0.9, max_kl=2.0),
    )


def test_none_stands_for_the_default() -> None:
    empty = dict.fromkeys(
        ["device", "batch", "timeout", "metric", "cache", "max_drop", "limit"]
    )
    assert make_trial(DATA, **empty) == Trial(DATA)
    assert not Trial(DATA).gate


def test_a_metric_is_a_function_or_the_name_of_one(tmp_path: Path) -> None:
    def own(*_: object) -> float:
        return 1.0

    by_value = make_trial(DATA, metric=own).own
    assert by_value is not None
    assert (by_value.name, by_value.function) == ("own", own)
    (tmp_path / "m.py").write_text("def f(outputs, samples):\n    return 1.0\n")
    by_name = make_trial(DATA, metric=f"{tmp_path / 'm.py'}:f").own
    assert by_name is not None
    assert by_name.name == "m.py:f"


def test_options_of_reading_are_added_to_a_reading() -> None:
    made = make_trial(DATA, reading=Reading(labels="kinds"), limit=5)
    assert made.reading == Reading(labels="kinds", limit=5)


@pytest.mark.parametrize(
    ("given", "message", "hint"),
    [
        ({"device": "gpu"}, "--device is one of auto, cpu, cuda, not 'gpu'", None),
        ({"task": "boxes"}, "--task is one of auto, classes, values, not 'boxes'", None),
        ({"batch": 0}, "--batch is at least 1, got 0", None),
        ({"timeout": 0}, "--timeout is more than 0 seconds, got 0", None),
        ({"timeout": float("nan")}, "--timeout is more than 0 seconds, got nan", None),
        ({"limit": 0}, "--samples is at least 1, got 0", None),
        (
            {"max_drop": 2},
            "--max-drop takes a share from 0 to 1, not 2",
            "did you mean 0.02?",
        ),
        ({"max_dorp": 1}, "a trial has no option 'max_dorp'", "did you mean max_drop?"),
        ({"devise": "cpu"}, "a trial has no option 'devise'", "did you mean device?"),
    ],
)
def test_what_makes_no_sense_is_refused(
    given: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(UsageError) as caught:
        make_trial(DATA, **given)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_an_option_of_no_resemblance_is_answered_with_all_there_are() -> None:
    with pytest.raises(UsageError, match="a trial has no option 'zzzz'") as caught:
        make_trial(DATA, zzzz=1)
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("it has batch, cache, cast, channel_order, device, ")


def test_a_trial_needs_samples() -> None:
    with pytest.raises(UsageError) as caught:
        make_trial(None)
    assert caught.value.message == "nothing to run the model on"
    assert caught.value.hint == "--data SET names samples, --data random takes noise"
