"""A run and a check as JUnit XML, for the test report of a CI system. Pure.

One testcase for each rule of the verdict, each bound of the objective, and the comparison with the baseline.
`failure`: measured, and not as it should be. `error`: the evidence does not tell. `skipped`: nothing to
judge, and the message says why. A command that ends with 0 writes neither failures nor errors.

The format is the one that Jenkins, GitLab and GitHub's reporters read: Ant's, with suites nested in
`testsuites` (https://github.com/testmoapp/junitxml). Names of cases are the same from run to run, so that a
CI system can follow each over time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from advisor.capacity.gate import Check, CheckStatus
from advisor.domain import Arrivals, Capacity, Refusal, Run, RunStatus, VerdictStatus
from advisor.loadtest.statuses import failure_words
from advisor.loadtest.verdict import SEARCHES, Direct, Held, examine, objective_held, stage_evidence
from advisor.loadtest.verdict.answers import answers_held
from advisor.outputs.words import bound_words, capacity_words, slo_words

_TO_ITS_END = "the run came to its end"
_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Result(StrEnum):
    """The elements of JUnit; PASSED has none."""

    PASSED = "passed"
    FAILED = "failure"
    UNKNOWN = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Case:
    """One testcase; `group` becomes its class, `message` says why it has this result."""

    group: str
    name: str
    result: Result
    message: str = ""


def run_junit(run: Run) -> str:
    """The run, which must have its stages."""
    return _document(run.target, [_suite(f"{run.target}.{run.scenario}", run, run_cases(run))])


def check_junit(check: Check) -> str:
    """The run of the new version, where there is one, and the comparison."""
    target, run = check.question.target, check.candidate
    suites = [] if run is None else [_suite(f"{target}.{run.scenario}", run, run_cases(run))]
    suites.append(_suite(f"{target}.release", None, [_comparison(check)]))
    return _document(target, suites)


def unmeasured_junit(target: str, scenario: str, reason: str) -> str:
    """A run that never began: the target was not there, or refused the requests."""
    case = Case("evidence", _TO_ITS_END, Result.UNKNOWN, reason)
    return _document(target, [_suite(f"{target}.{scenario}", None, [case])])


# -------------------------------------------------------------------------------------------------- cases


def run_cases(run: Run) -> list[Case]:
    """Evidence first, then the objective."""
    return [*_evidence(run), *_objective(run)]


def _evidence(run: Run) -> Iterator[Case]:
    if run.verdict is None:
        why = f"it is {run.status.value}" + (f": {run.reason}" if run.reason else "")
        yield Case("evidence", _TO_ITS_END, Result.UNKNOWN, why)
        return
    cut_short = run.reason or run.status.value if run.status is not RunStatus.DONE else None
    objections: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for examined in examine(run.stages, run.slo, run.capacity, cut_short=cut_short):
        said = objections.setdefault(examined.rule, [])
        if examined.objection is not None:
            against = examined.objection.status is not VerdictStatus.VALID
            (said if against else notes.setdefault(examined.rule, [])).append(examined.objection.reason)
    told = {reason for said in (*objections.values(), *notes.values()) for reason in said}
    rest = [reason for reason in run.verdict.reasons if reason not in told]
    if rest and run.verdict.status is not VerdictStatus.VALID:
        objections["further objections"] = rest
    for rule, said in objections.items():
        result = Result.UNKNOWN if said else Result.PASSED
        yield Case("evidence", rule, result, "; ".join(said or notes.get(rule, ())))


def _objective(run: Run) -> Iterator[Case]:
    invalid = run.verdict is None or run.verdict.status is VerdictStatus.INVALID
    if run.scenario == "capacity":
        yield from _of_a_capacity(run)
    elif run.scenario in SEARCHES:
        why = f"a {run.scenario} run goes beyond the objective on purpose"
        yield Case("objective", slo_words(run.slo), Result.SKIPPED, why)
    else:
        yield from (_held(held, invalid=invalid) for held in objective_held(run))
    yield from (_held(held, invalid=invalid) for held in answers_held(run))


def _held(held: Held, *, invalid: bool) -> Case:
    name = f"{held.bound} ({held.stage})" if held.stage else held.bound
    if invalid:
        return Case("objective", name, Result.SKIPPED, f"the evidence is invalid; {held.sentence}")
    result = {
        Direct.MET: Result.PASSED,
        Direct.VIOLATED: Result.FAILED,
        Direct.UNDECIDED: Result.SKIPPED,  # where that matters, a rule of the evidence objects
    }[held.status]
    return Case("objective", name, result, held.sentence)


def _of_a_capacity(run: Run) -> Iterator[Case]:
    bounds = bound_words(run.slo)
    if isinstance(run.capacity, Capacity):
        status = run.verdict.status if run.verdict else None
        result = Result.PASSED if status is VerdictStatus.VALID else Result.SKIPPED
        message = f"held up to {capacity_words(run.capacity)}"
        if result is Result.SKIPPED:
            message += f", on evidence that is {status or 'unknown'}"
        yield from (Case("objective", bound, result, message) for bound in bounds)
    elif isinstance(run.capacity, Refusal) and run.capacity.infeasible:
        broken = _broken_unloaded(run) or {0}
        for number, bound in enumerate(bounds):
            result = Result.FAILED if number in broken else Result.SKIPPED
            yield Case("objective", bound, result, run.capacity.reason)
    else:
        reason = run.capacity.reason if run.capacity else "no capacity was found"
        yield from (Case("objective", bound, Result.SKIPPED, reason) for bound in bounds)


def _broken_unloaded(run: Run) -> set[int]:
    """Which of `bound_words` single requests broke already."""
    found = set()
    for result in run.stages:
        if result.stage.arrivals is Arrivals.SINGLE:
            *latency, errors = stage_evidence(result, run.slo)
            found |= {number for number, e in enumerate(latency) if e.status is Direct.VIOLATED}
            found |= {len(bound_words(run.slo)) - 1} if errors.status is Direct.VIOLATED else set()
    return found


def _comparison(check: Check) -> Case:
    """`failure` only where the capacity regressed; out of reach, the bound of the objective has failed."""
    name = f"capacity against version {check.question.baseline}"
    message = "; ".join(check.reasons)
    if check.status is CheckStatus.INCONCLUSIVE:
        return Case("release", name, Result.UNKNOWN, message)
    if check.comparison is None:
        return Case("release", name, Result.SKIPPED, message)
    result = Result.PASSED if check.status is CheckStatus.PASSED else Result.FAILED
    return Case("release", name, result, message)


# ---------------------------------------------------------------------------------------------------- XML


def _document(target: str, suites: Sequence[Element]) -> str:
    root = Element("testsuites", {"name": f"capacity-advisor {_text(target)}", **_sums(suites)})
    root.extend(suites)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _suite(name: str, run: Run | None, cases: Sequence[Case]) -> Element:
    counts = {str(result): sum(case.result is result for case in cases) for result in Result}
    suite = Element(
        "testsuite",
        {
            "name": _text(name),
            "tests": str(len(cases)),
            "failures": str(counts["failure"]),
            "errors": str(counts["error"]),
            "skipped": str(counts["skipped"]),
            "time": f"{_seconds(run):.3f}",
        },
    )
    if run is not None:
        suite.set("timestamp", f"{datetime.fromtimestamp(run.started_at, UTC):%Y-%m-%dT%H:%M:%S}")
        properties = SubElement(suite, "properties")
        for key, value in _properties(run):
            SubElement(properties, "property", {"name": key, "value": _text(value)})
    target = name.rpartition(".")[0] if run is None else run.target
    for case in cases:
        _append(suite, target, case)
    return suite


def _append(suite: Element, target: str, case: Case) -> None:
    element = SubElement(
        suite,
        "testcase",
        {"classname": _text(f"{target}.{case.group}"), "name": _text(case.name), "time": "0"},
    )
    if case.result is Result.PASSED:
        if case.message:
            SubElement(element, "system-out").text = _text(case.message)
        return
    said = SubElement(element, str(case.result), {"message": _text(case.message)})
    if case.result is not Result.SKIPPED:
        said.set("type", "violated" if case.result is Result.FAILED else "inconclusive")
        said.text = _text(case.message)


def _sums(suites: Iterable[Element]) -> dict[str, str]:
    listed = list(suites)
    sums = {key: str(sum(int(s.get(key, "0")) for s in listed)) for key in ("tests", "failures", "errors")}
    return {**sums, "time": f"{sum(float(s.get('time', '0')) for s in listed):.3f}"}


def _seconds(run: Run | None) -> float:
    return run.ended_at - run.started_at if run is not None and run.ended_at is not None else 0.0


def _properties(run: Run) -> Iterator[tuple[str, str]]:
    yield "run_id", run.run_id
    if run.version:
        yield "version", run.version
    yield "objective", slo_words(run.slo)
    if run.verdict is not None:
        yield "verdict", run.verdict.status.value
    for result in run.stages:
        if failures := failure_words(result.log.outcomes):
            yield f"failures in {result.stage.name}", failures
    if isinstance(run.capacity, Capacity):
        yield "capacity", capacity_words(run.capacity)
        yield "limited_by", run.capacity.limited_by.value


def _text(text: str) -> str:
    """Without the characters that XML 1.0 cannot hold, not even escaped."""
    return _NOT_XML.sub("�", text)
