"""How many zeros there are after each of several steps."""

import pytest

from onnxprune.errors import UsageError
from onnxprune.schedule import SCHEDULES, sparsity_after


def test_the_exponential_schedule_keeps_the_same_share_in_each_step() -> None:
    found = [sparsity_after(step, 4, 1 - 0.5**4, "exponential") for step in range(1, 5)]
    assert found == pytest.approx([1 / 2, 3 / 4, 7 / 8, 15 / 16], abs=1e-15)


def test_the_linear_schedule_takes_the_same_in_each_step() -> None:
    found = [sparsity_after(step, 4, 0.8, "linear") for step in range(1, 5)]
    assert found == pytest.approx([0.2, 0.4, 0.6, 0.8], abs=1e-15)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sparsity", [0.0, 1e-9, 0.1, 1 / 3, 0.95, 0.999999])
@pytest.mark.parametrize("steps", [1, 2, 7, 100])
def test_sparsities_rise_to_what_is_asked_exactly(
    steps: int, sparsity: float, schedule: str
) -> None:
    found = [sparsity_after(step, steps, sparsity, schedule) for step in range(1, steps + 1)]
    assert found == sorted(found)
    assert found[-1] == sparsity
    assert found[0] >= 0


def test_a_whole_tensor_goes_at_once_where_a_share_is_kept_and_little_by_little_otherwise() -> (
    None
):
    assert sparsity_after(1, 4, 1.0, "exponential") == 1.0
    assert sparsity_after(1, 4, 1.0, "linear") == 0.25


def test_another_schedule_is_refused() -> None:
    with pytest.raises(UsageError) as caught:
        sparsity_after(1, 2, 0.5, "square")
    assert str(caught.value) == "--schedule is exponential, linear or cubic, not 'square'"
