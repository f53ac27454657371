"""The reference itself: its derivatives against differences, its selection by eye."""

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.measured import reference
from tests.measured.nets import Array, Net, convolving, layered, masks_of, tensors_of
from tests.measured.reference import Asked
from tests.models import run

NETS = {"layered": layered(), "convolving": convolving()}
SMALL = 1e-5


def loss_at(net: Net, name: str, at: int, change: float, masked: bool = False) -> float:
    tensors = tensors_of(net)
    place = tensors[name].reshape(-1)[at : at + 1]
    place += change * place if masked else change
    x, labels = reference.window(net, Asked("snip", 0.5), 1)
    return float(reference.loss(net, tensors, x, labels))


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_the_net_in_torch_is_the_net_in_the_file(net: Net) -> None:
    found = net.forward(tensors_of(net), torch.from_numpy(net.x).double(), torch.tanh)
    (wanted,) = run(net.proto, x=net.x)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize("net", NETS.values(), ids=list(NETS))
def test_the_gradient_is_what_the_loss_changes_by(net: Net) -> None:
    asked = Asked("snip", 0.5)
    kept = {name: np.ones(each.shape, bool) for name, each in net.weights.items()}
    found = reference.gradient(net, kept, *reference.window(net, asked, 1))
    for name in net.weights:
        for at in (0, net.weights[name].size - 1):
            rise = loss_at(net, name, at, SMALL) - loss_at(net, name, at, -SMALL)
            assert found[name].reshape(-1)[at] == pytest.approx(rise / 2 / SMALL, abs=1e-8)


def test_the_score_of_snip_is_what_the_loss_changes_by_per_part_of_a_weight_taken() -> None:
    net = NETS["layered"]
    kept = {name: np.ones(each.shape, bool) for name, each in net.weights.items()}
    scores = reference.scored(net, Asked("snip", 0.5), kept, 1)
    for name in net.weights:
        rise = loss_at(net, name, 3, SMALL, True) - loss_at(net, name, 3, -SMALL, True)
        assert scores[name].reshape(-1)[3] == pytest.approx(abs(rise) / 2 / SMALL, abs=1e-8)


def test_the_gauss_newton_diagonal_of_the_last_layer_is_that_of_a_softmax() -> None:
    # There, the derivative of log p_c by the weight of class k and value h is (c = k) h - p_k h.
    net = NETS["convolving"]
    kept = {name: np.ones(each.shape, bool) for name, each in net.weights.items()}
    x = torch.from_numpy(net.x).double()
    found = reference.gauss_newton(net, kept, x)["third"]
    tensors = tensors_of(net)
    unit = dict(tensors, third=torch.eye(5).double(), third_bias=torch.zeros(5).double())
    hidden = net.forward(unit, x, torch.tanh).numpy()
    shares = torch.softmax(net.forward(tensors, x, torch.tanh), 1).numpy()
    wanted = np.einsum("nk,nh->kh", shares * (1 - shares), hidden**2) / len(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def kept_of(first: list[float], second: list[float], count: int, *fallen: int) -> Array:
    scores = {"a": np.array(first), "b": np.array(second)}
    before = np.zeros(len(first) + len(second), bool)
    before[list(fallen)] = True
    gone = {"a": before[: len(first)], "b": before[len(first) :]}
    kept = reference.without_lowest(scores, gone, count)
    return np.concatenate([kept["a"], kept["b"]]).astype(int)


def test_the_lowest_go_and_of_equal_ones_the_first() -> None:
    assert list(kept_of([3, 1], [2, 0], 2)) == [1, 0, 1, 0]
    assert list(kept_of([1, 1], [1, 1], 3)) == [0, 0, 0, 1]
    assert list(kept_of([5, 1], [2, 3], 2, 0)) == [0, 0, 1, 1]


def test_the_steps_of_a_set_go_on_from_its_start() -> None:
    net = NETS["layered"]
    asked = Asked("snip", 0.5, batch=10, width=2)
    for step, rows in [
        (1, [*range(20)]),
        (2, [20, 21, 22, *range(10)]),
        (3, [*range(10, 23)]),
    ]:
        x, labels = reference.window(net, asked, step)
        np.testing.assert_array_equal(x.numpy(), net.x[rows].astype(np.float64))
        np.testing.assert_array_equal(labels.numpy(), net.labels[rows])


def test_masks_are_read_from_the_zeros_of_a_file(tmp_path: Path) -> None:
    net = NETS["layered"]
    found = masks_of(net.save(tmp_path), list(net.weights))
    assert all(each.all() for each in found.values())
