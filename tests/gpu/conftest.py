"""Skips the tests that need a GPU where none works, with the reason."""

import pytest

from tests.gpu.probe import why_not


@pytest.fixture(autouse=True)
def working_gpu(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("gpu") is not None and (reason := why_not()):
        pytest.skip(reason)
