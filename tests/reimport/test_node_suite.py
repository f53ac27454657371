import pytest

from tests.benchmarks import node_suite


@pytest.mark.slow
def test_onnx_node_tests_are_computed_or_refused_but_never_wrong() -> None:
    results = node_suite.suite()
    counts = node_suite.counts(results)
    wrong = [(each.name, each.reason) for each in results if each.kind == node_suite.WRONG]
    assert wrong == []
    assert len(results) > 1500
    computed = counts[node_suite.TORCH] + counts[node_suite.FALLBACK]
    assert computed / len(results) >= 0.9
    assert counts[node_suite.TORCH] / len(results) >= 0.85


@pytest.mark.slow
def test_constant_inputs_make_no_difference() -> None:
    results = node_suite.suite(frozen=True)
    assert node_suite.counts(results)[node_suite.WRONG] == 0
    assert len(results) > 1000
