"""What is decided for a workload: ports, probes, ends, and what is left alone."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from advisor.errors import ConfigurationError
from advisor.inject import Sidecar, inject, remove
from advisor.inject.sidecar import NAME

FOLDER = Path(__file__).parents[1] / "fixtures" / "manifests"
SIDECAR = Sidecar("model-exporter:1", "1")


def read(file: str) -> str:
    return (FOLDER / file).read_bytes().decode()


def deployment(container: str, *, pod: str = "", service: str = "") -> str:
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: m}}
spec:
  selector: {{matchLabels: {{app: m}}}}
  template:
    metadata: {{labels: {{app: m}}}}
    spec:
      {pod}
      containers:
      - name: model
        image: m:1
        {container}
{service}"""


SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {{name: front}}
spec: {{selector: {{app: m}}, ports: [{{port: 80, targetPort: {target}}}]}}
"""


def parts(text: str) -> tuple[dict, dict, list[str]]:
    """(the model's container, the sidecar, its arguments) of the first workload."""
    spec = next(yaml.safe_load_all(text))["spec"]["template"]["spec"]
    everything = spec.get("initContainers", []) + spec["containers"]
    sidecar = next(container for container in everything if container["name"] == NAME)
    model = next(container for container in spec["containers"] if container["name"] == "model")
    return model, sidecar, sidecar["args"]


def test_a_name_moves_to_the_sidecar_and_the_model_stays():
    text = deployment(
        "ports: [{name: http, containerPort: 8080}]\n        readinessProbe: {httpGet: {port: http}}",
        service=SERVICE.format(target="http"),
    )
    model, _, arguments = parts(inject(text, SIDECAR).text)
    assert model["ports"] == [{"name": "http", "containerPort": 8081}]
    assert model["readinessProbe"]["httpGet"]["port"] == 8080
    assert "--listen=0.0.0.0:8081" in arguments
    assert "--upstream=http://127.0.0.1:8080" in arguments


@pytest.mark.parametrize(
    ("says", "then"),
    [
        ('command: [gunicorn, -b, "0.0.0.0:8080"]', ["gunicorn", "-b", "0.0.0.0:18080"]),
        ("command: [serve, --port=8080]", ["serve", "--port=18080"]),
        ('command: [serve, --http-port, "8080"]', ["serve", "--http-port", "18080"]),
        (
            "command: [sh, -c, 'exec uvicorn --port 8080 m:app']",
            ["sh", "-c", "exec uvicorn --port 18080 m:app"],
        ),
        ("env: [{name: HTTP_PORT, value: '8080'}]", [{"name": "HTTP_PORT", "value": "18080"}]),
    ],
)
def test_a_number_is_taken_where_the_container_says_how_the_model_moves(says, then):
    text = deployment(
        f"{says}\n        ports: [{{containerPort: 8080}}]"
        "\n        livenessProbe: {httpGet: {port: 8080}}",
        service=SERVICE.format(target=8080),
    )
    model, _, arguments = parts(inject(text, SIDECAR).text)
    assert model["ports"] == [{"containerPort": 8080}]
    assert model.get("command", model.get("env")) == then
    assert model["livenessProbe"]["httpGet"]["port"] == 18080
    assert "--listen=0.0.0.0:8080" in arguments
    assert "--upstream=http://127.0.0.1:18080" in arguments


@pytest.mark.parametrize(
    "says",
    [
        "command: [serve, '8080']",
        "command: [serve, --peer=http://other:8080]",
        "command: [serve, --port=80801]",
        "env: [{name: PEER, value: 'http://other:8080'}]",
        "image_pull: x",
    ],
)
def test_a_number_that_is_not_plainly_the_models_port_is_not_touched(says):
    text = deployment(
        f"{says}\n        ports: [{{containerPort: 8080}}]", service=SERVICE.format(target=8080)
    )
    outcome = inject(text, SIDECAR)
    _, _, arguments = parts(outcome.text)
    assert says in outcome.text
    assert "--listen=0.0.0.0:8081" in arguments
    assert any("Service front sends to port 8080 by its number" in note for note in outcome.notes)
    assert any("targetPort: 8081" in note for note in outcome.notes)


def test_a_service_by_number_goes_before_the_ports_name():
    text = deployment(
        "ports: [{name: http, containerPort: 8080}]\n        args: [--port=8080]",
        service=SERVICE.format(target=8080),
    )
    model, _, arguments = parts(inject(text, SIDECAR).text)
    assert model["ports"] == [{"name": "http", "containerPort": 8080}]
    assert "--listen=0.0.0.0:8080" in arguments


def test_a_port_below_1024_is_not_taken_because_the_sidecar_is_not_root():
    text = deployment("args: [--port=80]\n        ports: [{containerPort: 80}]")
    _, _, arguments = parts(inject(text, SIDECAR).text)
    assert "--listen=0.0.0.0:8081" in arguments


def test_the_person_may_say_where_the_model_goes():
    text = deployment("ports: [{containerPort: 8080}]")
    sidecar = dataclasses.replace(SIDECAR, model_port=9000)
    _, _, arguments = parts(inject(text, sidecar).text)
    assert arguments[:2] == ["--upstream=http://127.0.0.1:9000", "--listen=0.0.0.0:8080"]


@pytest.mark.parametrize(
    ("model", "service"),
    [
        ("ports: [{containerPort: 8443, name: https}]", ""),
        ("ports: [{containerPort: 8443}]\n        livenessProbe: {grpc: {port: 8443}}", ""),
        ("ports: [{containerPort: 8443}]\n        startupProbe: {httpGet: {port: 8443, scheme: HTTPS}}", ""),
        ("ports: [{containerPort: 8443}]", "{name: grpc, port: 8443}"),
        ("ports: [{containerPort: 8443}]", "{port: 443, targetPort: 8443, appProtocol: kubernetes.io/h2c}"),
    ],
)
def test_a_port_that_does_not_speak_plain_http_is_taken_only_when_told(model, service):
    if service:
        service = SERVICE.format(target=1).replace("{port: 80, targetPort: 1}", service)
    with pytest.raises(ConfigurationError, match="declares a port for plain HTTP"):
        inject(deployment(model, service=service), SIDECAR)
    beside = model.replace("ports: [", "ports: [{containerPort: 8000, name: web}, ")
    assert "--upstream=http://127.0.0.1:8000" in inject(deployment(beside, service=service), SIDECAR).text
    told = inject(deployment(model, service=service), dataclasses.replace(SIDECAR, port="8443"))
    assert any("port 8443 seems to speak gRPC or TLS" in note for note in told.notes)


def test_ports_that_are_taken_are_not_taken_again():
    ports = "[{name: http, containerPort: 8080}, {containerPort: 8081}, {containerPort: 9109}]"
    outcome = inject(deployment(f"ports: {ports}"), SIDECAR)
    _, sidecar, arguments = parts(outcome.text)
    assert arguments[1:3] == ["--listen=0.0.0.0:8082", "--metrics=0.0.0.0:9110"]
    assert sidecar["ports"] == [{"name": "model-metrics", "containerPort": 9110}]
    assert "prometheus.io/port: '9110'" in outcome.text or '"prometheus.io/port": "9110"' in outcome.text


def test_a_native_sidecar_starts_first_and_the_model_waits_before_it_ends():
    text = read("05-triton.yaml")
    spec = yaml.safe_load(inject(text, SIDECAR).text)["spec"]["template"]["spec"]
    assert [container["name"] for container in spec["initContainers"]] == [NAME, "fetch-models"]
    assert spec["initContainers"][0]["restartPolicy"] == "Always"
    assert not any("drain" in argument for argument in spec["initContainers"][0]["args"])
    assert spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}


