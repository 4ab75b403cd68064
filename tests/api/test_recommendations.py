"""Questions over the API, answered from a stored run: real store, real service, no server in between."""

import asyncio
import time

import httpx
import pytest
import yaml

from advisor.api.app import create_app
from advisor.api.security import Access
from advisor.service.app import Advisor
from advisor.settings import AdvisorSettings
from tests.service.test_advice import a_run, a_target


@pytest.fixture(scope="module")
def ask(tmp_path_factory):
    """GET of a path with a query."""
    folder = tmp_path_factory.mktemp("api")
    target = a_target(scaling={"startup": "45s", "max_replicas": 50, "cost_per_replica_hour": 0.2})
    advisor = Advisor(AdvisorSettings(store=f"sqlite:///{folder}/advisor.db", targets=[target]))
    advisor.store.runs.add(a_run("r1", time.time() - 60))

    async def get(path, query):
        transport = httpx.ASGITransport(create_app(advisor, Access()))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.get(path, params=query)

    yield lambda path, **query: asyncio.run(get(path, query))
    asyncio.run(advisor.stop())


def test_every_parameter_changes_what_it_names(ask):
    asked = {
        "demand_rps": 500, "p95": "50ms", "replicas": 3, "startup": "2m", "failure_tolerance": 2,
        "cost_per_replica_hour": 1.5, "error_ratio": "1%",
    }  # fmt: skip
    plain, found = ask("/recommendations/heart").json(), ask("/recommendations/heart", **asked).json()
    assert plain["fleet"] is None
    assert found["demand"] == {"rps": 500.0, "source": "asked"}
    assert found["slo"]["latency"] == {"p95": 0.05}
    assert found["slo"]["error_ratio"] == 0.01
    assert (plain["capacity"]["rps"], found["capacity"]["rps"]) == (100.0, pytest.approx(50.0))
    assert found["replicas"]["recommended"] == 14  # 500 / 45 and 2 that may fail
    assert found["replicas"]["minimum"] == 3
    assert found["replicas"]["cost_per_hour"] == 21.0
    assert (found["fleet"]["replicas"], found["fleet"]["rps"]) == (3, pytest.approx(45.0))
    assert "2 min 38 s of reaction" in found["autoscaling"]["why"]
    assert {"capacity of a replica", "replicas", "3 replicas", "minReplicas"} <= {
        number["name"] for number in found["explained"]
    }


@pytest.mark.parametrize("name", ["p50", "p75", "p90", "p99", "p99.9"])
def test_other_percentiles_join_the_objective(ask, name):
    found = ask("/recommendations/heart", **{name: "80ms"}).json()
    assert found["slo"]["latency"] == {"p95": 0.1} | {name: 0.08}


@pytest.mark.parametrize("name", ["ttft_p95", "itl_p99"])
def test_token_bounds_that_were_never_measured_are_refused(ask, name):
    found = ask("/recommendations/heart", **{name: "80ms"}).json()
    assert found["status"] == "refused"
    assert "measure with that objective" in found["reasons"][0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("demand_rps", "many"), ("p50", "soon"), ("p99.9", "0ms"), ("ttft_p90", "-1s"), ("itl_p50", "x"),
        ("error_ratio", "101%"), ("replicas", "2.5"), ("replicas", "0"), ("startup", "never"),
        ("failure_tolerance", "-1"), ("cost_per_replica_hour", "-0.1"), ("format", "xml"), ("replica", "3"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named(ask, name, value):
    answer = ask("/recommendations/heart", **{name: value})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["location"] for error in answer.json()["errors"]] == [f"query.{name}"]


@pytest.mark.parametrize("form", ["hpa", "keda", "helm-values", "patch"])
def test_forms_are_yaml_for_the_question_asked(ask, form):
    answer = ask("/recommendations/heart", format=form, demand_rps=500, failure_tolerance=4)
    assert answer.headers["content-type"] == "application/yaml"
    document = yaml.safe_load(answer.text)
    spec = document.get("spec") or document["autoscaling"]
    assert (spec.get("minReplicas") or spec["minReplicaCount"]) == 5
    assert "one that serves and 4 that may fail" in answer.text


def test_the_list_is_what_each_target_answers(ask):
    (listed,) = ask("/recommendations").json()
    alone = ask("/recommendations/heart").json()
    assert {**listed, "generated_at": None} == {**alone, "generated_at": None}
