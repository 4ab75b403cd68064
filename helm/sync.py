"""`python helm/sync.py` writes what the chart has from elsewhere. It is committed, and a test compares.

The adapter's rules and KEDA's queries, values.schema.json, README.md. Dashboards and rules are links.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from advisor.outputs.hpa import adapter_rules
from advisor.outputs.kubernetes import promql
from advisor.scaling.signal import IN_FLIGHT, REQUEST_RATE

CHART = Path(__file__).parent
_FREE = {"affinity", "resources"}
_TEXTS = {"annotations", "files", "labels", "podAnnotations", "podLabels", "nodeSelector"}
_NAME = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_SPECIAL: dict[str, dict[str, Any]] = {
    "replicas": {"type": "integer", "minimum": 1},
    "config": {
        "type": "object",
        "properties": {
            "targets": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["name", "url"],
                    "properties": {"name": _NAME, "url": {"type": "string", "pattern": "^https?://."}},
                },
            }
        },
    },
    "auth.secretName": _NAME,
    "postgresql.url": {"type": "string", "pattern": r"^(postgresql\+psycopg://[^:@/]*(@.*)?)?$"},
    "persistence.size": {"type": "string", "pattern": r"^\d+(\.\d+)?([KMGTP]i?)?$"},
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"},
    "loadgen.maxRate": {"type": "integer", "minimum": 1},
    "rbac.namespaces": {"type": "array", "items": _NAME},
    "podMonitor.namespaces": {"type": "array", "items": _NAME},
    "service.type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "service.port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "serviceMonitor.interval": {"type": "string", "pattern": r"^\d+(ms|s|m)$"},
    "podMonitor.interval": {"type": "string", "pattern": r"^\d+(ms|s|m)$"},
    "keda.scaledObjects": {
        "type": "array",
        "items": {
            "type": "object",
            "additionalProperties": False,
            "required": ["name", "metric", "value", "minReplicas", "maxReplicas"],
            "properties": {
                "name": _NAME,
                "namespace": _NAME,
                "kind": {"enum": ["Deployment", "StatefulSet"]},
                "target": _NAME,
                "metric": {"enum": [REQUEST_RATE, IN_FLIGHT]},
                "value": {"type": "number", "exclusiveMinimum": 0},
                "minReplicas": _COUNT,
                "maxReplicas": {"type": "integer", "minimum": 1},
            },
        },
    },
}


def files() -> dict[str, str]:
    """Every written file: its path within the chart, and its text."""
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    queries = {metric: promql(metric, {"target": "{{ .target }}"}) for metric in (REQUEST_RATE, IN_FLIGHT)}
    found = {"files/adapter.yaml": yaml.safe_dump(adapter_rules(), sort_keys=False, width=1000)}
    found["files/queries.yaml"] = yaml.safe_dump(queries, sort_keys=False, width=1000)
    found["values.schema.json"] = json.dumps(schema(yaml.safe_load(values)), indent=2) + "\n"
    found["README.md"] = readme(values)
    return found


def schema(values: dict[str, Any]) -> dict[str, Any]:
    """Types from the defaults; a key that is not there is a mistake."""
    found = _schema(values, "")
    # Helm puts it there when this chart is part of another one.
    found["properties"]["global"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **found}


def _schema(value: Any, path: str) -> dict[str, Any]:
    name = path.rpartition(".")[2]
    if path in _SPECIAL:
        return _SPECIAL[path]
    if isinstance(value, dict):
        if name in _FREE:
            return {"type": "object"}
        if name in _TEXTS:  # the API server takes no number there; null takes a default away
            return {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
        inner = {key: _schema(item, f"{path}.{key}".strip(".")) for key, item in value.items()}
        return {"type": "object", "additionalProperties": False, "properties": inner}
    if isinstance(value, bool):
        return {"type": "boolean"}
    if isinstance(value, int):
        return _COUNT
    if isinstance(value, list):
        return {"type": "array", "items": {"type": "object"}}
    return {"type": "string"}


def readme(values: str) -> str:
    """A table of every value with its default and the comment above it."""
    rows = "\n".join(f"| `{key}` | `{default}` | {text} |" for key, default, text in documented(values))
    chart = yaml.safe_load(_text(CHART / "Chart.yaml"))
    return f"""# The chart `{chart["name"]}`

{chart["description"]}

```console
$ docker build --target advisor --tag registry.example/capacity-advisor/advisor:0.1.0 .
$ docker push registry.example/capacity-advisor/advisor:0.1.0
$ kubectl create namespace advisor
$ kubectl -n advisor create secret generic capacity-advisor \\
    --from-literal=viewer-token=$(openssl rand -hex 16) --from-literal=operator-token=$(openssl rand -hex 16)
$ helm -n advisor install capacity-advisor ./helm --values values.yaml
```

with `values.yaml` as small as

```yaml
image: {{repository: registry.example/capacity-advisor/advisor}}
config:
  targets:
    - name: heart-disease
      url: http://heart-disease.models
      requests: [{{method: POST, path: /predict, payload: {{openapi: /openapi.json}}}}]
      observe: {{kubernetes: {{namespace: models}}}} # the sidecars that inject put there
      slo: {{latency: {{p95: 150ms}}}}
rbac: {{read: true, namespaces: [models]}}
podMonitor: {{enabled: true, namespaces: [any]}}
serviceMonitor: {{enabled: true}}
prometheusRule: {{enabled: true}}
dashboards: {{enabled: true}}
```

Sidecars are not the chart's: `capacity-advisor inject` puts them beside the models. How to run all of it is
in [docs/operations.md](../docs/operations.md).

## Values

| key | default | what it is |
|---|---|---|
{rows}

`python helm/sync.py` writes this page.
"""


def documented(values: str) -> Iterator[tuple[str, str, str]]:
    """(key, default, comment) of every value.

    Raises:
        ValueError: one has no comment.
    """
    tree = yaml.safe_load(values)
    path: list[str] = []
    comment: list[str] = []
    for line in values.splitlines():
        if match := re.match(r" *# (.*)", line):
            comment.append(match[1])
            continue
        match = re.match(r"( *)([A-Za-z]\w*):(.*)", line)
        if match is None:
            comment = []
            continue
        path[len(match[1]) // 2 :] = [match[2]]
        default = tree
        for key in path:
            default = default[key]
        leaf = comment or not isinstance(default, dict)
        if leaf and not comment and len(path) > 1 and "config" not in path:
            raise ValueError(f"{'.'.join(path)} has no comment")
        if comment:
            yield (
                ".".join(path),
                json.dumps(default).replace("|", "\\|"),
                " ".join(comment).replace("|", "\\|"),
            )
        comment = []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def main() -> None:
    """Write them."""
    for name, text in files().items():
        (CHART / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
