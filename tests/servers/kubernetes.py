"""A small API server: the paths, verbs and objects of Kubernetes' documented API that the advisor uses.

No cluster runs here, and nothing was recorded from one. Objects have the fields of the API reference (apps/v1
Deployment and Scale, v1 Pod and its conditions, autoscaling/v2 HorizontalPodAutoscaler, v1 Status for
refusals); pods become ready some readings after they are asked for.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

NAMESPACE = "models"
IMAGE_ID = (
    "registry.example/heart-disease@sha256:3e7a9f0c2d4b6e8f1a3c5d7e9f0b2d4c6e8a1c3e5f7092b4d6f8a0c2e4f60718"
)
READY_AFTER = 2  # readings of the Deployment


def pod(
    number: int, *, seconds: int = 40, phase: str = "Running", image_id: str = IMAGE_ID
) -> dict[str, Any]:
    """A pod with a native sidecar that became ready `seconds` after it was made."""
    minute, second = divmod(seconds, 60)
    ready = f"2026-01-05T10:{minute:02}:{second:02}Z"
    return {
        "metadata": {
            "name": f"heart-disease-{number}",
            "namespace": NAMESPACE,
            "labels": {"app": "heart-disease", "capacity-advisor/target": "heart-disease"},
            "creationTimestamp": "2026-01-05T10:00:00Z",
        },
        "spec": {
            "initContainers": [
                {
                    "name": "model-exporter",
                    "restartPolicy": "Always",
                    "ports": [{"name": "model-metrics", "containerPort": 9109, "protocol": "TCP"}],
                }
            ],
            "containers": [{"name": "model", "ports": [{"name": "http", "containerPort": 8081}]}],
        },
        "status": {
            "phase": phase,
            "podIP": f"10.0.0.{number}",
            "conditions": [
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-05T10:00:01Z"},
                {"type": "Ready", "status": "True", "lastTransitionTime": ready},
            ],
            "containerStatuses": [{"name": "model", "ready": True, "restartCount": 0, "imageID": image_id}],
        },
    }


def deployment(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "heart-disease", "namespace": NAMESPACE, "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "heart-disease"}},
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "model",
                            "resources": {
                                "requests": {"cpu": "750m"},
                                "limits": {"cpu": "2", "memory": "2Gi"},
                            },
                        }
                    ]
                }
            },
        },
        "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": replicas},
    }


AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "metadata": {"name": "heart-disease", "namespace": NAMESPACE},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "heart-disease"},
        "minReplicas": 2,
        "maxReplicas": 9,
        "metrics": [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ],
    },
}


class ApiServer:
    """Its objects; `forbidden` holds (verb, resource) that the credentials may not."""

    def __init__(self, replicas: int = 2) -> None:
        self.deployment = deployment(replicas)
        self.pods = [pod(number) for number in range(1, replicas + 1)]
        self.autoscalers = [AUTOSCALER]
        self.forbidden: set[tuple[str, str]] = set()
        self.patches: list[tuple[str, str, dict[str, list[str]], dict[str, Any]]] = []
        self._until_ready = 0

    def answer(
        self, verb: str, path: str, query: dict[str, list[str]], body: Any
    ) -> tuple[int, dict[str, Any]]:
        """Status and object."""
        if path == "/version/":
            return 200, {"major": "1", "minor": "33", "gitVersion": "v1.33.2"}
        match = re.fullmatch(
            r"/apis?/(?:apps/|autoscaling/)?v\d/namespaces/([\w-]+)/(\w+)(?:/([\w-]+))?(/scale)?", path
        )
        if match is None:
            return _status(404, "the server could not find the requested resource")
        namespace, resource, name, scale = match.groups()
        if (verb, resource) in self.forbidden:
            return _status(
                403,
                f'{resource} is forbidden: User "system:serviceaccount:advisor:default" cannot {verb} '
                f'resource "{resource}" in API group "" in the namespace "{namespace}"',
            )
        if namespace != NAMESPACE or name not in {None, "heart-disease"}:
            return _status(404, f'{resource} "{name}" not found') if name else (200, {"items": []})
        if verb == "patch":
            return self._patched(resource, scale, query, body)
        if resource == "deployments":
            return 200, self._deployment_now()
        if resource == "pods":
            wanted = dict(term.split("=") for term in query.get("labelSelector", [""])[0].split(",") if term)
            return 200, {"items": [p for p in self.pods if wanted.items() <= p["metadata"]["labels"].items()]}
        return 200, {"items": self.autoscalers}

    def _patched(
        self, resource: str, scale: str | None, query: dict[str, list[str]], body: Any
    ) -> tuple[int, dict[str, Any]]:
        if resource == "horizontalpodautoscalers":
            if body["spec"]["maxReplicas"] < body["spec"]["minReplicas"]:
                return _status(
                    422,
                    'HorizontalPodAutoscaler.autoscaling "heart-disease" is invalid: spec.maxReplicas: '
                    f"Invalid value: {body['spec']['maxReplicas']}: "
                    "must be greater than or equal to `minReplicas`",
                )
            return 200, body
        assert scale, "a Deployment is changed by its scale alone"
        self.deployment["spec"]["replicas"] = body["spec"]["replicas"]
        self.deployment["metadata"]["generation"] += 1
        self._until_ready = READY_AFTER
        return 200, {"kind": "Scale", "spec": body["spec"]}

    def _deployment_now(self) -> dict[str, Any]:
        if self._until_ready > 0:
            self._until_ready -= 1
        if self._until_ready == 0:
            replicas = self.deployment["spec"]["replicas"]
            generation = self.deployment["metadata"]["generation"]
            self.deployment["status"] = {
                "observedGeneration": generation,
                "replicas": replicas,
                "readyReplicas": replicas,
            }
        return self.deployment


def _status(code: int, message: str) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}


@contextmanager
def api_server(folder: Path, state: ApiServer) -> Iterator[Path]:
    """Serve it; gives a kubeconfig for it."""

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, verb: str) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            query = parse_qs(url.query)
            if verb == "patch":
                state.patches.append((url.path, str(self.headers["Content-Type"]), query, body))
            named = url.path.count("/") > (6 if url.path.startswith("/apis") else 5)
            code, found = state.answer(
                "get" if verb == "get" and named else verb if verb != "get" else "list", url.path, query, body
            )
            text = json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def do_GET(self) -> None:
            self._answer("get")

        def do_PATCH(self) -> None:
            self._answer("patch")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [
                {"name": "here", "context": {"cluster": "here", "user": "me", "namespace": NAMESPACE}}
            ],
            "clusters": [
                {"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}
            ],
            "users": [{"name": "me", "user": {"token": "secret"}}],
        }
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(config))
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()
