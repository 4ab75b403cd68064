"""What the advice, the runs and the observation make of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from advisor.observe.kubernetes import Workload
from advisor.scaling.policy import ScalingPolicy
from advisor.service.sidecars import Sidecars
from advisor.service.workloads import Scale, Workloads, completed, differences
from advisor.settings import AdvisorSettings, ReferenceSettings
from tests.servers.kubernetes import ApiServer, api_server


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ApiServer]:
    found = ApiServer()
    with api_server(tmp_path, found) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield found


def settings(**target: object) -> AdvisorSettings:
    known = {
        "name": "heart-disease",
        "url": "http://127.0.0.1:1",
        "requests": [{"path": "/"}],
        "slo": {"latency": {"p95": "150ms"}},
        "scaling": {"reference": {"name": "heart-disease"}},
    }
    return AdvisorSettings.model_validate({"kubernetes": True, "targets": [known | target]})


def look(configured: AdvisorSettings) -> tuple[Workload | None, str | None]:
    async def looked() -> tuple[Workload | None, str | None]:
        workloads = Workloads(configured)
        await workloads.start()
        try:
            return workloads.get("heart-disease"), workloads.version(configured.targets[0])
        finally:
            await workloads.stop()

    return asyncio.run(looked())


def test_workloads_are_known_from_the_start_and_their_image_is_the_version(state):
    found, version = look(settings())
    assert found is not None
    assert found.ready == 2
    assert version == "sha256:3e7a9f0c2d4b"
    assert look(settings(version="v7"))[1] == "v7"


def test_a_cluster_that_forbids_leaves_nothing_known_and_is_told_once(state, caplog):
    state.forbidden.add(("get", "deployments"))

    async def looked() -> None:
        workloads = Workloads(settings())
        await workloads.start()
        await workloads.look()
        assert workloads.get("heart-disease") is None
        await workloads.stop()

    asyncio.run(looked())
    told = [record for record in caplog.records if "cannot be seen" in record.message]
    assert len(told) == 1
    assert "is forbidden" in told[0].message


def test_nothing_is_asked_unless_the_configuration_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert look(settings(scaling={})) == (None, None)


def test_a_run_scales_the_workload_and_says_why_it_could_not(state):
    scale = Scale(ReferenceSettings(name="heart-disease"))
    assert scale.what == "scale Deployment heart-disease"
    assert asyncio.run(scale(3)).problem is None
    assert state.deployment["spec"]["replicas"] == 3
    state.forbidden.add(("patch", "deployments"))
    problem = asyncio.run(scale(4)).problem
    assert problem is not None
    assert problem.startswith(
        "Deployment heart-disease was not scaled to 4: the API server says: deployments is"
    )


def test_sidecars_are_found_in_pods_by_the_label_of_the_target(state):
    observe = settings(observe={"kubernetes": {}}).targets[0].observe

    async def found() -> tuple[str, ...]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(503))) as client:
            sidecars = Sidecars(observe, client)
            await sidecars()
            return sidecars.urls

    assert asyncio.run(found()) == ("http://10.0.0.1:9109/metrics", "http://10.0.0.2:9109/metrics")


def test_the_advice_takes_what_is_not_configured_and_tells_what_differs():
    found = Workload(replicas=3, ready=2, cpu_request=0.75, cpu_limit=2.0, startup_seconds=83.0)
    policy = completed(ScalingPolicy(startup_seconds=45.0), found)
    assert (policy.cpu_request_cores, policy.cpu_limit_cores) == (0.75, 2.0)
    assert differences(policy, found) == (
        (
            "pods took 83 s to be ready (the median), more than scaling.startup, 45 s: "
            "the advice counts on faster starts"
        ),
        "only 2 of 3 replicas are ready now",
    )
    configured = ScalingPolicy(startup_seconds=80.0, cpu_request_cores=1.0)
    assert completed(configured, found).cpu_request_cores == 1.0
    assert differences(configured, Workload(3, 3, cpu_request=0.75)) == (
        (
            "scaling.cpu_request is 1 cores, and the container asks for 0.75: a CPU target in percent would "
            "mean another load"
        ),
    )
