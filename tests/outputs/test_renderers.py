import io
from dataclasses import replace

import pytest
from rich.console import Console

from advisor.domain import Arrivals, Demand, Outcome, PolicyOutcome, Refusal, Simulation
from advisor.loadtest.answers.agreement import Agreement
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
    volley = run_markdown(run(stages=(stage(arrivals=Arrivals.VOLLEY),)))
    assert "| – |" in volley.splitlines()[-1]

    def cells(arrivals):
        return shown(stages_table([stage_document(stage(arrivals=arrivals))])).splitlines()[1].split()

    assert "–" in cells(Arrivals.VOLLEY)
    assert "–" not in cells(Arrivals.POISSON)


def test_a_title_longer_than_its_table_stays_on_one_line():
    one = run(target="127.0.0.1-8080-a-rather-long-path-of-a-model", capacity=None)
    assert shown(run_table(one), 100).splitlines()[0] == f"{one.target}: {one.scenario}"


def test_the_objective_in_words():
    assert slo_words(SLO) == "p95 ≤ 100 ms, errors ≤ 0.1 %"


@pytest.mark.parametrize("render", [lambda r: shown(run_table(r), 300), run_markdown])
def test_how_answers_did_in_words(render):
    refused = {
        "kind": "POST /predict invalid", "requests": 50, "refused": 40, "accepted": 9, "server_errors": 1,
        "p95_seconds": 0.012, "within_seconds": 0.1, "passed": {},
    }  # fmt: skip
    right = Agreement("load 1", "POST /predict", 300, 300, 0.99).document()
    wrong = Agreement("load 2", "POST /predict", 100, 50, 0.99).document()
    text = render(run(findings={"invalid_requests": [refused], "accuracy": [right, wrong]}))
    assert "40 of 50 refused, p95 12 ms, 9 accepted, 1 server error" in text
    assert "POST /predict: 350 of 400 answers as without load; in load 2 50 % of 100 answers agree" in text
    text = render(run(findings={"accuracy": [right]}))
    assert "POST /predict: 300 of 300 answers as without load" in text
    assert "in load 1" not in text


@pytest.mark.parametrize("render", [lambda r: shown(run_table(r)), run_markdown])
def test_a_stage_with_failures_names_their_kinds(render):
    failing = stage(bad=0)
    failing.log.outcome[:5] = Outcome.SERVER_ERROR
    failing.log.outcome[5:7] = Outcome.TIMEOUT
    text = render(run(stages=(failing,)))
    assert "5 server error, 2" in text
