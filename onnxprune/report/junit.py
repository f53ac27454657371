"""Checks and studies as JUnit XML, which CI systems show as test cases."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from xml.etree import ElementTree

from onnxprune.outcomes import CheckResult
from onnxprune.points import Point, Study
from onnxprune.report.checks import RANDOM, result_facts
from onnxprune.report.spelling import number, sparsity
from onnxprune.report.studies import NOT_MEASURED
from onnxprune.report.text import show

SUITE = "onnxprune"
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML file may hold, not even escaped."""


@dataclass(frozen=True, slots=True)
class Case:
    """One test case; `failure` says why it failed."""

    group: str
    name: str
    failure: str | None = None
    seconds: float = 0.0
    text: str = ""


def check_to_junit(result: CheckResult, model: str, seconds: float) -> str:
    """Return one test case per condition of the gate, or a single one without a gate."""
    group = f"{SUITE}.check.{_dotless(model)}"
    facts = {fact.label: fact.text for fact in result_facts(result) if fact.label != "gate"}
    cases = [
        Case(
            group,
            f"{condition.option} {number(condition.limit, 12)}",
            None if condition.passed else condition.sentence,
            text=condition.sentence,
        )
        for condition in result.conditions
    ]
    measure, dense, pruned = result.measured.headline
    figures = {
        "model": model,
        "measure": measure,
        "dense": number(dense, 12),
        "pruned": number(pruned, 12),
    }
    text = "\n".join(f"{label}: {fact}" for label, fact in facts.items())
    return _write(cases or [Case(group, "check", text=text)], figures | facts, seconds)


def study_to_junit(study: Study) -> str:
    """Return one test case per point; those that could not be measured failed."""
    group = f"{SUITE}.{study.kind}.{_dotless(study.model)}"
    cases = [
        Case(
            group,
            f"{point.method} {sparsity(point.sparsity)}",
            (point.failure or NOT_MEASURED) if point.value is None else None,
            point.seconds,
            _figure(study, point),
        )
        for point in study.points
    ]
    figures = {
        "model": study.model,
        "measure": study.measure,
        "dense": number(study.dense, 12),
        "source": study.data.source,
        "samples": str(study.data.samples),
        "provider": study.place.provider,
    }
    if study.data.random:
        figures["data"] = RANDOM
    return _write(cases, figures, study.seconds)


def _figure(study: Study, point: Point) -> str:
    if point.value is None:
        return ""
    return f"{study.measure} {number(point.value, 12)} (dense {number(study.dense, 12)})"


def _write(cases: Iterable[Case], figures: Mapping[str, str], seconds: float) -> str:
    cases = list(cases)
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.failure is not None for case in cases)),
        "errors": "0",
        "skipped": "0",
        "time": f"{seconds:.3f}",
    }
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": SUITE, **counts})
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in figures.items():
        attributes = {"name": _clean(name), "value": _clean(value)}
        ElementTree.SubElement(properties, "property", attributes)
    for case in cases:
        _add(suite, case)
    ElementTree.indent(suites)
    body: str = ElementTree.tostring(suites, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def _add(suite: ElementTree.Element, case: Case) -> None:
    attributes = {
        "classname": _clean(case.group),
        "name": _clean(case.name),
        "time": f"{case.seconds:.3f}",
    }
    element = ElementTree.SubElement(suite, "testcase", attributes)
    if case.failure is not None:
        message = _clean(case.failure)
        failure = ElementTree.SubElement(element, "failure", {"message": message})
        failure.text = message
    elif case.text:
        ElementTree.SubElement(element, "system-out").text = _clean(case.text)


def _dotless(model: str) -> str:
    """Keep a file's dots from being read as a hierarchy of classes."""
    return model.replace(".", "_").replace("/", "_")


def _clean(text: str) -> str:
    """Remove what XML cannot hold, and what a CI log would act on."""
    return "\n".join(show(NOT_XML.sub("", line), 1000) for line in text.split("\n"))
