"""Compares a sample of the answers while a run goes on, in the advisor and not in the generator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from advisor.domain import Stage
from advisor.loadtest.answers.agreement import Agreement
from advisor.loadtest.answers.compare import agree
from advisor.loadtest.answers.references import Reference
from advisor.loadtest.execute import Observer
from advisor.loadtest.protocol import SecondRecord


class Watch(Observer):
    """Counts, stage by stage, how many of the told answers agree with the references."""

    def __init__(self, references: Mapping[int, Reference]) -> None:
        self._references = references
        self._stages: list[str] = []
        self._compared: Counter[tuple[int, int]] = Counter()  # by stage and kind
        self._agreed: Counter[tuple[int, int]] = Counter()

    def on_stage_start(self, stage: Stage) -> None:
        """Count anew."""
        self._stages.append(stage.name)

    def on_second(self, record: SecondRecord) -> None:
        """The generator tells at most 20 answers a second."""
        for told in record.told:
            reference = self._references[told.kind]
            where = (len(self._stages) - 1, told.kind)
            self._compared[where] += 1
            self._agreed[where] += agree(reference.parts[told.entry], told.body, reference.rule)

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
