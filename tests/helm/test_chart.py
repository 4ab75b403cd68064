"""The chart as Helm itself renders it: valid for every Kubernetes it claims, and nothing that is disabled."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

import helm_python as helm
import pytest
import typer.main
import yaml

from advisor.cli.app import app
from advisor.outputs.hpa import adapter_rules
from advisor.settings import load, parse
from helm.sync import files
from tests.manifests import VERSIONS, validate

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm"
MINIMAL = yaml.safe_load((CHART / "ci" / "minimal-values.yaml").read_text())
CUSTOM = {
    "ServiceMonitor",
    "PodMonitor",
    "PrometheusRule",
    "ScaledObject",
}  # of operators: schemas of their own
ALWAYS = Counter(ConfigMap=1, Deployment=1, Service=1, ServiceAccount=1)
SCALED = {
    "name": "heart-disease",
    "metric": "inference_requests_per_second",
    "value": 12.5,
    "minReplicas": 2,
    "maxReplicas": 9,
}
# What is asked for beside the minimal values, and which objects come of it.
COMBINATIONS = {
    "minimal": ({}, ALWAYS + Counter(PersistentVolumeClaim=1)),
    "without a volume": ({"persistence": {"enabled": False}}, ALWAYS),
    "a volume that exists": ({"persistence": {"existingClaim": "kept"}}, ALWAYS),
    "files": (
        {
            "files": {"body.json": '{"x": "<é>"}\n'},
            "volumes": [{"name": "rows", "configMap": {"name": "rows"}}],
            "volumeMounts": [{"name": "rows", "mountPath": "/rows", "readOnly": True}],
        },
        ALWAYS + Counter(PersistentVolumeClaim=1),
    ),
    "postgresql and three advisors": (
        {
            "replicas": 3,
            "postgresql": {"url": "postgresql+psycopg://advisor@db/advisor", "passwordSecret": "db"},
        },
        ALWAYS + Counter(PodDisruptionBudget=1),
    ),
    "load generators": (
        {"loadgen": {"workers": 4, "nodeSelector": {"pool": "load"}}, "networkPolicy": {"enabled": True}},
        ALWAYS + Counter(PersistentVolumeClaim=1, Deployment=1, Service=1, NetworkPolicy=1),
    ),
    "the API server": (
        {"rbac": {"read": True, "scale": True, "dryRun": True, "namespaces": ["models", "more"]}},
        ALWAYS + Counter(PersistentVolumeClaim=1, Role=2, RoleBinding=2),
    ),
    "monitoring": (
        {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "podMonitor": {"enabled": True, "namespaces": ["models"]},
            "prometheusRule": {"enabled": True},
        },
        ALWAYS + Counter(PersistentVolumeClaim=1, ServiceMonitor=1, PodMonitor=1, PrometheusRule=1),
    ),
    "dashboards": (
        {"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Capacity Advisor"}}},
        ALWAYS
        + Counter(PersistentVolumeClaim=1)
        + Counter(ConfigMap=len(list((ROOT / "dashboards" / "json").glob("*.json")))),
    ),
    "scaling": (
        {
            "prometheusAdapter": {"enabled": True},
            "keda": {"scaledObjects": [SCALED, {**SCALED, "name": "b"}]},
        },
        ALWAYS + Counter(PersistentVolumeClaim=1, ConfigMap=1, ScaledObject=2),
    ),
    "everything of a pod": (
        {
            "fullnameOverride": "advice",
            "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
            "serviceAccount": {"create": False, "name": "theirs"},
            "podAnnotations": {"team": "ml"},
            "podLabels": {"tier": "tools"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "env": [{"name": "GRAFANA_TOKEN", "value": "x"}],
            "service": {"type": "NodePort", "annotations": {"a": "b"}},
        },
        ALWAYS - Counter(ServiceAccount=1) + Counter(PersistentVolumeClaim=1),
    ),
}


@cache
def chart() -> helm.Chart:
    return helm.Chart.load(CHART)


def merged(values: dict) -> dict:
    return {**copy.deepcopy(MINIMAL), **values}


def render(values: dict) -> list[dict]:
    found = chart().render(merged(values), name="release", namespace="advisor")
    texts = [text for name, text in found.items() if not name.endswith("NOTES.txt")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


def one(manifests: list[dict], kind: str, name: str = "release-capacity-advisor") -> dict:
    return next(m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))


def container(manifests: list[dict], name: str = "release-capacity-advisor") -> dict:
    return one(manifests, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_a_combination_gives_what_it_asks_for_and_no_more(combination):
    values, expected = COMBINATIONS[combination]
    assert Counter(manifest["kind"] for manifest in render(values)) == expected


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_every_object_is_valid_for_every_kubernetes(combination):
    for manifest in render(COMBINATIONS[combination][0]):
        if manifest["kind"] in CUSTOM:
            assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
            continue
        for version in VERSIONS:
            validate(manifest, version)


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_selectors_find_their_pods_and_references_their_objects(combination):
    manifests = render(COMBINATIONS[combination][0])
    pods = [m["spec"]["template"] for m in manifests if m["kind"] == "Deployment"]
    for manifest in manifests:
        selector = manifest["spec"].get("selector", {}) if "spec" in manifest else {}
        labels = selector.get("matchLabels", selector if manifest["kind"] == "Service" else {})
        if labels and manifest["kind"] != "ServiceMonitor":
            found = [pod for pod in pods if labels.items() <= pod["metadata"]["labels"].items()]
            assert len(found) == 1, manifest["metadata"]["name"]
            ports = {port["name"] for port in found[0]["spec"]["containers"][0].get("ports", [])}
            for port in manifest["spec"].get("ports", []):
                assert port["targetPort"] in ports
    claims = {m["metadata"]["name"] for m in manifests if m["kind"] == "PersistentVolumeClaim"} | {"kept"}
    for pod in pods:
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        mounts = [mount["name"] for c in pod["spec"]["containers"] for mount in c["volumeMounts"]]
        assert set(mounts) == set(volumes)
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {"claimName": "kept"})["claimName"] in claims


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_pods_keep_to_the_restricted_standard(combination):
    for manifest in render(COMBINATIONS[combination][0]):
        if manifest["kind"] != "Deployment":
            continue
        pod = manifest["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for c in pod["containers"]:
            security = c["securityContext"]
            assert (security["readOnlyRootFilesystem"], security["allowPrivilegeEscalation"]) == (True, False)
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert c["resources"]["requests"]


@pytest.mark.parametrize("combination", ["minimal", "postgresql and three advisors", "load generators"])
def test_the_advisor_can_read_its_configuration(combination):
    manifests = render(COMBINATIONS[combination][0])
    settings = parse(one(manifests, "ConfigMap")["data"]["advisor.yaml"])
    assert [target.name for target in settings.targets] == ["heart-disease"]
    assert settings.api.listen == "0.0.0.0:8000"
    postgres = combination.startswith("postgresql")
    assert settings.store.startswith("postgresql" if postgres else "sqlite:////var/lib/advisor/")
    names = {variable["name"] for variable in container(manifests)["env"]}
    assert {"ADVISOR_VIEWER_TOKEN", "ADVISOR_OPERATOR_TOKEN"} <= names
    assert ("PGPASSWORD" in names) is postgres
    assert (settings.loadgen.bind is not None) is (combination == "load generators")


def test_a_change_of_the_configuration_restarts_the_advisor():
    changes = [
        {"config": {**MINIMAL["config"], "stale_after": "7d"}},
        {"config": {**MINIMAL["config"], "stale_after": "8d"}},
        {"files": {"body.json": "{}"}},
        {"files": {"body.json": "[]"}},
    ]
    pods = [one(render(change), "Deployment")["spec"]["template"] for change in changes]
    assert len({pod["metadata"]["annotations"]["checksum/config"] for pod in pods}) == len(changes)


def test_files_lie_beside_the_configuration_that_names_them(tmp_path):
    config = copy.deepcopy(MINIMAL["config"])
    config["targets"][0]["requests"] = [{"path": "/predict", "payload": {"file": "body.json"}}]
    text = COMBINATIONS["files"][0]["files"]["body.json"]
    data = one(render({"config": config, "files": {"body.json": text}}), "ConfigMap")["data"]
    for name, content in data.items():
        (tmp_path / name).write_text(content)
    found = load(tmp_path / "advisor.yaml").targets[0].requests[0].payload.file
    assert found.read_text() == text


def test_the_values_in_the_readme_are_enough():
    values = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text(), re.DOTALL)[0])
    manifests = render(values)
    assert parse(one(manifests, "ConfigMap")["data"]["advisor.yaml"]).targets[0].observe.kubernetes
    assert one(manifests, "Role")["metadata"]["namespace"] == "models"


def test_two_advisors_never_share_sqlite_and_several_keep_apart():
    alone, several = (
        one(render(COMBINATIONS[name][0]), "Deployment")["spec"]
        for name in ("without a volume", "postgresql and three advisors")
    )
    assert alone["strategy"] == {"type": "Recreate"}
    assert "strategy" not in several
    term = several["template"]["spec"]["affinity"]["podAntiAffinity"][
        "preferredDuringSchedulingIgnoredDuringExecution"
    ][0]["podAffinityTerm"]
    assert term["labelSelector"] == several["selector"]


def test_alerts_lead_to_the_runbook_where_people_reach_it():
    where = "https://wiki.example/runbook"
    rule = one(render({"prometheusRule": {"enabled": True, "runbook": where}}), "PrometheusRule")
    alerts = [rule for group in rule["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert {alert["annotations"]["runbook_url"] for alert in alerts} == {
        f"{where}#{alert['alert'].lower()}" for alert in alerts
    }


def test_workers_connect_to_the_advisor_with_the_shared_secret():
    manifests = render(COMBINATIONS["load generators"][0])
    worker = container(manifests, "release-capacity-advisor-loadgen")
    assert worker["args"] == [
        "worker",
        "--master=release-capacity-advisor-loadgen:5557",
        "--max-rate=1000",
        "--allow-host=heart-disease.models",
    ]
    command = typer.main.get_command(app).commands["worker"]
    command.make_context("worker", worker["args"][1:], resilient_parsing=False)
    assert one(manifests, "Service", "release-capacity-advisor-loadgen")["spec"]["ports"][0]["port"] == 5557
    secrets = [
        variable["valueFrom"]["secretKeyRef"]
        for c in (worker, container(manifests))
        for variable in c["env"]
        if variable["name"] == "ADVISOR_WORKER_TOKEN"
    ]
    assert secrets == [{"name": "capacity-advisor", "key": "worker-token"}] * 2


def test_rights_are_the_least_and_only_where_they_are_asked_for():
    def verbs(rbac: dict) -> dict[str, list[str]]:
        roles = [m for m in render({"rbac": rbac}) if m["kind"] == "Role"]
        return {
            resource: rule["verbs"] for m in roles for rule in m["rules"] for resource in rule["resources"]
        }

    assert verbs({}) == {}
    assert one(render({}), "Deployment")["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert verbs({"read": True}) == {
        "pods": ["list"],
        "deployments": ["get"],
        "statefulsets": ["get"],
        "horizontalpodautoscalers": ["list"],
    }
    for rbac, asks in ({}, False), ({"read": True}, True):
        assert parse(one(render({"rbac": rbac}), "ConfigMap")["data"]["advisor.yaml"]).kubernetes is asks
    assert verbs({"scale": True})["deployments/scale"] == ["get", "patch"]
    assert one(render({"rbac": {"scale": True}}), "Deployment")["spec"]["template"]["spec"][
        "automountServiceAccountToken"
    ]


def test_rules_dashboards_and_queries_are_those_of_the_project():
    rules = one(render(COMBINATIONS["monitoring"][0]), "PrometheusRule")["spec"]["groups"]
    written = [
        group
        for path in sorted((ROOT / "dashboards" / "prometheus").glob("*.yaml"))
        for group in yaml.safe_load(path.read_text()).get("groups", [])
    ]
    assert rules == written
    maps = [
        m for m in render(COMBINATIONS["dashboards"][0]) if "grafana_dashboard" in m["metadata"]["labels"]
    ]
    shown = {name: json.loads(text) for m in maps for name, text in m["data"].items()}
    assert shown == {
        path.name: json.loads(path.read_text()) for path in (ROOT / "dashboards" / "json").glob("*.json")
    }
    scaling = render(COMBINATIONS["scaling"][0])
    adapter = one(scaling, "ConfigMap", "release-capacity-advisor-adapter-rules")
    assert yaml.safe_load(adapter["data"]["config.yaml"]) == adapter_rules()
    trigger = one(scaling, "ScaledObject", "heart-disease")["spec"]["triggers"][0]["metadata"]
    assert (
        trigger["query"] == 'sum(rate(inference_request_duration_seconds_count{target="heart-disease"}[1m]))'
    )
    assert trigger["threshold"] == "12.5"


def test_the_metrics_are_read_with_the_viewers_token_and_sidecars_get_their_target():
    manifests = render(COMBINATIONS["monitoring"][0])
    endpoint = one(manifests, "ServiceMonitor")["spec"]["endpoints"][0]
    assert endpoint["authorization"]["credentials"] == {"name": "capacity-advisor", "key": "viewer-token"}
    sidecars = one(manifests, "PodMonitor", "release-capacity-advisor-sidecars")["spec"]
    assert sidecars["selector"] == {
        "matchExpressions": [{"key": "capacity-advisor/target", "operator": "Exists"}]
    }
    assert sidecars["podMetricsEndpoints"][0]["port"] == "model-metrics"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"config": {"targets": []}}, "config.targets is empty"),
        ({"replicas": 2}, "replicas > 1 needs postgresql.url"),
        (
            {"replicas": 2, "loadgen": {"workers": 1}, "postgresql": {"url": "postgresql+psycopg://a@b/c"}},
            "loadgen.workers needs replicas: 1",
        ),
        ({"replicas": 0}, "/replicas"),
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"persistence": {"size": "much"}}, "/persistence/size"),
        ({"postgresql": {"url": "postgresql+psycopg://a:secret@b/c"}}, "/postgresql/url"),
        ({"service": {"type": "External"}}, "/service/type"),
        ({"postgresql": {"url": "postgresql+psycopg://a@b/c?password=x"}}, "postgresql.url holds a password"),
        ({"config": None}, "config.targets is empty"),
        ({"keda": {"scaledObjects": [{"name": "x"}]}}, "missing properties"),
        ({"keda": {"scaledObjects": [{**SCALED, "minReplicas": 10}]}}, "maxReplicas is below minReplicas"),
        ({"config": {"targets": [{"name": "x"}]}}, "missing property 'url'"),
        ({"config": {"targets": [{"name": "x", "url": "model:8080"}]}}, "/config/targets/0/url"),
        ({"loadgen": {"maxRate": 0}}, "/loadgen/maxRate"),
        ({"podAnnotations": {"a": 1}}, "/podAnnotations/a"),
        ({"image": {"pullSecrets": ["registry"]}}, "/image/pullSecrets/0"),
        ({"env": ["A=b"]}, "/env/0"),
        ({"files": {"advisor.yaml": "x"}}, "write it under config"),
        (
            {"config": {"targets": [{"name": "x", "url": "http://x", "observe": {"kubernetes": {}}}]}},
            "observe.kubernetes of target 'x' needs rbac.read",
        ),
        ({"files": {"body.json": {"x": 1}}}, "/files/body.json"),
        ({"networkPolicy": {"from": ["monitoring"]}}, "/networkPolicy/from/0"),
        ({"fullnameOverride": "Advisor"}, "/fullnameOverride"),
    ],
)
def test_a_mistake_in_the_values_is_told(values, said):
    with pytest.raises(helm.HelmError) as mistake:
        render(values)
    assert said in str(mistake.value)


def test_helm_finds_nothing_to_complain_of():
    report = helm.lint(CHART, MINIMAL, strict=True)
    assert [m for m in report["messages"] if m["severity"] > 1] == []
    assert report["errors"] == []


def test_a_package_of_the_chart_holds_what_it_links_to(tmp_path):
    packed = helm.Chart.load(helm.package(CHART, destination=tmp_path))
    names = {file["name"] for file in packed.files}
    assert {
        f"files/dashboards/{path.name}" for path in (ROOT / "dashboards" / "json").glob("*.json")
    } <= names
    assert not [name for name in names if name.endswith(".py")]
    rules = next(file["data"] for file in packed.files if file["name"] == "files/rules/rules.yaml")
    assert rules == (ROOT / "dashboards" / "prometheus" / "rules.yaml").read_text()


@pytest.mark.parametrize("name", sorted(files()))
def test_what_is_written_from_elsewhere_is_current(name):
    assert (CHART / name).read_text() == files()[name], "run `python helm/sync.py`"
