"""How large the steps of a training are unless the user says otherwise."""

import pytest

from onnxprune.recover.training import EPOCHS, RATES, usual_rate


@pytest.mark.parametrize("optimizer", RATES)
def test_long_trainings_take_smaller_steps_and_go_no_further(optimizer: str) -> None:
    most = RATES[optimizer]
    assert [usual_rate(optimizer, epochs) for epochs in (None, 1, 20, EPOCHS)] == [most] * 4
    for epochs in (61, 120, 1000):
        assert usual_rate(optimizer, epochs) * epochs == pytest.approx(most * EPOCHS)
