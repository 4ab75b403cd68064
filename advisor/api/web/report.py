"""One run as a page that stands alone: it can be mailed, attached, or kept as an artefact."""

from __future__ import annotations

from advisor.api.web import findings, render
from advisor.domain import Capacity, Run
from advisor.outputs.documents import RunDocument
from advisor.outputs.words import slo_words


def report_page(run: Run, document: RunDocument) -> str:
    """HTML without scripts or anything from outside. `document` is that of the run, with its stages."""
    capacity = run.capacity if isinstance(run.capacity, Capacity) else None
    return render.page(
        "report.html",
        style=render.stylesheet(),
        run=document,
        objective=slo_words(run.slo),
        chart=render.capacity_chart(capacity, run.slo, document.stages),
        findings=list(findings.rows(document.findings)),
    )
