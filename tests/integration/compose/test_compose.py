"""docker-compose.yml: valid, and its processes run here with the same commands and files, but other ports."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from compose_spec import PyCompose

from advisor.demo.processes import free_port, server
from advisor.settings import parse
from tests.servers.postgres import postgres_server

ROOT = Path(__file__).parents[3]
SCRIPTS = Path(sys.executable).parent
VARIABLE = re.compile(r"\$\{\w+:[-?](.*?)\}")
COMPOSE = yaml.safe_load(VARIABLE.sub(r"\1", (ROOT / "docker-compose.yml").read_text()))  # none is set
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLES = ROOT / "docs" / "examples"
TOKENS = {
    "ADVISOR_VIEWER_TOKEN": "viewer-0123456789abcdef",
    "ADVISOR_OPERATOR_TOKEN": "operator-0123456789abcdef",
    "ADVISOR_WORKER_TOKEN": "worker-0123456789abcdef",
}
# Where the services listen, by the names that they have for each other.
LISTENERS = [
    "model:8080",
    "model-exporter:8081",
    "model-exporter:9109",
    "advisor:8000",
    "advisor:5557",
    "prometheus:9090",
]


def stages() -> dict[str, str]:
    """The text of each stage of the Dockerfile by its name."""
    parts = re.split(r"^FROM \S+ AS (\S+)$", DOCKERFILE, flags=re.MULTILINE)
    return (
        dict(itertools.batched(parts[1:], 2))
        if hasattr(itertools, "batched")
        else dict(zip(parts[1::2], parts[2::2], strict=True))
    )


def test_the_file_follows_the_specification():
    compose = PyCompose.from_json(json.dumps(COMPOSE))
    compose.validate()
    assert set(compose.services) == set(SERVICES)


def test_what_is_built_and_mounted_is_there():
    for service in SERVICES.values():
        if "build" in service:
            assert service["build"]["target"] in stages()
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith(".") else source in COMPOSE["volumes"]


def test_images_are_pinned_and_their_processes_are_not_root():
    assert re.search(r"^ARG PYTHON=python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)
    for service in SERVICES.values():
        assert service["security_opt"] == ["no-new-privileges:true"]
        if "image" in service:
            assert re.fullmatch(r"[\w/.-]+:v?\d+\.\d+[\w.-]*", service["image"])
        else:
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]
    assert "USER 10001:10001" in stages()["base"]
    for name in ("exporter", "advisor", "loadgen", "demo-model"):
        stage = stages()[name]
        assert re.search(rf"^FROM base AS {name}$", DOCKERFILE, re.MULTILINE)
        assert "USER" not in stage
        assert "HEALTHCHECK" in stage
        assert f"COPY --from=build-{name} /opt/venv /opt/venv" in stage


def test_the_image_of_the_sidecar_has_the_base_alone():
    assert "pip install . " in stages()["build-exporter"]
    copied = re.findall(r"^COPY (\S+) \S+$", stages()["build"] + stages()["build-exporter"], re.MULTILINE)
    assert copied == ["exporters"]


def test_every_folder_that_the_advisor_reads_is_in_its_image():
    copied = re.findall(r"^COPY (\S+) \S+$", stages()["build"] + stages()["build-advisor"], re.MULTILINE)
    assert copied == ["exporters", "advisor", "dashboards"]
    assert all(f"!{folder}" in (ROOT / ".dockerignore").read_text().split() for folder in copied)


def with_workers() -> str:
    """The configuration as the head of docker-compose.yml says."""
    text = (EXAMPLES / "advisor.yaml").read_text()
    assert "\n# loadgen: " in text
    return text.replace("\n# loadgen: ", "\nloadgen: ")


def test_the_configuration_waits_for_as_many_workers_as_the_profile_starts():
    loadgen = parse(with_workers()).loadgen
    assert loadgen.workers == SERVICES["loadgen"]["deploy"]["replicas"]
    assert f"--master=advisor:{str(loadgen.bind).rpartition(':')[2]}" in SERVICES["loadgen"]["command"]


class Local:
    """The services' names as addresses of this machine, each with a free port."""

    def __init__(self, folder: Path, postgres: Path) -> None:
        self.ports = {name: free_port() for name in LISTENERS}
        self.folder = folder
        self._postgres = postgres

    def address(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def text(self, text: str) -> str:
        """A file or an argument of a service as it is here."""
        for name in LISTENERS:
            text = text.replace(name, self.address(name))
        text = text.replace("@postgres/advisor", f"@/advisor?host={self._postgres}")
        text = text.replace("/run/secrets/viewer_token", str(self.folder / "viewer_token"))
        for port in ("8081", "9109", "8000", "5557"):
            name = next(name for name in LISTENERS if name.endswith(port))
            text = text.replace(f"0.0.0.0:{port}", self.address(name))
        return text

    def file(self, source: Path) -> Path:
        path = self.folder / source.name
        path.write_text(self.text(source.read_text()))
        return path


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Local]:
    """All of compose but Grafana, which Debian does not have."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(postgres_server())
        with psycopg.connect(
            host=str(postgres), user="postgres", dbname="postgres", autocommit=True
        ) as database:
            database.execute("CREATE USER advisor")
            database.execute("CREATE DATABASE advisor OWNER advisor")
        local = Local(folder, postgres)
        (folder / "viewer_token").write_text(TOKENS["ADVISOR_VIEWER_TOKEN"])
        model, numbers, advisor = (
            local.ports[name] for name in ("model:8080", "model-exporter:9109", "advisor:8000")
        )
        command = re.search(r'^CMD \["uvicorn", (.*)\]$', stages()["demo-model"], re.MULTILINE)
        serving = [word.strip(' "') for word in command[1].split(",")]
        serving[serving.index("8080")], serving[serving.index("0.0.0.0")] = str(model), "127.0.0.1"
        # As one process of the machine, the model is told from others by its port.
        exporter = [local.text(word) for word in SERVICES["model-exporter"]["command"]]
        exporter[exporter.index("--process=name=uvicorn")] = f"--process=port={model}"
        monkeypatch = pytest.MonkeyPatch()
        for name, token in TOKENS.items():
            monkeypatch.setenv(name, token)
        stack.callback(monkeypatch.undo)
        config = folder / "advisor.yaml"
        config.write_text(local.text(with_workers()))
        rules = ROOT / "dashboards" / "prometheus"
        scraping = local.file(rules / "prometheus.yml")
        for path in rules.glob("*.yaml"):
            (folder / path.name).write_text(path.read_text())
        scraping.write_text(scraping.read_text().replace("15s", "1s"))
        prometheus = [
            "prometheus", f"--config.file={scraping}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={local.address('prometheus:9090')}",
        ]  # fmt: skip
        for name, started, ready in (
            ("model", [str(SCRIPTS / "uvicorn"), *serving], f"http://127.0.0.1:{model}/healthz"),
            ("exporter", [str(SCRIPTS / "model-exporter"), *exporter], f"http://127.0.0.1:{numbers}/readyz"),
            (
                "advisor",
                [str(SCRIPTS / "capacity-advisor"), "serve", f"--config={config}"],
                f"http://127.0.0.1:{advisor}/readyz",
            ),
            ("prometheus", prometheus, f"http://{local.address('prometheus:9090')}/-/ready"),
        ):
            stack.enter_context(server(name, started, ready, folder / f"{name}.log"))
        yield local


@contextlib.contextmanager
def workers(local: Local) -> Iterator[None]:
    """The profile's load generators."""
    command = [local.text(word) for word in SERVICES["loadgen"]["command"]]
    started = [
        subprocess.Popen(
            [str(SCRIPTS / "capacity-advisor"), *command, f"--name=worker-{number}"],
            env={**os.environ, **TOKENS},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(SERVICES["loadgen"]["deploy"]["replicas"])
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(20)


@pytest.mark.integration
@pytest.mark.timeout(180)
def test_the_processes_of_compose_work_together(tmp_path):
    with running(tmp_path) as local, workers(local):
        headers = {"Authorization": f"Bearer {TOKENS['ADVISOR_OPERATOR_TOKEN']}"}
        with (
            httpx.Client(
                base_url=f"http://{local.address('advisor:8000')}", headers=headers, timeout=30
            ) as advisor,
            httpx.Client(base_url=f"http://{local.address('prometheus:9090')}", timeout=30) as prometheus,
        ):
            # It begins once both workers have connected.
            started = advisor.post("/targets/heart-disease/runs", json={"scenario": "smoke"})
            assert started.status_code == httpx.codes.ACCEPTED, started.text
            run = until(lambda: over(advisor, started.headers["location"]))
            assert run["verdict"]["status"] == "valid"
            jobs = until(lambda: both_up(prometheus))
            assert jobs == {"model-exporter", "capacity-advisor"}
            rules = prometheus.get("/api/v1/rules").json()["data"]["groups"]
            assert sum(len(group["rules"]) for group in rules) > 5
            assert all(rule["health"] != "err" for group in rules for rule in group["rules"])


def over(advisor: httpx.Client, location: str) -> dict | None:
    run = advisor.get(location).json()
    return run if run["verdict"] else None


def both_up(prometheus: httpx.Client) -> set[str] | None:
    found = prometheus.get("/api/v1/query", params={"query": "up == 1"}).json()["data"]["result"]
    jobs = {row["metric"]["job"] for row in found}
    return jobs if len(jobs) == 2 else None


def until(look, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while (found := look()) is None:
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.3)
    return found
