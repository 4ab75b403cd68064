"""The shipped dashboards, and those that Grafana has: brought there, or compared."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any

from advisor.outputs.grafana.client import Grafana

FOLDER = "capacity-advisor"  # uid of the folder
SOURCE = "capacity-advisor-prometheus"  # uid of the data source, where one is made
INTERVAL = "15s"  # between two scrapes, as in dashboards/prometheus/prometheus.yml
RUNBOOK = "docs/runbook.md"  # as the alerts have it
_OWN_KEYS = ("id", "version")  # Grafana's own in a stored dashboard


class State(StrEnum):
    """Of one thing in Grafana against ours."""

    SAME = "same"
    CREATED = "created"
    UPDATED = "updated"
    MISSING = "missing"
    DIFFERS = "differs"


@dataclass(frozen=True, slots=True)
class Item:
    """`what` is a folder, a data source or a dashboard; `note` says what to do where it is missing."""

    what: str
    name: str
    state: State
    note: str = ""


@dataclass(frozen=True, slots=True)
class Boards:
    """What should be there. `prometheus`: where Grafana reaches it; with None no data source is made."""

    folder: str = "Capacity Advisor"
    prometheus: str | None = None
    interval: str = INTERVAL


def shipped() -> dict[str, dict[str, Any]]:
    """The dashboards of this version by file name."""
    folder = resources.files("dashboards") / "json"
    files = sorted(
        (path for path in folder.iterdir() if path.name.endswith(".json")), key=lambda path: path.name
    )
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def push(grafana: Grafana, wanted: Boards) -> Iterator[Item]:
    """Make it so, and tell of each thing as it is done; what is right already stays untouched.

    Raises:
        GrafanaFailed: Grafana is away, or refuses; what was told before is done.
    """
    if grafana.folder(FOLDER) is None:
        grafana.create_folder(wanted.folder, FOLDER)
        yield Item("folder", wanted.folder, State.CREATED)
    else:
        yield Item("folder", wanted.folder, State.SAME)
    yield _push_source(grafana, wanted)
    for board in shipped().values():
        state = _state(grafana, board)
        if state is not State.SAME:
            grafana.put_dashboard(board, FOLDER, "capacity-advisor dashboards push")
        done = {State.MISSING: State.CREATED, State.DIFFERS: State.UPDATED}.get(state, state)
        yield Item("dashboard", board["title"], done)


def check(grafana: Grafana, wanted: Boards) -> Iterator[Item]:
    """Compare, and change nothing.

    Raises:
        GrafanaFailed: Grafana is away, or refuses.
    """
    there = grafana.folder(FOLDER) is not None
    yield Item("folder", wanted.folder, State.SAME if there else State.MISSING)
    yield _source(grafana, wanted)[0]
    for board in shipped().values():
        yield Item("dashboard", board["title"], _state(grafana, board))


def export(folder: Path, runbook: str = RUNBOOK) -> Iterator[Path]:
    """Dashboards, rules and alerts as files, for provisioning and ConfigMaps; `runbook` is its address.

    Raises:
        OSError: the folder cannot be written.
    """
    source = resources.files("dashboards")
    for kind, ending in (("json", ".json"), ("prometheus", ".yaml")):
        for path in sorted((source / kind).iterdir(), key=lambda path: path.name):
            if path.name.endswith(ending):
                target = folder / path.name
                target.parent.mkdir(parents=True, exist_ok=True)
                text = path.read_text(encoding="utf-8").replace(
                    f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#"
                )
                target.write_text(text, encoding="utf-8")
                yield target


def _push_source(grafana: Grafana, wanted: Boards) -> Item:
    item, stored = _source(grafana, wanted)
    if wanted.prometheus is None or item.state is State.SAME:
        return item
    body = _body(wanted, wanted.prometheus)
    if stored is None:
        grafana.create_data_source(body)
        return Item(item.what, item.name, State.CREATED)
    grafana.update_data_source(SOURCE, body)
    return Item(item.what, item.name, State.UPDATED)


def _source(grafana: Grafana, wanted: Boards) -> tuple[Item, Mapping[str, Any] | None]:
    """The data source that was asked for; else any Prometheus, for the dashboards let people choose."""
    sources = grafana.data_sources()
    if wanted.prometheus is None:
        found = [source["name"] for source in sources if source.get("type") == "prometheus"]
        if found:
            return Item("data source", found[0], State.SAME), None
        note = "give --prometheus URL, and push makes one"
        return Item("data source", "Prometheus", State.MISSING, note), None
    body = _body(wanted, wanted.prometheus)
    stored = next((source for source in sources if source.get("uid") == SOURCE), None)
    if stored is None:
        return Item("data source", body["name"], State.MISSING), None
    kept = stored.get("jsonData") or {}
    same = stored.get("url") == body["url"] and kept.get("timeInterval") == wanted.interval
    return Item("data source", body["name"], State.SAME if same else State.DIFFERS), stored


def _body(wanted: Boards, prometheus: str) -> dict[str, Any]:
    return {
        "name": "Capacity Advisor Prometheus",
        "uid": SOURCE,
        "type": "prometheus",
        "access": "proxy",
        "url": prometheus.rstrip("/"),
        # Grafana's $__rate_interval is four of them.
        "jsonData": {"timeInterval": wanted.interval, "httpMethod": "POST"},
    }


def _state(grafana: Grafana, board: Mapping[str, Any]) -> State:
    stored = grafana.dashboard(board["uid"])
    if stored is None:
        return State.MISSING
    kept = {key: value for key, value in stored["dashboard"].items() if key not in _OWN_KEYS}
    ours = {key: value for key, value in board.items() if key not in _OWN_KEYS}
    return State.SAME if kept == ours else State.DIFFERS
