"""Norms and Gram matrices of inputs equal sums over the inputs themselves."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from onnxprune.errors import LimitError, UnsupportedError
from onnxprune.samples.batch import Batch
from onnxprune.statistics import moments
from onnxprune.statistics.feeding import feed_batch
from onnxprune.statistics.moments import Gathering, OutputSums
from onnxprune.types import Array, Layout
from tests.statistics.nets import (
    Net,
    collector,
    convolving,
    drawn,
    layout_of,
    samples_of,
    smooth,
)

X = drawn(7, 10, 3)
IMAGES = drawn(8, 6, 1, 5, 4)
CPU = torch.device("cpu")


def hidden(x: Array, masks: dict[str, Array] | None = None) -> Array:
    net = smooth()
    first, bias = (net.tensors[name].detach().numpy() for name in ("first", "bias"))
    if masks is not None:
        first = first * masks["first"]
    return np.asarray(np.tanh(x @ first + bias))


def patches(images: Array) -> Array:
    """Return the columns under a kernel of 3x3, kernel positions first, one channel."""
    found = [
        images[n, 0, top : top + 3, left : left + 3].reshape(-1)
        for n in range(len(images))
        for top in range(3)
        for left in range(2)
    ]
    return np.array(found).T


def test_norms_are_those_of_the_inputs_over_all_samples_of_a_step() -> None:
    measuring = collector(smooth(), samples_of(X), batch=4, batches_per_step=2)
    found = measuring.collect(["input_norm"], None, 1)["input_norm"]
    assert measuring.notes == ["no input is multiplied with 'bias': it is left alone"]
    assert list(found) == ["first", "second"]
    first = np.linalg.norm(X[:8], axis=0)[:, None] * np.ones((3, 4))
    second = np.linalg.norm(hidden(X[:8]), axis=0) * np.ones((3, 4))
    np.testing.assert_allclose(found["first"], first, rtol=1e-12)
    np.testing.assert_allclose(found["second"], second, rtol=1e-12)


def test_a_kernel_is_multiplied_with_patches() -> None:
    measuring = collector(convolving(), samples_of(IMAGES), batch=4, batches_per_step=2)
    found = measuring.collect(["input_norm", "gram"], None, 1)
    columns = patches(IMAGES)
    wanted = np.linalg.norm(columns, axis=1).reshape(3, 3) * np.ones((2, 1, 3, 3))
    np.testing.assert_allclose(found["input_norm"]["kernel"], wanted, rtol=1e-12)
    (part,) = found["gram"]["kernel"].parts
    np.testing.assert_allclose(part.gram, columns @ columns.T, rtol=1e-12)
    np.testing.assert_allclose(part.total, columns.sum(1), rtol=1e-12, atol=1e-12)
    assert (part.count, list(part.rows)) == (columns.shape[1], [0, 1])


def test_inputs_are_those_of_the_model_as_it_is_masked() -> None:
    masks = {"first": drawn(9, 3, 4) > 0}
    measuring = collector(smooth(), samples_of(X), batch=10)
    found = measuring.collect(["gram"], masks, 1)["gram"]["second"].parts[0]
    inputs = hidden(X, masks).T
    np.testing.assert_allclose(found.gram, inputs @ inputs.T, rtol=1e-12)


@pytest.mark.parametrize("memory", [1 << 29, 1], ids=["in one run", "one by one"])
def test_matrices_are_made_for_as_many_weights_as_there_is_memory_for(
    memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moments, "MEMORY", memory)
    measuring = collector(smooth(), samples_of(X), batch=4, batches_per_step=3)
    grams = measuring.collect(["gram"], None, 1)["gram"]
    for path, inputs in (("first", X.T), ("second", hidden(X).T), ("first", X.T)):
        np.testing.assert_allclose(grams[path].parts[0].gram, inputs @ inputs.T, rtol=1e-12)
    assert grams["bias"].parts == ()
    assert "bias" in grams
    assert len(grams) == 3


def test_what_is_too_wide_for_a_matrix_is_refused_by_name() -> None:
    wide = Layout((2, 1 << 15), (0,), (), (1,))
    with pytest.raises(LimitError, match="'w': each output has 32,768 inputs"):
        moments.gram_bytes("w", wide)


def test_a_model_that_multiplies_with_none_of_its_tensors_is_refused() -> None:
    net = Net(lambda feeds, w: {"y": feeds["x"] + w["bias"]}, {"bias": drawn(1, 3)})
    with pytest.raises(UnsupportedError, match="no input is multiplied with any tensor"):
        collector(net, samples_of(X)).collect(["input_norm"], None, 1)


def test_inputs_are_added_up_beside_those_of_another_model() -> None:
    net = smooth()
    layouts = {path: layout_of(path, each) for path, each in net.tensors.items()}
    dense = {path: each.detach() for path, each in net.tensors.items()}
    masks = {"first": drawn(9, 3, 4) > 0}
    pruned = dense | {"first": dense["first"] * torch.from_numpy(masks["first"])}
    gathering = Gathering(layouts, ["second"])
    for rows in (X[:6], X[6:]):
        batch = Batch(0, len(rows), {"x": rows}, None, {})
        gathering.add(net, feed_batch(batch, None, False, CPU), pruned, dense)
    (part,) = gathering.result()["second"].parts
    here, there = hidden(X, masks).T, hidden(X).T
    np.testing.assert_allclose(part.gram, here @ here.T, rtol=1e-12)
    np.testing.assert_allclose(part.cross, here @ there.T, rtol=1e-12)
    np.testing.assert_allclose(part.dense_total, there.sum(1), rtol=1e-12)
    assert part.count == 10


def test_outputs_are_added_up_as_they_are_and_as_they_were() -> None:
    net = smooth()
    dense = {path: each.detach() for path, each in net.tensors.items()}
    second = dense["second"].numpy()
    halved = second * (drawn(4, 3, 4) > 0)
    sums = OutputSums("second", layout_of("second", dense["second"]), halved, second)
    fed = feed_batch(Batch(0, 10, {"x": X}, None, {}), None, False, CPU)
    sums.add(net, fed, dense, dense)
    outputs = halved @ hidden(X).T, second @ hidden(X).T
    for found, wanted in zip(sums.means(), outputs, strict=True):
        np.testing.assert_allclose(found, wanted.mean(1), rtol=1e-12)
    for found, wanted in zip(sums.spreads(), outputs, strict=True):
        np.testing.assert_allclose(found, wanted.std(1), rtol=1e-9)


def test_several_threads_may_ask_for_matrices_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moments, "MEMORY", 1)
    measuring = collector(smooth(), samples_of(X), batch=1, batches_per_step=10)
    grams = measuring.collect(["gram"], None, 1)["gram"]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(grams.__getitem__, ["first", "second"] * 8))
    for each, inputs in zip(found, [X.T, hidden(X).T] * 8, strict=True):
        np.testing.assert_allclose(each.parts[0].gram, inputs @ inputs.T, rtol=1e-12)
