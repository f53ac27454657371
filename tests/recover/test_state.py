"""Values on their way: what fell stays away, what returns is what it was, and nothing leaks."""

import numpy as np
import pytest
import torch

from onnxprune.recover.state import State, like
from tests.recover.made import state_of, values_of
from tests.statistics.nets import Array, Net, convolving, drawn, smooth

LAST = torch.channels_last
KEPT = drawn(9, 3, 4) > 0
OTHER = drawn(8, 3, 4)


def state() -> State:
    return state_of(smooth())


def imaging() -> State:
    """A kernel that lies in memory as pixels do: channels last."""
    net = Net(lambda feeds, w: {}, {"kernel": drawn(1, 4, 3, 2, 5), "bias": drawn(2, 4)})
    kernel = net.tensors["kernel"]
    kernel.data = kernel.data.contiguous(memory_format=LAST)
    return state_of(net)


def first(made: State) -> Array:
    return values_of(made)["first"]


def test_what_falls_is_zero_and_the_rest_is_what_it_was() -> None:
    made = state()
    dense = first(made)
    made.put_masks({"first": KEPT.reshape(-1)})
    assert np.array_equal(first(made), dense * KEPT)
    assert np.array_equal(values_of(made)["second"], values_of(state())["second"])


def test_what_fell_stays_away_whatever_is_given() -> None:
    made = state()
    made.put_masks({"first": KEPT})
    made.put("first", OTHER.reshape(-1))
    assert np.array_equal(first(made), OTHER * KEPT)
    made.put_matrix("first", made.layouts["first"].matrix(2 * OTHER))
    assert np.array_equal(first(made), 2 * OTHER * KEPT)
    with torch.no_grad():
        made.values["first"].fill_(3)
    made.enforce()
    assert np.array_equal(first(made), 3.0 * KEPT)


def test_what_fell_is_zero_even_where_it_would_be_no_number() -> None:
    made = state()
    made.put_masks({"first": KEPT})
    made.put("first", np.where(KEPT, OTHER, np.nan))
    assert np.array_equal(first(made), OTHER * KEPT)
    with torch.no_grad():
        made.values["first"].copy_(torch.from_numpy(np.where(KEPT, OTHER, np.inf)))
    made.enforce()
    assert np.array_equal(first(made), OTHER * KEPT)


def test_what_returns_is_what_it_was_and_the_rest_stays_as_it_is() -> None:
    made = state()
    dense = first(made)
    made.put_masks({"first": KEPT})
    made.put("first", OTHER)
    more = KEPT.copy()
    more[0] = True
    more[2] = False
    made.put_masks({"first": more})
    wanted = np.where(KEPT, OTHER, dense) * more
    assert np.array_equal(first(made), wanted)
    assert np.array_equal(made.kept("first"), made.layouts["first"].matrix(more))


def test_masks_of_other_tensors_are_kept() -> None:
    made = state()
    made.put_masks({"first": KEPT})
    made.put_masks({"second": np.eye(3, 4, dtype=bool)})
    made.put("first", OTHER)
    assert np.array_equal(first(made), OTHER * KEPT)
    assert sorted(made.masks) == ["first", "second"]


def test_the_dense_values_never_change() -> None:
    made = state()
    dense = {path: each.clone() for path, each in made.dense.items()}
    made.put_masks({"first": KEPT})
    made.put("first", OTHER)
    made.put("bias", np.zeros(4))
    made.put_masks({"first": ~KEPT})
    made.restore({"second": torch.zeros(3, 4, dtype=torch.float64)})
    made.enforce()
    assert all(torch.equal(made.dense[path], each) for path, each in dense.items())


def test_a_snapshot_is_a_copy_of_what_may_change() -> None:
    made = state_of(smooth(), ["second", "first"])
    taken = made.snapshot()
    assert list(taken) == ["first", "second"]
    made.put("first", OTHER)
    made.put("bias", np.zeros(4))
    made.restore(taken)
    assert np.array_equal(first(made), made.dense["first"])
    assert not values_of(made)["bias"].any()


def test_a_state_that_is_gone_back_to_has_its_zeros() -> None:
    made = state()
    made.put_masks({"first": KEPT})
    taken = made.snapshot()
    made.put("first", OTHER)
    made.restore(taken)
    assert np.array_equal(first(made), made.dense["first"].numpy() * KEPT)


def test_an_older_state_with_fewer_zeros_keeps_the_newer_ones_once_they_are_enforced() -> None:
    made = state()
    taken = made.snapshot()
    made.put_masks({"first": KEPT})
    made.restore(taken)
    made.enforce()
    assert np.array_equal(first(made), made.dense["first"].numpy() * KEPT)


