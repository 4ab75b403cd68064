"""The check of a release in words: what a person reads in a terminal and under a pull request."""

import io
import json

import pytest
from rich.console import Console

from advisor.capacity.gate import Question, check
from advisor.domain import LatencyBound, Refusal, Slo, Verdict, VerdictStatus
from advisor.outputs.check import check_markdown, check_table
from advisor.outputs.documents import check_document
from tests.outputs.test_documents import run
from tests.scaling.advice import NOW, SLO, capacity


def shown(found):
    console = Console(width=220, file=io.StringIO())
    console.print(check_table(found))
    return console.file.getvalue()


def checked(old=True, found=None, baseline="v12", version="v13", target="heart", verdict=None, **more):
    first = run(run_id="r0", version=baseline) if old else None
    second = None
    if found is not None:
        second = run(version=version, capacity=found, verdict=verdict or Verdict(VerdictStatus.VALID), **more)
    question = Question(target, SLO, baseline, version)
    known = first.capacity if first else None
    return check(question, first, known, second, now=NOW + 1e5, stale_after=1e7)


SLOWER = capacity(rps=50.0, interval=(47.5, 52.5), cpu_cores=0.74, server="1 worker, 14 ms of work each")


@pytest.mark.parametrize("words", [shown, check_markdown])
def test_both_versions_stand_beside_each_other(words):
    text = words(checked(found=SLOWER))
    for part in (
        "failed, capacity was lost",
        "v12 (baseline)",
        "v13",
        "70 req/s (65 to 75, 90%)",
        "50 req/s (47.5 to 52.5, 90%)",
        "-28.6 %",
        "1 worker, 14 ms of work each",
        "10.3 ms",  # CPU a request: 0.72 cores at 70/s
        "14.8 ms",
        "a loss of 10 % is allowed",
        "valid, run r1 of 2023-11-14",
        "knee",
    ):
        assert part in text


@pytest.mark.parametrize("words", [shown, check_markdown])
@pytest.mark.parametrize(
    ("found", "headline", "part"),
    [
        (checked(found=capacity()), "passed, no loss beyond what is allowed", "+0.0 %"),
        (checked(old=False), "inconclusive, the evidence does not tell", "missing data does not pass"),
        (
            checked(found=Refusal("a request takes 200 ms", infeasible=True)),
            "failed, the objective is out of reach",
            "a request takes 200 ms",
        ),
        (checked(found=Refusal("at least 90/s", at_least=90.0)), "inconclusive", "at least 90 req/s"),
        (
            checked(found=SLOWER, verdict=Verdict(VerdictStatus.INVALID, ("the generator was late",))),
            "inconclusive",
            "the evidence is invalid: the generator was late",
        ),
    ],
)
def test_every_answer_has_its_headline_and_its_reason(words, found, headline, part):
    text = words(found)
    assert headline in text
    assert part in text


def test_a_baseline_computed_for_another_objective_says_so():
    old = run(run_id="r0", slo=Slo((LatencyBound(0.95, 0.3),)))
    moved = capacity(warnings=("computed for p95 ≤ 100 ms",))
    question = Question("heart", SLO, "v12", "v13")
    found = check(question, old, moved, run(), now=NOW, stale_after=1e7)
    for text in (shown(found), check_markdown(found)):
        assert "computed for p95 ≤ 100 ms" in text


def test_a_comment_can_be_found_again_and_harms_nobody():
    """A version is a branch's name: anyone who opens a pull request can choose it."""
    text = check_markdown(
        checked(
            found=capacity(), baseline="`a`|b\n# c", version="<img src=x> @maintainers", target="heart--x"
        )
    )
    first, second, *_ = text.splitlines()
    assert first == "<!-- capacity-advisor check heart-x -->"
    assert second.startswith("## Capacity of heart--x")
    header = next(line for line in text.splitlines() if line.startswith("| |"))
    assert header == "| | \\`a\\`\\|b \\# c (baseline) | \\<img src=x\\> @\u200bmaintainers |"


def test_markup_of_the_terminal_in_a_version_is_only_text():
    assert "[red]v13" in shown(checked(found=capacity(), version="[red]v13"))


def test_the_document_is_whole_whatever_is_missing():
    for found in (checked(found=SLOWER), checked(old=False), checked(found=Refusal("x", at_least=90.0))):
        document = json.loads(check_document(found).model_dump_json())
        assert document.keys() == {
            "target", "status", "reasons", "warnings", "slo", "max_regression", "baseline", "candidate",
            "comparison", "run",
        }  # fmt: skip
        assert document["baseline"]["version"] == "v12"
        assert document["reasons"] == list(found.reasons)


def test_the_document_of_a_regression():
    document = json.loads(check_document(checked(found=SLOWER)).model_dump_json())
    assert document["status"] == "failed"
    compared = document["comparison"]
    assert (compared["status"], compared["confidence"], compared["max_regression"]) == ("regressed", 0.9, 0.1)
    assert compared["ratio"] == pytest.approx(50 / 70)
    assert compared["interval"][0] < 50 / 70 < compared["interval"][1] < 1
    assert document["run"]["run_id"] == document["candidate"]["run_id"] == "r1"
    assert document["baseline"]["capacity"]["rps"] == 70


def test_an_interval_without_an_end_is_null_in_the_document():
    blind = capacity(interval=(0.0, 75.0))
    compared = json.loads(check_document(checked(found=blind)).model_dump_json())["comparison"]
    assert compared["status"] == "inconclusive"
    assert compared["interval"][0] == 0.0
    other = check(
        Question("heart", SLO, "v12", "v13"),
        run(run_id="r0", capacity=blind),
        blind,
        run(),
        now=NOW,
        stale_after=1e7,
    )
    assert json.loads(check_document(other).model_dump_json())["comparison"]["interval"][1] is None
