"""Random samples have the shapes and types of the inputs, and are always the same."""

from typing import Any

import numpy as np
import pytest

from onnxprune.errors import LimitError, OnnxpruneError, UnsupportedError, UsageError
from onnxprune.outcomes import Port
from tests.samples.made import batches, opened, port, read, refusal

PORTS = (
    port("x", (None, 3, 2)),
    port("ids", (None, 4), "int64"),
    port("rate", (), "int64"),
    port("flag", (None,), "bool"),
)


def test_every_input_gets_its_shape_and_type() -> None:
    samples = opened("random:5", *PORTS)
    assert (samples.size, samples.random, samples.labelled) == (5, True, False)
    assert samples.source == "random:5"
    (batch,) = batches(samples, 8)
    found = {name: (array.shape, array.dtype.name) for name, array in batch.feeds.items()}
    assert found == {
        "x": ((5, 3, 2), "float32"),
        "ids": ((5, 4), "int64"),
        "rate": ((), "int64"),
        "flag": ((5,), "bool"),
    }
    assert set(np.unique(batch.feeds["ids"])) == {0, 1}


def test_numbers_depend_on_the_seed_and_the_input_only() -> None:
    found = [read(opened("random:7", *PORTS), size) for size in (1, 3, 7)]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(read(opened("random:9", *PORTS[::-1]))[:7], found[0])
    assert not np.array_equal(read(opened("random:7", *PORTS, seed=1)), found[0])


def test_there_are_64_unless_said_otherwise() -> None:
    assert opened("random", *PORTS).size == 64


def test_normal_values_are_normal() -> None:
    values = read(opened("random:2000", port("x", (None, 50))), 500)
    assert abs(float(values.mean())) < 0.02
    assert abs(float(values.std()) - 1) < 0.02


def test_free_sizes_have_to_be_given() -> None:
    free = port("x", (None, 3, None))
    error = refusal("random:2", free)
    assert (error.message, error.hint) == (
        "random samples for 'x' need sizes that the model leaves free",
        "--shape x=... gives those of one sample, such as 3x224x224",
    )
    assert read(opened("random:2", free, shapes={"x": (3, 8)})).shape == (2, 3, 8)
    unknown = port("x", None)
    assert isinstance(refusal("random:2", unknown), UsageError)
    assert read(opened("random:2", unknown, shapes={"x": (4,)})).shape == (2, 4)


@pytest.mark.parametrize(
    ("shapes", "kind", "message"),
    [
        ({"y": (3,)}, UsageError, "--shape y: the model has no input 'y'; its inputs are x"),
        (
            {"x": (3,)},
            UsageError,
            "--shape x=3 has 1 sizes, one sample of the input has 2",
        ),
        ({"x": (4, 8)}, UsageError, "--shape x=4x8: the input takes 3x?"),
        (
            {"x": (3, 1 << 40)},
            LimitError,
            "one random sample for 'x' takes 13,194,139,533,312 bytes, more than 1,073,741,824",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_refused(
    shapes: dict[str, Any], kind: type[OnnxpruneError], message: str
) -> None:
    error = refusal("random:2", port("x", (None, 3, None)), shapes=shapes)
    assert (type(error), error.message) == (kind, message)


@pytest.mark.parametrize(
    ("dtype", "what"),
    [(None, "no tensor that numpy knows"), ("str", "text"), ("bfloat16", "bfloat16")],
)
def test_there_is_no_noise_of_some_types(dtype: str | None, what: str) -> None:
    error = refusal("random", Port("x", dtype, (None, 2)))
    assert isinstance(error, UnsupportedError)
    assert error.message == f"no random samples for input 'x': it takes {what}"


@pytest.mark.parametrize("count", ["0", "-1", "many", "", "1.5", "9999999999"])
def test_the_number_has_to_be_one(count: str) -> None:
    error = refusal(f"random:{count}")
    assert isinstance(error, UsageError)
    assert error.message == f"--data random:N takes a number of samples, not '{count}'"


def test_sums_depend_on_seed_number_and_shapes() -> None:
    sums = {
        opened("random:3", *PORTS).digest(),
        opened("random:4", *PORTS).digest(),
        opened("random:3", *PORTS, seed=1).digest(),
        opened("random:3", *PORTS[1:]).digest(),
    }
    assert len(sums) == 4
    assert opened("random:3", *PORTS).digest() in sums