def test_the_values_as_they_are_are_seen_without_gradients() -> None:
    made = state()
    current = made.current()
    made.put("first", OTHER)
    assert np.array_equal(current["first"], OTHER)
    assert not any(each.requires_grad for each in current.values())


def test_values_are_given_in_the_type_that_they_have() -> None:
    net = Net(lambda feeds, w: {}, {"first": drawn(1, 3, 4).astype(np.float32)})
    made = state_of(net)
    made.put("first", OTHER)
    assert made.values["first"].dtype == torch.float32
    assert np.array_equal(first(made), OTHER.astype(np.float32))
    assert made.matrix("first").dtype == np.float64


def test_a_weight_is_read_and_given_as_its_matrix() -> None:
    made = state()
    dense = made.dense["first"].numpy()
    made.put_masks({"first": KEPT})
    assert np.array_equal(made.matrix("first"), (dense * KEPT).T)
    assert np.array_equal(made.matrix("first", dense=True), dense.T)
    assert np.array_equal(made.kept("first"), KEPT.T)
    made.put_matrix("first", OTHER.T)
    assert np.array_equal(first(made), OTHER * KEPT)
    assert np.array_equal(made.matrix("second"), made.dense["second"].numpy())
    assert made.kept("second").all()


def test_only_what_is_changed_apart_from_what_fell_is_told() -> None:
    made = state()
    paths = sorted(made.free)
    assert made.changed(paths) == {}
    made.put_masks({"first": KEPT, "second": np.eye(3, 4, dtype=bool)})
    assert made.changed(paths) == {}
    made.put("first", OTHER)
    found = made.changed(paths)
    assert list(found) == ["first"]
    assert np.array_equal(found["first"], (OTHER * KEPT).reshape(-1))
    made.put("bias", np.arange(4))
    assert list(made.changed(paths)) == ["bias", "first"]
    assert list(made.changed(["bias"])) == ["bias"]


def test_what_is_put_back_to_what_it_was_is_no_change() -> None:
    made = state()
    made.put_masks({"first": KEPT})
    made.put("first", OTHER)
    made.put("first", made.dense["first"])
    assert made.changed(["first"]) == {}


def test_a_tensor_in_the_order_of_pixels_is_read_and_given_in_its_own() -> None:
    made = imaging()
    dense = drawn(1, 4, 3, 2, 5)
    kernel = made.values["kernel"]
    assert np.array_equal(made.flat("kernel"), dense.reshape(-1))
    assert made.dense["kernel"].is_contiguous(memory_format=LAST)
    kept = drawn(3, 4, 3, 2, 5) > 0
    made.put_masks({"kernel": kept.reshape(-1)})
    assert np.array_equal(kernel.detach(), dense * kept)
    assert made.masks["kernel"].is_contiguous(memory_format=LAST)
    wanted = dense.transpose(0, 2, 3, 1).reshape(4, -1)
    assert np.array_equal(made.matrix("kernel", dense=True), wanted)
    columns = kept.transpose(0, 2, 3, 1).reshape(4, -1)
    assert np.array_equal(made.kept("kernel"), columns)
    made.put_matrix("kernel", wanted + 1)
    assert np.array_equal(kernel.detach(), (dense + 1) * kept)
    assert np.array_equal(made.changed(["kernel"])["kernel"], made.flat("kernel"))
    assert np.array_equal(made.flat("kernel"), ((dense + 1) * kept).reshape(-1))
    assert kernel.is_contiguous(memory_format=LAST)


def test_snapshots_of_such_a_tensor_are_gone_back_to_in_its_order() -> None:
    made = imaging()
    taken = made.snapshot()
    made.put("kernel", np.zeros(120))
    made.restore({path: each.contiguous() for path, each in taken.items()})
    assert np.array_equal(made.flat("kernel"), drawn(1, 4, 3, 2, 5).reshape(-1))
    assert made.values["kernel"].is_contiguous(memory_format=LAST)


def test_masks_are_given_as_whatever_is_true_or_not_and_copied() -> None:
    made = state_of(convolving())
    mask = (drawn(2, 18) > 0).astype(np.int8)
    given = mask.copy()
    made.put_masks({"kernel": given})
    given[:] = 1
    made.enforce()
    assert made.masks["kernel"].dtype == torch.bool
    wanted = made.dense["kernel"].numpy().reshape(-1) * mask
    assert np.array_equal(made.flat("kernel"), wanted)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3), (5,), (2, 3, 4)])
def test_a_tensor_is_laid_as_another_one_lies(shape: tuple[int, ...]) -> None:
    value = torch.from_numpy(drawn(1, *shape))
    assert like(value, value).is_contiguous()
    if value.dim() == 4:
        other = value.contiguous(memory_format=LAST)
        assert like(value, other).is_contiguous(memory_format=LAST)
        assert torch.equal(like(value, other), value)
        assert like(other, value).is_contiguous()
