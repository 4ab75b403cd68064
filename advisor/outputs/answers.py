"""How a run's answers did, as people read it: requests that should be refused, and answers under load."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from advisor.loadtest.answers.agreement import agreements
from advisor.loadtest.findings.refusals import FINDING
from advisor.units import format_seconds


def answer_rows(findings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A row for each kind that should be refused, and for each whose answers were compared."""
    refused: Any = findings.get(FINDING, ())
    for row in refused:
        p95 = "" if row["p95_seconds"] is None else f", p95 {format_seconds(row['p95_seconds'])}"
        others = [
            f"{row[key]} {words}"
            for key, words in (("accepted", "accepted"), ("server_errors", "server error"))
            if row[key]
        ]
        yield row["kind"], ", ".join([f"{row['refused']} of {row['requests']} refused{p95}", *others])
    found = agreements(findings)
    for kind in dict.fromkeys(agreement.kind for agreement in found):
        own = [agreement for agreement in found if agreement.kind == kind]
        worst = min(own, key=lambda agreement: agreement.interval[1])
        total, agreed = sum(a.compared for a in own), sum(a.agreed for a in own)
        where = "" if agreed == total else f"; in {worst.stage} {worst.sentence()}"
        yield "accuracy", f"{kind}: {agreed} of {total} answers as without load{where}"
