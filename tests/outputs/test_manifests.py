from dataclasses import replace

import kubernetes_validate
import pytest
import yaml

from advisor.domain import Demand, Limit
from advisor.errors import NotFound
from advisor.outputs.helm_values import helm_values_yaml
from advisor.outputs.hpa import adapter_rules, hpa_object, hpa_yaml, patch_yaml
from advisor.outputs.keda import keda_yaml
from advisor.outputs.kubernetes import object_name, quantity
from advisor.scaling.policy import Reference, ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity

POLICY = ScalingPolicy(
    min_replicas=2,
    failure_tolerance=2,
    cpu_request_cores=0.5,
    cpu_limit_cores=1.0,
    reference=Reference("heart-model", namespace="ml", container="predictor"),
)


def advise(policy=POLICY, found=None):
    return recommend("heart", SLO, policy, found or capacity(), now=NOW, demand=Demand(500, "asked"))


LATEST = int(kubernetes_validate.latest_version().split(".")[1])
VERSIONS = [f"1.{minor}" for minor in range(29, LATEST + 1)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("adapter", [True, False])
def test_what_is_written_is_valid_for_kubernetes(version, adapter):
    """The HPA itself; the one that the patch leaves of an older one; the one that KEDA would make."""
    policy = replace(POLICY, metrics_adapter=adapter)
    advice = advise(policy)
    manifest = yaml.safe_load(hpa_yaml(advice, policy))
    kubernetes_validate.validate(manifest, version, strict=True)

    patch = yaml.safe_load(patch_yaml(advice, policy))
    assert "scaleTargetRef" not in patch["spec"]
    old = manifest | {"spec": {"scaleTargetRef": manifest["spec"]["scaleTargetRef"], "maxReplicas": 3}}
    patched = old | patch | {"spec": old["spec"] | patch["spec"]}
    assert patched == manifest

    scaled = yaml.safe_load(keda_yaml(advice, policy))["spec"]
    kubernetes_validate.validate(made_by_keda(scaled), version, strict=True)


def made_by_keda(scaled):
    """The HPA behind a ScaledObject: each trigger is a metric, external but for CPU."""
    metrics = []
    for trigger in scaled["triggers"]:
        data, kind = trigger["metadata"], trigger["metricType"]
        if trigger["type"] == "cpu":
            target = {"type": kind, "averageUtilization": int(data["value"])}
            source = {"name": "cpu", "container": data["containerName"], "target": target}
            metrics.append({"type": "ContainerResource", "containerResource": source})
        else:
            target = {"type": kind, "averageValue": data["threshold"]}
            metrics.append({"type": "External", "external": {"metric": {"name": "s0"}, "target": target}})
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "keda-hpa"},
        "spec": {
            "scaleTargetRef": scaled["scaleTargetRef"],
            "minReplicas": scaled["minReplicaCount"],
            "maxReplicas": scaled["maxReplicaCount"],
            "metrics": metrics,
            "behavior": scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"],
        },
    }


@pytest.mark.parametrize("adapter", [True, False])
def test_helm_values_are_by_the_keys_of_helm_create(adapter):
    policy = replace(POLICY, metrics_adapter=adapter)
    advice = advise(policy)
    values = yaml.safe_load(helm_values_yaml(advice, policy))
    spec = hpa_object(advice, policy)["spec"]
    assert values["replicaCount"] == 10
    scaled = values["autoscaling"]
    assert (scaled["enabled"], scaled["minReplicas"], scaled["maxReplicas"]) == (True, 3, 20)
    assert (scaled["metrics"], scaled["behavior"]) == (spec["metrics"], spec["behavior"])
    assert scaled.get("targetCPUUtilizationPercentage") == (None if adapter else 94)


def test_helm_values_without_a_signal_hold_the_count():
    policy = replace(POLICY, metrics_adapter=False)
    sleeping = capacity(cpu_cores=0.03, cpu_idle_cores=0.01, limited_by=Limit.WORKERS)
    values = yaml.safe_load(helm_values_yaml(advise(policy, sleeping), policy))
    assert values == {"replicaCount": 10, "autoscaling": {"enabled": False}}
    nothing = replace(advise(policy, sleeping), replicas=None)
    with pytest.raises(NotFound, match="no Helm values for 'heart': no signal can be scaled on"):
        helm_values_yaml(nothing, policy)


def test_the_hpa_holds_what_the_advice_says():
    advice = advise()
    manifest = hpa_object(advice, POLICY)
    spec = manifest["spec"]
    assert manifest["metadata"] == {"name": "heart-model", "namespace": "ml"}
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "heart-model"}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 20)
    first, second = spec["metrics"]
    assert first["external"]["metric"]["name"] == "inference_requests_per_second"
    assert first["external"]["target"] == {"type": "AverageValue", "averageValue": "45454m"}  # 65/1.43, down
    assert second["external"]["metric"]["name"] == "inference_in_flight"
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_a_cpu_target_is_a_percentage_of_the_request_of_one_container():
    policy = replace(POLICY, metrics_adapter=False)
    (metric,) = hpa_object(advise(policy), policy)["spec"]["metrics"]
    assert metric == {
        "type": "ContainerResource",
        "containerResource": {
            "name": "cpu",
            "container": "predictor",
            "target": {"type": "Utilization", "averageUtilization": int(100 * (0.02 + 0.65 / 1.43) / 0.5)},
        },
    }


