"""JUnit XML: one test case per condition or point, well-formed whatever the names are."""

from dataclasses import replace
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from onnxprune.report.checks import RANDOM
from onnxprune.report.junit import check_to_junit, study_to_junit
from tests.report.made_checks import (
    FAILED_KL,
    HELD_DROP,
    HOSTILE,
    data,
    output,
    point,
    result,
    study,
    sweep,
)


def suite_of(text: str) -> ElementTree.Element:
    suites = ElementTree.fromstring(text.encode("utf-8", "strict"))
    assert suites.tag == "testsuites"
    (suite,) = suites
    return suite


def test_each_condition_is_a_test_case() -> None:
    made = result(conditions=[HELD_DROP, FAILED_KL])
    suite = suite_of(check_to_junit(made, "m.onnx", 1.25))
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == (
        "onnxprune",
        "2",
        "1",
    )
    assert suite.get("time") == "1.250"
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == ["--max-drop 0.01", "--max-kl 0.25"]
    assert cases[0].find("failure") is None
    failure = cases[1].find("failure")
    assert failure is not None
    assert failure.get("message") == "KL 0.310 is above --max-kl 0.25 by 0.060"


def test_a_check_without_a_gate_is_one_test_case_that_passes() -> None:
    suite = suite_of(check_to_junit(result(), "m.onnx", 1.0))
    assert [case.get("name") for case in suite.findall("testcase")] == ["check"]
    assert suite.get("failures") == "0"


def test_the_properties_have_the_main_figures() -> None:
    suite = suite_of(check_to_junit(result(data=data(random=True)), "m.onnx", 1.0))
    found = {each.get("name"): each.get("value") for each in suite.iter("property")}
    assert found["measure"] == "accuracy"
    assert (found["dense"], found["pruned"]) == ("0.985", "0.98")
    assert found["data"] == RANDOM
    assert found["ran on"] is not None


def test_each_point_is_a_test_case_and_those_that_could_not_be_run_failed() -> None:
    suite = suite_of(study_to_junit(sweep()))
    cases = suite.findall("testcase")
    assert [case.get("name") for case in cases] == [
        "lamp 50 %",
        "lamp 90 %",
        "erk 50 %",
        "erk 90 %",
    ]
    assert [case.find("failure") is not None for case in cases] == [False, False, False, True]
    assert cases[3][0].get("message") == "--sparsity 0.9: at most 88.0 % can go"
    assert suite.get("failures") == "1"


def test_a_point_without_a_reason_fails_all_the_same() -> None:
    made = study([replace(point(right=None), failure=None)])
    assert suite_of(study_to_junit(made)).get("failures") == "1"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_no_text_makes_the_xml_malformed(texts: list[str]) -> None:
    conditions = [replace(FAILED_KL, option=text, sentence=text) for text in texts]
    suite_of(
        check_to_junit(result([output(text) for text in texts], conditions), texts[0], 0.0)
    )
    suite_of(study_to_junit(study([point(text, 0.5, None, text) for text in texts])))


def test_hostile_names_stay_text() -> None:
    conditions = [replace(FAILED_KL, sentence=name) for name in HOSTILE]
    text = check_to_junit(result(conditions=conditions), HOSTILE[2], 0.0)
    assert "<script" not in text
    assert "\x1b" not in text
    assert len(suite_of(text).findall("testcase")) == len(HOSTILE)
