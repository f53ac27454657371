"""The collector itself: what it refuses, keeps and leaves as it was."""

import numpy as np
import pytest
import torch

from onnxprune import registry
from onnxprune.errors import LimitError, UnsupportedError, UsageError
from onnxprune.statistics import gradients
from onnxprune.statistics.collecting import OF_INPUTS, STATISTICS
from onnxprune.statistics.determinism import reproducible
from onnxprune.statistics.measurement import failures_named
from tests.statistics.nets import collector, drawn, samples_of, smooth

X = drawn(7, 10, 3)
LABELS = np.arange(10) % 3
OF_LOSSES = [name for name in STATISTICS if name not in OF_INPUTS]


def test_every_statistic_that_a_method_may_ask_for_can_be_measured() -> None:
    assert set(STATISTICS) == registry.MEASURED


def test_all_statistics_can_be_asked_for_at_once() -> None:
    measuring = collector(smooth(), samples_of(X, LABELS), batch=4, batches_per_step=2)
    together = measuring.collect(["curvature", "gradient"], None, 2)
    assert list(together) == ["curvature", "gradient"]
    for name in together:
        alone = collector(smooth(), samples_of(X, LABELS), batch=4, batches_per_step=2)
        found = alone.collect([name], None, 2)[name]
        for path in found:
            assert np.array_equal(found[path], together[name][path])


def test_the_same_measurement_gives_the_same_bits() -> None:
    first, second = (
        collector(smooth(), samples_of(X, LABELS), batch=4, curvature="mc").collect(
            OF_LOSSES, None, 1
        )
        for _ in range(2)
    )
    for name in OF_LOSSES:
        for path in first[name]:
            assert np.array_equal(first[name][path], second[name][path])


def test_an_unknown_statistic_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        collector(smooth(), samples_of(X, LABELS)).collect(["gradients"], None, 1)
    assert caught.value.message == (
        "no statistic 'gradients'; known are gradient, curvature, hessian_gradient, flow,"
        " input_norm, gram"
    )


def test_what_needs_samples_says_so() -> None:
    with pytest.raises(UsageError) as caught:
        collector(smooth(), None).collect(["gradient", "flow"], None, 1)
    assert caught.value.message == "gradient: measured on samples, and there are none"
    assert caught.value.hint == "--data gives them"


def test_a_tensor_that_the_module_does_not_have_is_left_alone() -> None:
    measuring = collector(smooth(), samples_of(X, LABELS))
    net = smooth()
    other = type(measuring)(
        net, samples_of(X, LABELS), ["first", "unused"], measuring._estimation
    )
    assert list(other.collect(["gradient"], None, 1)["gradient"]) == ["first"]
    assert other.notes == ["no gradient reaches 'unused': it is left alone"]


def test_only_the_tensors_that_are_asked_for_are_measured() -> None:
    measuring = collector(smooth(), samples_of(X, LABELS))
    some = type(measuring)(smooth(), samples_of(X, LABELS), ["second"], measuring._estimation)
    for name in OF_LOSSES:
        if name != "hessian_gradient":
            wanted = measuring.collect([name], None, 1)[name]["second"]
            found = some.collect([name], None, 1)[name]
            assert list(found) == ["second"]
            np.testing.assert_allclose(found["second"], wanted, rtol=1e-12)


def test_a_step_that_was_broken_off_leaves_the_module_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    net = smooth()
    before = {path: each.detach().clone() for path, each in net.tensors.items()}
    measuring = collector(net, samples_of(X, LABELS), bn="batch")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(gradients, "_differentiate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measuring.collect(["gradient"], {"first": np.zeros(12, bool)}, 1)
    assert not net.batch_statistics
    assert not torch.are_deterministic_algorithms_enabled()
    for path, each in net.tensors.items():
        assert torch.equal(each, before[path])


def test_deterministic_algorithms_are_taken_for_a_while() -> None:
    with reproducible():
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (MemoryError(), LimitError, "sample 3: out of memory"),
        (RuntimeError("can't allocate memory: 8 GB"), LimitError, "sample 3: out of memory"),
        (
            RuntimeError("derivative for aten::x\nis not implemented"),
            UnsupportedError,
            "sample 3: torch has no gradient here: derivative for aten::x is not implemented",
        ),
        (UsageError("as it is"), UsageError, "as it is"),
    ],
)
def test_what_torch_raises_says_where(
    error: Exception, kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught, failures_named("sample 3"):
        raise error
    assert str(caught.value) == message


@pytest.mark.parametrize("names", [["gradient"], ["curvature"], ["gradient", "curvature"]])
def test_the_share_that_is_done_grows_to_all_of_it(names: list[str]) -> None:
    told: list[float] = []
    measuring = collector(smooth(), samples_of(X, LABELS), batch=5, batches_per_step=2)
    measuring.watch = told.append
    measuring.collect(names, None, 1)
    assert told == sorted(told)
    assert len(set(told)) >= 2 * len(names)
    assert told[-1] == 1
