"""The flow of absolute values: examples that can be worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onnxprune.errors import InputError, UnsupportedError, UsageError
from onnxprune.outcomes import Port
from onnxprune.samples.opening import open_samples
from onnxprune.samples.reading import Reading
from onnxprune.statistics.targets import Target
from tests.statistics.nets import Array, Forward, Net, collector, drawn, samples_of

FIRST = np.array([[1.0, -2.0], [3.0, 4.0]])
BIAS = np.array([-1.0, 0.0])
SECOND = np.array([[2.0], [-1.0]])
X = Port("x", "float32", (None, 2))


def flow_of(net: Net, ports: tuple[Port, ...] = (X,)) -> dict[str, Array]:
    return collector(net, None, ports=ports).collect(["flow"], None, 1)["flow"]


def layered(between: Any = torch.relu, at_the_end: Any = lambda y: y) -> Net:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        hidden = between(feeds["x"].to(w["first"].dtype) @ w["first"] + w["bias"])
        return {"y": at_the_end(hidden @ w["second"])}

    return Net(forward, {"first": FIRST, "bias": BIAS, "second": SECOND})


def test_the_flow_through_two_layers_is_that_of_absolute_values() -> None:
    # Ones give |1| + |3| + |-1| = 5 and |-2| + |4| = 6, and these 2·5 + 1·6.
    found = flow_of(layered())
    assert found["first"].tolist() == [[2, 1], [2, 1]]
    assert found["bias"].tolist() == [2, 1]
    assert found["second"].tolist() == [[5], [6]]


@pytest.mark.parametrize(
    "between",
    [
        torch.tanh,
        torch.sigmoid,
        lambda x: x.softmax(1),
        lambda x: torch.log_softmax(x, 1),
        lambda x: x.tanh(),
        lambda x: torch.clamp(x, 0, 1),
        lambda x: x.clamp(max=0.5),
        nn.functional.relu6,
        nn.functional.hardtanh,
        lambda x: x * torch.sigmoid(x),
        lambda x: torch.sigmoid(x).mul(x),
        # As old versions of Softmax are computed: a shape has more to it than its numbers.
        lambda x: x.reshape(x.shape[:1].numel(), -1).softmax(-1).reshape(x.size()),
    ],
)
def test_what_saturates_lets_everything_through(between: Any) -> None:
    found = flow_of(layered(between, at_the_end=lambda y: y.softmax(1)))
    assert found["first"].tolist() == [[2, 1], [2, 1]]
    assert found["second"].tolist() == [[5], [6]]


def test_a_gate_of_something_else_multiplies() -> None:
    def squeezed(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        x = feeds["x"].double()
        return {"y": x * w["layer"] * torch.sigmoid(w["gate"] * 1)}

    found = flow_of(Net(squeezed, {"layer": np.array([2.0, -3.0]), "gate": SECOND[:, 0]}))
    assert found["layer"].tolist() == [2, 1]
    assert found["gate"].tolist() == [2, 3]


def test_constants_count_by_their_absolute_values_in_double_precision() -> None:
    # (1 - |-0.5|) / √|-4| = 0.25, times |-3| and |5|.
    scale, mean = torch.tensor([-3.0, 5.0]), torch.tensor([-0.5, -0.5])
    variance = torch.tensor([-4.0, -4.0])

    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        x = feeds["x"]
        y = nn.functional.batch_norm(x, mean, variance, None, None, False, 0.0, 0.0)
        return {"y": y * w["w"] * scale}

    found = flow_of(Net(forward, {"w": np.array([1.0, -1.0], np.float32)}))
    assert found["w"].tolist() == [0.75, 1.25]
    assert scale.tolist() == [-3, 5]


def test_pruned_weights_let_nothing_through_but_have_a_flow_of_their_own() -> None:
    measuring = collector(layered(), None, ports=(X,))
    mask = np.array([[True, False], [True, True]])
    found = measuring.collect(["flow"], {"first": mask}, 1)["flow"]
    assert found["second"].tolist() == [[5], [4]]
    assert found["first"].tolist() == [[2, 1], [2, 1]]
    assert np.isnan(measuring.loss)
    assert measuring.module.tensors["first"].tolist() == FIRST.tolist()


def test_products_of_many_layers_stay_within_double_precision() -> None:
    def deep(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        y = feeds["x"].to(w["w"].dtype)
        for _ in range(30):
            y = y @ w["w"] * 1e4
        return {"y": y}

    net = Net(deep, {"w": np.full((2, 2), 10, np.float32)})
    found = flow_of(net)
    assert np.isfinite(found["w"]).all()
    assert found["w"].max() > np.finfo(np.float32).max


def test_a_flow_beyond_double_precision_is_refused() -> None:
    net = Net(lambda feeds, w: {"y": feeds["x"] * w["w"] ** 400}, {"w": np.array([10.0, 1.0])})
    with pytest.raises(InputError) as caught:
        flow_of(net)
    assert caught.value.message == (
        "the flow through the model is not finite: its weights multiply to more than a double"
        " holds"
    )


def test_recurrent_layers_that_saturate_inside_are_refused() -> None:
    def forward(feeds: dict[str, Any], w: dict[str, Tensor]) -> dict[str, Any]:
        x, state = feeds["x"].double().unsqueeze(0), torch.zeros(1, 1, 1).double()
        parts = [w["w"], torch.ones(3, 1).double()]
        return {"y": torch.gru(x, state, parts, False, 1, 0.0, False, False, False)[0]}

    with pytest.raises(UnsupportedError) as caught:
        flow_of(Net(forward, {"w": np.ones((3, 2))}))
    assert caught.value.message == (
        "the flow: torch has no gradient here: the flow through gru saturates in its inside"
    )


def test_all_outputs_count_but_none_from_inside() -> None:
    forward: Forward = lambda feeds, w: {  # noqa: E731
        "y": feeds["x"].double() @ w["w"],
        "inside": 100 * feeds["x"].double() @ w["w"],
        "place": torch.zeros(1, dtype=torch.int64),
        "z": 2 * feeds["x"].double() @ w["w"],
    }
    net = Net(forward, {"w": np.ones((2, 1))})
    target = Target("inside", "place")
    found = collector(net, None, target, (X,)).collect(["flow"], None, 1)["flow"]
    assert found["w"].tolist() == [[3], [3]]


def test_shapes_come_from_samples_where_there_are_any() -> None:
    net = layered()
    measuring = collector(net, samples_of(drawn(1, 6, 2)))
    assert measuring.collect(["flow"], None, 1)["flow"]["second"].tolist() == [[5], [6]]
    assert measuring.notes == []
    fixed = collector(net, samples_of(drawn(1, 6, 2), fixed=3))
    assert fixed.collect(["flow"], None, 1)["flow"]["second"].tolist() == [[15], [18]]


def test_whole_numbers_are_fed_as_ones_too() -> None:
    net = Net(lambda feeds, w: {"y": w["table"][feeds["x"]]}, {"table": np.arange(6.0) - 3})
    found = flow_of(net, (Port("x", "int64", (None, 2)),))
    assert found["table"].tolist() == [0, 2, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("port", "message"),
    [
        (
            Port("x", "float32", (None, None)),
            "the flow begins with ones, and input 'x' leaves sizes free",
        ),
        (
            Port("x", "float32", None),
            "the flow begins with ones; of what shape for input 'x' is not known",
        ),
        (
            Port("x", "str", (1,)),
            "the flow begins with ones; of what shape for input 'x' is not known",
        ),
    ],
)
def test_inputs_of_unknown_size_need_samples(port: Port, message: str) -> None:
    with pytest.raises((UsageError, UnsupportedError)) as caught:
        flow_of(layered(), (port,))
    assert caught.value.message == message
    assert caught.value.hint == "--data gives samples of the right shape"


def test_text_has_no_flow() -> None:
    samples = open_samples(
        {"x": np.array([["a"], ["b"]])}, Reading(), (Port("x", "str", (None, 1)),)
    )
    with pytest.raises(UnsupportedError) as caught:
        collector(layered(), samples).collect(["flow"], None, 1)
    assert caught.value.message == "the flow is of numbers; the model takes text"
