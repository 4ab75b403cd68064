"""Twenty manifests as people write them: injected, valid for Kubernetes, and given back byte for byte."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml

from advisor.inject import Sidecar, inject, remove
from advisor.inject.sidecar import NAME
from exporters.cli import read_settings
from tests.manifests import VERSIONS, validate

FOLDER = Path(__file__).parents[1] / "fixtures" / "manifests"
FILES = sorted(path.name for path in FOLDER.glob("[0-9]*"))
SIDECARS = {
    "proxy": Sidecar("model-exporter:1", "1", slo=("p95=150ms",), process=("name=server",), max_in_flight=8),
    "classic": Sidecar("model-exporter:1", "1", classic=True, gpu="auto", cpu_limit="1"),
    "watcher": Sidecar("model-exporter:1", "1", proxy=False, scrape=("auto",)),
}
NATIVE = {"proxy": True, "classic": False, "watcher": True}


def read(file: str) -> str:
    return (FOLDER / file).read_bytes().decode()


def objects(text: str) -> list[dict]:
    found = [
        document for document in yaml.safe_load_all(text.lstrip("\ufeff").replace("\t", " ")) if document
    ]
    return [item for document in found for item in document.get("items", [document])]


def pod(manifest: dict) -> dict:
    return manifest if manifest["kind"] == "Pod" else manifest.get("spec", {}).get("template", {})


def injected(text: str) -> list[tuple[dict, dict]]:
    """(pod spec, the sidecar in it) of every workload that has one."""
    pods = [pod(manifest).get("spec") or {} for manifest in objects(text)]
    return [
        (spec, container)
        for spec in pods
        for container in (spec.get("initContainers") or []) + (spec.get("containers") or [])
        if container["name"] == NAME
    ]


def test_there_are_twenty():
    assert len(FILES) == 20


@pytest.mark.parametrize("form", SIDECARS)
@pytest.mark.parametrize("file", FILES)
def test_the_sidecar_comes_and_goes_without_a_trace(file, form):
    text = read(file)
    outcome = inject(text, SIDECARS[form], file)
    assert outcome.changed == len(injected(outcome.text)) >= 1
    for _, sidecar in injected(outcome.text):
        read_settings(sidecar["args"], {})
    assert remove(outcome.text, file).text == text
    assert inject(outcome.text, SIDECARS[form], file) == outcome


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        (
            "02-comments.yaml",
            [
                ('      labels: {app: heart-disease, tier: "inference"}', "target"),
                ("          containerPort: 8080  # the Service says 'http'", "8081"),
                ("          httpGet: {path: /healthz, port: http}", "8080"),
                ('            port: "http"', "8080"),
            ],
        ),
        (
            "04-several-documents.yaml",
            [
                ('          args: [--host, 0.0.0.0, --port, "8000", --workers=2]', "18000"),
                ("            tcpSocket: {port: 8000}", "18000"),
            ],
        ),
        ("01-plain.yaml", []),
    ],
)
def test_only_lines_with_ports_and_labels_change_and_all_else_is_added(file, changed):
    text = read(file)
    after = inject(text, SIDECARS["proxy"], file).text
    lines = [line for line in difflib.ndiff(text.splitlines(), after.splitlines()) if line[0] in "+-"]
    assert [line[2:] for line in lines if line[0] == "-"] == [line for line, _ in changed]
    for line, new in changed:
        following = lines[lines.index(f"- {line}") + 1]
        assert following.startswith("+ ")
        assert new in following


@pytest.mark.parametrize("form", SIDECARS)
@pytest.mark.parametrize("file", FILES)
def test_the_result_is_valid_for_every_kubernetes_that_has_native_sidecars(file, form):
    for manifest in objects(inject(read(file), SIDECARS[form], file).text):
        if manifest["apiVersion"].startswith("argoproj.io"):
            continue  # its own schema; the pod in it is that of a Deployment
        for version in VERSIONS:
            validate(manifest, version)


@pytest.mark.parametrize("file", FILES)
def test_what_services_and_probes_ask_is_what_listens_there(file):
    text = read(file)
    for spec, sidecar in injected(inject(text, SIDECARS["proxy"], file).text):
        settings, _ = read_settings(sidecar["args"], {})
        host, upstream = settings.upstream
        assert host == "127.0.0.1"
        assert upstream != settings.listen[1]
        for container in spec["containers"]:
            names = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                asked = container.get(probe, {}).get("httpGet") or container.get(probe, {}).get("tcpSocket")
                if asked is not None:
                    assert names.get(asked["port"], asked["port"]) == upstream
        assert sidecar["readinessProbe"]["httpGet"]["port"] == settings.metrics[1]
