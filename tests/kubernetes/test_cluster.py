"""What is asked of an API server, and what its answers tell: over a small server of the documented API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from advisor.observe.kubernetes import Autoscaler, Cluster, ClusterError, Place, Workload
from tests.servers.kubernetes import NAMESPACE, ApiServer, api_server, pod

PLACE = Place("heart-disease")
Ask = Callable[[Callable[[Cluster], Awaitable[Any]]], Any]


@pytest.fixture
def state() -> ApiServer:
    return ApiServer()


@pytest.fixture
def ask(state: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    async def asked(question: Callable[[Cluster], Awaitable[Any]]) -> Any:
        return await asyncio.wait_for(question(Cluster()), 20)

    with api_server(tmp_path, state) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield lambda question: asyncio.run(asked(question))


def test_a_workload_is_read_with_its_pods_and_its_autoscaler(ask):
    assert ask(lambda cluster: cluster.look(PLACE)) == Workload(
        replicas=2,
        ready=2,
        cpu_request=0.75,
        cpu_limit=2.0,
        startup_seconds=40.0,
        version="sha256:3e7a9f0c2d4b",
        autoscaler=Autoscaler("heart-disease", 2, 9, ("cpu 70 %",)),
    )


def test_the_start_is_the_median_of_pods_that_never_restarted(ask, state):
    state.pods = [pod(1, seconds=30), pod(2, seconds=90), pod(3, seconds=50), pod(4, seconds=1800)]
    state.pods[3]["status"]["containerStatuses"][0]["restartCount"] = 1
    assert ask(lambda cluster: cluster.look(PLACE)).startup_seconds == 50.0


def test_a_request_of_no_cpu_is_none(ask, state):
    state.deployment["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "0"
    assert ask(lambda cluster: cluster.look(PLACE)).cpu_request is None


def test_an_answer_that_is_no_workload_is_said(ask, state):
    del state.deployment["spec"]["template"]
    with pytest.raises(ClusterError, match="cannot be asked: 'template'"):
        ask(lambda cluster: cluster.look(PLACE))


def test_pods_of_two_versions_tell_no_version(ask, state):
    state.pods[1] = pod(2, image_id="registry.example/heart-disease@sha256:" + "0" * 64)
    assert ask(lambda cluster: cluster.look(PLACE)).version is None


def test_autoscalers_that_may_not_be_read_are_not_known_and_the_rest_is(ask, state):
    state.forbidden.add(("list", "horizontalpodautoscalers"))
    found = ask(lambda cluster: cluster.look(PLACE))
    assert (found.autoscaler, found.ready) == (None, 2)


def test_sidecars_are_found_by_label_in_pods_that_run(ask, state):
    state.pods += [pod(3, phase="Pending"), pod(4)]
    state.pods[3]["metadata"]["deletionTimestamp"] = "2026-01-05T11:00:00Z"
    found = ask(lambda cluster: cluster.sidecars("capacity-advisor/target=heart-disease"))
    assert found == ["http://10.0.0.1:9109/metrics", "http://10.0.0.2:9109/metrics"]
    assert ask(lambda cluster: cluster.sidecars("capacity-advisor/target=other", NAMESPACE)) == []


def test_scaling_waits_until_every_replica_is_ready(ask, state):
    ask(lambda cluster: cluster.scale(PLACE, 3))
    path, content_type, _, body = state.patches[0]
    assert path == f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/heart-disease/scale"
    assert (content_type, body) == ("application/merge-patch+json", {"spec": {"replicas": 3}})
    assert state.deployment["status"]["readyReplicas"] == 3


def test_a_dry_run_asks_the_server_and_changes_nothing(ask, state):
    manifest = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "heart-disease"},
        "spec": {"minReplicas": 2, "maxReplicas": 9},
    }
    ask(lambda cluster: cluster.dry_run(manifest))
    path, content_type, query, _ = state.patches[0]
    assert path == f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers/heart-disease"
    assert content_type == "application/apply-patch+yaml"
    assert query == {"dryRun": ["All"], "fieldManager": ["capacity-advisor"], "force": ["true"]}
    manifest["spec"]["maxReplicas"] = 1
    with pytest.raises(ClusterError, match="must be greater than or equal to `minReplicas`"):
        ask(lambda cluster: cluster.dry_run(manifest))


@pytest.mark.parametrize(
    ("place", "forbidden", "said"),
    [
        (Place("other"), [], 'deployments "other" not found'),
        (PLACE, [("get", "deployments")], "cannot get resource"),
        (PLACE, [("list", "pods")], "pods is forbidden"),
        (Place("heart-disease", "DaemonSet"), [], "DaemonSet heart-disease is neither a Deployment nor"),
    ],
)
def test_what_the_server_refuses_is_told_in_its_words(ask, state, place, forbidden, said):
    state.forbidden.update(forbidden)
    with pytest.raises(ClusterError, match=said):
        ask(lambda cluster: cluster.look(place))


def test_without_a_cluster_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterError, match="the cluster cannot be asked: Unable to find valid credentials"):
        asyncio.run(Cluster().look(PLACE))
    config = tmp_path / "gone"
    config.mkdir()
    with api_server(config, ApiServer()) as kubeconfig:
        pass
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    with pytest.raises(ClusterError, match="the API server cannot be asked"):
        asyncio.run(Cluster().look(PLACE))
