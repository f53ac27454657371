"""A loss of the user's own: what it is given, and what is asked of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from onnxprune.errors import UsageError
from onnxprune.statistics.targets import Target
from tests.statistics.nets import Net, collector, drawn, measured, samples_of, smooth

X = drawn(7, 10, 3)
LABELS = np.arange(10) % 3
SURPRISE = """
import torch

def surprise(outputs, samples):
    assert set(outputs) == {"y"}
    assert len(samples["x"]) == len(samples["labels"]) == len(outputs["y"])
    rows = outputs["y"].log_softmax(1)
    return -rows.gather(1, samples["labels"].long().unsqueeze(1)).mean()

def shape(outputs, samples):
    return outputs["y"].mean(1)

def number(outputs, samples):
    return 1.0

def broken(outputs, samples):
    raise ValueError("no such\\nthing")
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    file = tmp_path / "losses.py"
    file.write_text(SURPRISE)
    return str(file)


@pytest.mark.parametrize("fixed", [None, 4])
@pytest.mark.parametrize("by_sample", [True, False])
def test_cross_entropy_written_anew_gives_the_same(
    place: str, fixed: int | None, by_sample: bool
) -> None:
    samples = samples_of(X, LABELS, fixed)
    given = {"batch": 4, "batches_per_step": 3}
    for name in ("gradient", "curvature"):
        measuring = collector(
            smooth(), samples, loss=f"{place}:surprise", curvature="empirical", **given
        )
        measuring._by_sample = by_sample
        found = measuring.collect([name], None, 1)[name]
        assert measuring._by_sample == by_sample
        wanted = measured(smooth(), samples, name, curvature="empirical", **given)
        for path in wanted:
            np.testing.assert_allclose(found[path], wanted[path], rtol=1e-10, atol=1e-15)
        assert measuring.notes == []


def test_a_value_from_inside_is_not_shown(place: str) -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        y = feeds["x"] @ w["w"]
        return {"y": y, "inside": y * 2}

    net = Net(forward, {"w": drawn(1, 3, 3)})
    measuring = collector(
        net, samples_of(X, LABELS), Target("inside", "y"), loss=f"{place}:surprise"
    )
    assert measuring.collect(["gradient"], None, 1)["gradient"]["w"].any()


@pytest.mark.parametrize("curvature", ["exact", "mc"])
def test_its_curvature_is_known_by_its_gradients_alone(place: str, curvature: str) -> None:
    with pytest.raises(UsageError) as caught:
        measured(
            smooth(),
            samples_of(X, LABELS),
            "curvature",
            loss=f"{place}:surprise",
            curvature=curvature,
        )
    assert caught.value.message == (
        f"--curvature {curvature} goes with cross-entropy and mse: what a loss of your own is"
        " curved like is not known"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "shape",
            "loss losses.py:shape returned a tensor of shape 10; it must return one number as"
            " a tensor",
        ),
        (
            "number",
            "loss losses.py:number returned float; it must return one number as a tensor",
        ),
        ("broken", "loss losses.py:broken failed: ValueError: no such thing"),
    ],
)
def test_what_is_no_loss_is_named(place: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        measured(smooth(), samples_of(X, LABELS), "gradient", loss=f"{place}:{name}")
    assert caught.value.message == message


def test_a_function_that_is_not_there_is_an_error_of_the_option(place: str) -> None:
    with pytest.raises(UsageError) as caught:
        collector(smooth(), samples_of(X, LABELS), loss=f"{place}:surprised")
    assert caught.value.message.startswith("loss losses.py has no function 'surprised'")
    assert caught.value.hint == "did you mean surprise?"
