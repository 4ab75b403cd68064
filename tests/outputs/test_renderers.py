import io
from dataclasses import replace

import pytest
from rich.console import Console

from advisor.domain import Arrivals, Demand, PolicyOutcome, Refusal, Simulation
from advisor.outputs.documents import stage_document
from advisor.outputs.markdown import recommendation_markdown, run_markdown
from advisor.outputs.table import recommendation_table, run_table, stages_table
from advisor.outputs.words import slo_words
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.outputs.test_documents import run, stage
from tests.scaling.advice import NOW, SLO, capacity


def shown(renderable, width=200):
    console = Console(width=width, file=io.StringIO())
    console.print(renderable)
    return console.file.getvalue()


def advise(found=None):
    found = found or capacity(server="1 worker [fifo]", warnings=("the machine was disturbed",))
    advice = recommend(
        "heart", SLO, ScalingPolicy(), found, now=NOW, demand=Demand(500, "a|b [c]"), current_replicas=3
    )
    outcomes = (
        PolicyOutcome("advised", 0.99996, 0.9991, 812.4, 40.2, 12),
        PolicyOutcome("CPU 70 %", 0.9, 0.8, 700.0, 90.0, 40, stable=False),
    )
    return replace(advice, simulation=Simulation("last week", 7.0, outcomes))


@pytest.mark.parametrize("render", [lambda a: shown(recommendation_table(a)), recommendation_markdown])
def test_the_advice_in_words(render):
    text = render(advise())
    for part in (
        "70 req/s (65 to 75, 90%)",
        "45.5 req/s per replica",
        "99.99 %",
        "1 worker [fifo]",
        "disturbed",
        "812.4",
    ):
        assert part in text
    assert "unstable" in text


def test_cells_of_a_markdown_table_are_not_broken():
    line = next(
        line for line in recommendation_markdown(advise()).splitlines() if line.startswith("| demand")
    )
    assert line == "| demand | 500 req/s (a\\|b [c]) |"


@pytest.mark.parametrize("render", [lambda a: shown(recommendation_table(a)), recommendation_markdown])
def test_a_refusal_in_words(render):
    advice = recommend("heart", SLO, ScalingPolicy(), Refusal("too little [load]", at_least=50), now=NOW)
    text = render(advice)
    assert "refused" in text
    assert "at least 50 req/s" in text
    assert "too little [load]" in text


@pytest.mark.parametrize("render", [lambda r: shown(run_table(r)), run_markdown])
def test_a_run_in_words(render):
    text = render(run())
    assert "70 req/s" in text
    assert "valid" in text
    assert "knee" in text
    refused = render(run(capacity=Refusal("no [form]")))
    assert "no [form]" in refused


def test_a_volley_completes_at_no_rate():
    def cells(arrivals):
        return shown(stages_table([stage_document(stage(arrivals=arrivals))])).splitlines()[1].split()

    assert "–" in cells(Arrivals.VOLLEY)
    assert "–" not in cells(Arrivals.POISSON)


def test_a_title_longer_than_its_table_stays_on_one_line():
    one = run(target="127.0.0.1-8080-a-rather-long-path-of-a-model", capacity=None)
    assert shown(run_table(one), 100).splitlines()[0] == f"{one.target}: {one.scenario}"


def test_the_objective_in_words():
    assert slo_words(SLO) == "p95 ≤ 100 ms, errors ≤ 0.1 %"
