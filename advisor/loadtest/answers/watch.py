"""Compares a sample of the answers while a run goes on, in the advisor and not in the generator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from advisor.domain import Outcome, Stage
from advisor.loadtest.answers.agreement import Agreement
from advisor.loadtest.answers.compare import agree
from advisor.loadtest.answers.references import Reference
from advisor.loadtest.execute import Observer
from advisor.loadtest.protocol import Kind, SecondRecord, Told

_EXAMPLES = 10
_EXCERPT = 200  # bytes of a body in an example


class Watch(Observer):
    """Counts, stage by stage, how many of the told answers agree with the references; keeps requests that
    should have been refused and were not.
    """

    def __init__(self, kinds: Sequence[Kind], references: Mapping[int, Reference]) -> None:
        self._kinds = kinds
        self._references = references
        self._passed: dict[str, dict[str, str]] = {}  # by kind and flaw: how it was answered
        self._stages: list[str] = []
        self._compared: Counter[tuple[int, int]] = Counter()  # by stage and kind
        self._agreed: Counter[tuple[int, int]] = Counter()

    def on_stage_start(self, stage: Stage) -> None:
        """Count anew."""
        self._stages.append(stage.name)

    def on_second(self, record: SecondRecord) -> None:
        """The generator tells at most 20 answers a second."""
        for told in record.told:
            if told.outcome != Outcome.OK:
                self._pass(told)
                continue
            reference = self._references[told.kind]
            where = (len(self._stages) - 1, told.kind)
            self._compared[where] += 1
            self._agreed[where] += agree(reference.parts[told.entry], told.body, reference.rule)

    def _pass(self, told: Told) -> None:
        kind = self._kinds[told.kind]
        prepared = kind.pool[told.entry]
        flaw = prepared.flaw or prepared.body[:_EXCERPT].decode(errors="replace") or prepared.path
        passed = self._passed.setdefault(kind.name, {})
        if len(passed) < _EXAMPLES:
            passed.setdefault(flaw, Outcome(told.outcome).name.lower())

    def passed(self, kind: str) -> Mapping[str, str]:
        """Some flaws of requests of a kind that should have been refused, each with the outcome instead."""
        return self._passed.get(kind, {})

    def agreements(self) -> tuple[Agreement, ...]:
        """Of each stage and kind of which answers were compared, in order."""
        return tuple(
            Agreement(
                self._stages[stage],
                self._references[kind].kind,
                compared,
                self._agreed[stage, kind],
                self._references[kind].rule.share,
            )
            for (stage, kind), compared in sorted(self._compared.items())
        )
