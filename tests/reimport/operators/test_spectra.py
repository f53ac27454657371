from typing import Any

import pytest
import torch
from torch import tensor

from onnxprune.errors import UnsupportedError
from tests.reimport.nodes import apply, cases, gradients_hold, run_case, sample


@pytest.mark.parametrize("case", cases(["DFT", "STFT"]))
def test_it_computes_what_onnx_expects(case: Any) -> None:
    run_case(case)


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("inverse", [0, 1])
def test_a_transform_has_its_gradients(parts: int, inverse: int) -> None:
    gradients_hold("DFT", sample(2, 4, parts), inverse=inverse, twice=True)


def test_one_side_of_a_transform_has_its_gradients() -> None:
    gradients_hold("DFT", sample(2, 4, 1), onesided=1)
    gradients_hold("DFT", sample(2, 3, 2), onesided=1, inverse=1)


def test_transformed_frames_have_their_gradients() -> None:
    signal, window = sample(1, 8, 1), sample(4, seed=1)
    for onesided in (0, 1):
        gradients_hold("STFT", signal, tensor(2), window, tensor(4), onesided=onesided)


def test_the_axis_has_another_default_and_another_place_in_old_versions() -> None:
    x = sample(2, 3, 4, 1)
    first = apply("DFT", x, opset=17)
    torch.testing.assert_close(first, apply("DFT", x, None, tensor(1)))
    torch.testing.assert_close(apply("DFT", x, axis=2, opset=17), apply("DFT", x))
    assert not torch.allclose(first, apply("DFT", x))


def test_complex_numbers_have_two_sides() -> None:
    with pytest.raises(UnsupportedError) as caught:
        apply("DFT", sample(1, 4, 2), onesided=1)
    assert str(caught.value) == "DFT of complex numbers is one-sided"
    with pytest.raises(UnsupportedError) as other:
        apply("STFT", sample(1, 4, 2), tensor(1))
    assert str(other.value) == "STFT of complex numbers is one-sided"


def test_frames_are_as_long_as_the_window_or_the_signal() -> None:
    signal = sample(1, 6, 1)
    assert apply("STFT", signal, tensor(2), torch.ones(4)).shape == (1, 2, 3, 2)
    assert apply("STFT", signal, tensor(2)).shape == (1, 1, 4, 2)
