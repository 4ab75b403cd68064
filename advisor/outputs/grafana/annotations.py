"""A run as an annotation: a region from its start to its end, with the verdict and a link to its report."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from advisor.domain import Capacity, Refusal, Run, RunStatus
from advisor.outputs.grafana.client import Grafana
from advisor.outputs.words import capacity_words

TAG = "capacity-advisor"  # the dashboards ask for it


@dataclass(frozen=True, slots=True)
class Annotation:
    """Times in Unix ms; `end` None while the run is under way. `key` is the tag that finds it again."""

    key: str
    start: int
    end: int | None
    tags: tuple[str, ...]
    text: str


def annotation_of(run: Run, advisor_url: str | None) -> Annotation:
    """What Grafana shows of a run; without `advisor_url`, how people reach the advisor, there is no link."""
    key = f"run:{run.run_id}"
    judged = [run.verdict.status.value] if run.verdict is not None else []
    words = [f"<b>{escape(run.scenario)}</b> run on {escape(run.target)}"]
    words.append(escape(_outcome(run)))
    if advisor_url is not None:
        page = "page" if run.status is RunStatus.RUNNING else "report"
        link = f"{advisor_url.rstrip('/')}/runs/{run.run_id}/{page}.html"
        words.append(f'<a href="{escape(link)}">{page}</a>')
    return Annotation(
        key,
        round(run.started_at * 1000),
        None if run.ended_at is None else round(run.ended_at * 1000),
        (TAG, run.target, run.scenario, key, run.status.value, *judged),
        "<br>".join(words),
    )


def mark(grafana: Grafana, annotation: Annotation) -> None:
    """Write it once, however often it is told, also after a restart.

    Raises:
        GrafanaFailed: Grafana is away, or refuses.
    """
    there = grafana.annotations([TAG, annotation.key])
    if not there:
        grafana.add_annotation(annotation.start, annotation.end, annotation.tags, annotation.text)
        return
    found = there[0]
    end = annotation.end if annotation.end is not None else annotation.start
    shown = (found.get("text"), sorted(found.get("tags") or ()), found.get("timeEnd"))
    if shown != (annotation.text, sorted(annotation.tags), end):
        grafana.update_annotation(found["id"], annotation.start, end, annotation.tags, annotation.text)


def _outcome(run: Run) -> str:
    if run.status is RunStatus.RUNNING:
        return "under way"
    if run.verdict is None:
        return f"{run.status.value}: {run.reason}" if run.reason else run.status.value
    if isinstance(run.capacity, Capacity):
        return f"{run.verdict.status.value}: {capacity_words(run.capacity)}"
    reasons = [run.capacity.reason] if isinstance(run.capacity, Refusal) else list(run.verdict.reasons)
    return f"{run.verdict.status.value}: {reasons[0]}" if reasons else run.verdict.status.value