def test_without_a_request_cpu_is_held_in_cores():
    policy = ScalingPolicy(metrics_adapter=False)
    (metric,) = hpa_object(advise(policy), policy)["spec"]["metrics"]
    assert metric["containerResource"]["target"] == {"type": "AverageValue", "averageValue": "474m"}


def test_the_comments_explain_every_number_and_hold_the_query_on_one_line():
    text = hpa_yaml(advise(), POLICY)
    comments = [line for line in text.splitlines() if line.startswith("#")]
    said = commented(text)
    for name, value, why in (
        ("capacity of a replica", "70 req/s", "by identification from 9000 requests in 180 s."),
        ("its lower bound", "65 req/s", "the lower end of the 90% interval, up to 75"),
        ("replicas", "10", "500 req/s ÷ 65 req/s"),
        ("target, inference_requests_per_second", "45.45 req/s per replica", "the load itself: 65 req/s"),
        ("minReplicas", "3", "one that serves and 2 that may fail."),
        ("maxReplicas", "20", "the configured maximum."),
        ("scale-down window", "300 s", "Kubernetes' default;"),
        ("scale-up", "100 % or 4 pods each 15 s", "a rise is answered at once"),
    ):
        assert f"{name} {value}: {why}" in said
    assert (
        "# inference_requests_per_second is "
        'sum(rate(inference_request_duration_seconds_count{target="heart"}[1m]))' in comments
    )


def commented(text):
    return " ".join(line[2:] for line in text.splitlines() if line.startswith("#"))


def test_manifests_with_queries_say_which_label_the_series_need():
    for render in (hpa_yaml, patch_yaml, keda_yaml):
        assert 'The series need the label target="heart": set it in' in commented(render(advise(), POLICY))
    policy = replace(POLICY, metrics_adapter=False)  # scaled on CPU: no series of ours is asked for
    for render in (hpa_yaml, keda_yaml):
        assert "series need" not in commented(render(advise(policy), policy))


def test_a_guessed_prometheus_is_said_to_be_one():
    guessed, told = keda_yaml(advise(), POLICY), keda_yaml(advise(), POLICY, "http://prom:9090")
    assert "serverAddress http://prometheus:9090 is only a guess" in commented(guessed)
    trigger = yaml.safe_load(guessed)["spec"]["triggers"][0]
    assert trigger["metadata"]["serverAddress"] == "http://prometheus:9090"
    assert "guess" not in commented(told)


def test_a_scaled_object_carries_queries_and_thresholds():
    manifest = yaml.safe_load(keda_yaml(advise(), POLICY, "http://prom:9090"))
    assert manifest["kind"] == "ScaledObject"
    assert (manifest["spec"]["minReplicaCount"], manifest["spec"]["maxReplicaCount"]) == (3, 20)
    rate, held = manifest["spec"]["triggers"]
    assert rate["metadata"]["serverAddress"] == "http://prom:9090"
    assert float(rate["metadata"]["threshold"]) == pytest.approx(65 / 1.43, rel=1e-4)
    assert "inference_in_flight_seconds_total" in held["metadata"]["query"]


def test_labels_of_the_policy_select_the_series():
    policy = replace(POLICY, labels={"job": 'we"ird', "model": "m"})
    rate = yaml.safe_load(keda_yaml(advise(policy), policy))["spec"]["triggers"][0]
    assert '{job="we\\"ird",model="m"}' in rate["metadata"]["query"]


def test_a_scaled_object_on_cpu():
    policy = replace(POLICY, metrics_adapter=False)
    (trigger,) = yaml.safe_load(keda_yaml(advise(policy), policy))["spec"]["triggers"]
    assert trigger == {
        "type": "cpu", "metricType": "Utilization", "metadata": {"value": "94", "containerName": "predictor"},
    }  # fmt: skip


def test_no_signal_no_manifest_but_the_reason():
    policy = replace(POLICY, metrics_adapter=False)
    advice = advise(policy, capacity(cpu_cores=0.03, cpu_idle_cores=0.01, limited_by=Limit.WORKERS))
    for render in (hpa_yaml, patch_yaml, keda_yaml):
        with pytest.raises(NotFound, match="': no signal can be scaled on"):
            render(advice, policy)


def test_rules_for_the_adapter_serve_both_metrics():
    rules = adapter_rules()["externalRules"]
    assert [rule["name"]["as"] for rule in rules] == ["inference_requests_per_second", "inference_in_flight"]


@pytest.mark.parametrize(
    ("value", "text"), [(46.0717, "46071m"), (12.0, "12"), (0.0004, "1m"), (2.3, "2300m")]
)
def test_quantities_round_down(value, text):
    assert quantity(value) == text


@pytest.mark.parametrize(
    ("name", "label"), [("Heart_Disease.v2", "heart-disease-v2"), ("a" * 80, "a" * 63), ("--", "model")]
)
def test_names_are_dns_labels(name, label):
    assert object_name(name) == label