def test_a_classic_sidecar_is_a_container_and_commands_still_go_to_the_model():
    template = yaml.safe_load(inject(read("01-plain.yaml"), dataclasses.replace(SIDECAR, classic=True)).text)[
        "spec"
    ]["template"]
    assert [container["name"] for container in template["spec"]["containers"]] == [NAME, "model"]
    assert "restartPolicy" not in template["spec"]["containers"][0]
    # Both are told to end at once: the sidecar goes on while requests still come, the model a second longer.
    assert "--drain-delay=4s" in template["spec"]["containers"][0]["args"]
    assert template["spec"]["containers"][1]["lifecycle"]["preStop"] == {"exec": {"command": ["sleep", "5"]}}
    assert template["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "model"


@pytest.mark.parametrize(
    ("grace", "waits", "drain"), [("3", 5, 1), ("30", 5, 5), ("20", 20, 10), ("1", 5, None), ("0", 5, None)]
)
def test_the_model_waits_no_longer_than_its_pod_has_to_end(grace, waits, drain):
    text = deployment(
        "ports: [{containerPort: 80, name: http}]", pod=f"terminationGracePeriodSeconds: {grace}"
    )
    outcome = inject(text, dataclasses.replace(SIDECAR, drain=waits))
    model, _, _ = parts(outcome.text)
    assert model.get("lifecycle") == (drain and {"preStop": {"sleep": {"seconds": drain}}})
    assert any("terminationGracePeriodSeconds" in note for note in outcome.notes) is (drain != waits)
    assert remove(outcome.text).text == text


def test_a_command_that_asks_the_moved_port_is_told():
    probe = "livenessProbe: {exec: {command: [curl, 'http://localhost:8080/health']}}"
    container = f"args: [--port=8080]\n        ports: [{{containerPort: 8080}}]\n        {probe}"
    notes = inject(deployment(container), SIDECAR).notes
    assert any("livenessProbe is a command that asks port 8080" in note for note in notes)


def test_a_sidecar_put_there_by_hand_is_known_by_its_image():
    by_hand = "\n      - {name: measure, image: 'registry:5000/x/model-exporter:2@sha256:1'}\n"
    with pytest.raises(ConfigurationError, match="'measure' that was not injected"):
        inject(deployment("ports: [{containerPort: 8080}]", service=by_hand), SIDECAR)


def test_a_pre_stop_that_is_there_stays():
    text = read("11-two-containers.yaml")
    model, _, _ = parts(inject(text, SIDECAR).text)
    assert model["lifecycle"] == {"preStop": {"exec": {"command": ["/bin/stop"]}}}


def test_who_only_reads_stands_in_nobodys_way():
    text = deployment("ports: [{name: http, containerPort: 8080}]")
    sidecar = dataclasses.replace(SIDECAR, proxy=False, scrape=("auto",))
    model, container, arguments = parts(inject(text, sidecar).text)
    assert arguments == ["--metrics=0.0.0.0:9109", "--scrape=auto"]
    assert "readinessProbe" not in container
    assert "lifecycle" not in model
    assert model["ports"] == [{"name": "http", "containerPort": 8080}]


def test_processes_are_shared_only_when_they_are_to_be_read():
    text = deployment("ports: [{name: http, containerPort: 8080}]")
    assert "shareProcessNamespace" not in inject(text, SIDECAR).text
    shared = inject(text, dataclasses.replace(SIDECAR, process=("name=gunicorn",)))
    assert "      shareProcessNamespace: true\n" in shared.text
    assert "shareProcessNamespace" not in inject(text, dataclasses.replace(SIDECAR, process=("cgroup",))).text


def test_prometheus_annotations_of_the_model_stay_and_that_is_said():
    outcome = inject(read("05-triton.yaml"), SIDECAR)
    annotations = yaml.safe_load(outcome.text)["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == "8002"
    assert any("prometheus.io annotations stay" in note for note in outcome.notes)


def test_a_guaranteed_pod_is_told_what_it_loses_and_a_cpu_limit_keeps_it():
    text = read("18-guaranteed.yaml")
    assert any("Burstable" in note for note in inject(text, SIDECAR).notes)
    outcome = inject(text, dataclasses.replace(SIDECAR, cpu_limit="500m"))
    assert not any("Burstable" in note for note in outcome.notes)
    spec = yaml.safe_load(outcome.text)["spec"]["template"]["spec"]
    resources = spec["initContainers"][0]["resources"]
    assert resources["limits"] == resources["requests"]


def test_tabs_that_kubectl_reads_are_read():
    text = deployment("ports:\t[{containerPort: 8080,\tname: http}]\t# theirs\t\n        stdin: true\t")
    injected = inject(text, SIDECAR).text
    assert "ports:\t[{containerPort: 8081,\tname: http}]\t# theirs\t\n" in injected
    assert remove(injected).text == text


def test_what_was_edited_since_stays_when_the_sidecar_goes():
    text = read("02-comments.yaml")
    edited = (
        inject(text, SIDECAR).text.replace("replicas:   3", "replicas:   7").replace("# trailing", "# last")
    )
    expected = text.replace("replicas:   3", "replicas:   7").replace("# trailing", "# last")
    assert remove(edited).text == expected


def test_other_options_take_the_place_of_the_old_ones():
    text = read("01-plain.yaml")
    first = inject(text, dataclasses.replace(SIDECAR, slo=("p95=150ms",))).text
    second = dataclasses.replace(SIDECAR, slo=("p99=1s",), classic=True)
    assert inject(first, second).text == inject(text, second).text


def test_jobs_and_what_others_make_is_left_alone_with_a_reason():
    outcome = inject(read("15-list.yaml"), SIDECAR)
    assert outcome.changed == 2
    assert any(
        re.match(r"stdin:4\d: Job is left as it is: it runs to its end", note) for note in outcome.notes
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1\nb: 2\n", "f.yaml:2: not YAML"),
        ("a: \x07\n", "f.yaml:1: not YAML"),
        ("kind: ConfigMap\n", "f.yaml: there is no workload"),
        ("", "f.yaml: there is no workload"),
        (
            "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: m}\n",
            "f.yaml:2: InferenceService is left as it is: KServe",
        ),
        (
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: m}\n",
            "f.yaml:2: Service is left as it is: Knative",
        ),
        (
            deployment("env: []"),
            "f.yaml:10: Deployment m is left as it is: none of its containers declares a port",
        ),
        (deployment("ports: [{containerPort: 1}]", pod="hostNetwork: true"), "on the node's network"),
        (deployment("ports: [http]"), "f.yaml:13: 'spec.containers.0.ports.0' should be a mapping"),
        (deployment("command: [[sh]]"), "f.yaml:13: 'spec.containers.0.command.0' should be text"),
        (deployment("livenessProbe: {httpGet: /}"), "livenessProbe.httpGet' should be a mapping"),
        (deployment("lifecycle: [preStop]"), "f.yaml:13: 'spec.containers.0.lifecycle' should be a mapping"),
        (deployment("ports: [{containerPort: [80]}]"), "ports.0.containerPort' should be text"),
        (deployment("env: PORT"), "f.yaml:13: 'spec.containers.0.env' should be a list"),
        (deployment("").replace("{name: m}", "m"), "f.yaml:3: 'metadata' should be a mapping"),
        (
            deployment("ports: []\n        ports: []"),
            "f.yaml:13: cannot be read: the key 'ports' stands there twice",
        ),
        (
            deployment(
                "ports: [{containerPort: 8080, name: http}]",
                service="---\nkind: Service\nspec: {ports: 80}\n",
            ),
            "'spec.ports' should be a list",
        ),
        (
            "apiVersion: v1\nkind: Pod\n\tmetadata: {}\n",
            "f.yaml:3: not YAML: found character '\\t'",
        ),
        (
            deployment("ports: [&p {containerPort: 8080, name: http}]\n        env: [*p]"),
            "f.yaml:13: an alias (*) repeats this",
        ),
        (deployment("ports: [{containerPort: &n 8080, name: http}]"), "f.yaml:13: something with an anchor"),
        (
            deployment("<<: {imagePullPolicy: Always}\n        ports: [{containerPort: 8080, name: http}]"),
            "f.yaml:11: a mapping with '<<' cannot be added to",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(text, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        inject(text, SIDECAR, "f.yaml")


def test_an_annotation_that_was_changed_is_no_crash():
    text = inject(read("01-plain.yaml"), SIDECAR).text
    with pytest.raises(ConfigurationError, match="was changed by hand"):
        remove(re.sub(r"(capacity-advisor/undo: ').*'", r"\1oh'", text))
    with pytest.raises(ConfigurationError, match="is not there any more"):
        remove(text.replace("      initContainers:", "      someContainers:"))
