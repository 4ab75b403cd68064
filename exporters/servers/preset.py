"""How to read one model server: a TOML file, checked when it is loaded.

    title = "vLLM"
    docs = "https://…"                       # where its metrics are documented
    address = "http://127.0.0.1:8000/metrics"
    detect = ["vllm:num_requests_running"]   # any of these names marks the server
    model = ["model_name"]                   # labels that hold the model, the first that is there

    [[metric]]
    to = "inference_request_duration_seconds"
    from = ["vllm:e2e_request_latency_seconds"]   # newest name first: the first that is there is read
    unit = "s"                               # of the server's values; left out: already the unit of `to`
    labels = { outcome = "ok" }              # "{reason}" takes the value of the server's label `reason`
    translate = { abort = "cancelled", "*" = "ok" }   # of that value; "http": status codes to outcomes
    where = { handler = "/v1/.*" }           # only series whose label matches in full (regular expression)
    except = { handler = "/health" }         # not these
    combine = "sum"                          # of gauges; or "max"
    fallback = true                          # only when no entry above found this metric

Where a server keeps a sum and a count apart, `sum = […]` and `count = […]` stand for `from`: that gives a
mean, served as a histogram without boundaries, never as a quantile. `count` alone counts requests that are
not timed. A summary's quantiles are left out (they cannot be added up), its sum and count are read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from exporters import names
from exporters.names import Metric

UNITS: Final[Mapping[str, float]] = {
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "ns": 1e-9,
    "ratio": 1.0,
    "percent": 1e-2,
    "bytes": 1.0,
    "KiB": 1024.0,
    "MiB": 1024.0**2,
    "MB": 1e6,
    "W": 1.0,
}
HTTP: Final = "http"
METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in vars(names).values()
    if isinstance(metric, Metric) and not metric.name.startswith("inference_exporter_")
}
_DIRECTORY = Path(__file__).parent / "presets"
_PRESET_KEYS = {"title", "docs", "note", "address", "detect", "model", "metric"}
_RULE_KEYS = {
    "to",
    "from",
    "sum",
    "count",
    "unit",
    "labels",
    "translate",
    "where",
    "except",
    "combine",
    "fallback",
    "note",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One metric of ours from one family of the server's. `scale`: ours = theirs × scale."""

    to: Metric
    names: tuple[str, ...] = ()
    sum_names: tuple[str, ...] = ()
    count_names: tuple[str, ...] = ()
    scale: float = 1.0
    labels: Mapping[str, str] = field(default_factory=dict)
    translate: Mapping[str, str] | str | None = None
    where: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    unless: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    combine: str = "sum"
    fallback: bool = False

    @property
    def wanted(self) -> tuple[str, ...]:
        """Every name that this rule may read."""
        return self.names + self.sum_names + self.count_names


@dataclass(frozen=True, slots=True)
class Preset:
    """One server. `name` is the file's name without `.toml`."""

    name: str
    title: str
    detect: tuple[str, ...]
    model_labels: tuple[str, ...]
    rules: tuple[Rule, ...]
    address: str | None = None

    @property
    def wanted(self) -> frozenset[str]:
        """Every name that any rule may read."""
        return frozenset(name for rule in self.rules for name in rule.wanted)


@cache
def presets() -> Mapping[str, Preset]:
    """All servers that ship with the exporter, by name."""
    return {file.stem: load(file) for file in sorted(_DIRECTORY.glob("*.toml"))}


def load(file: Path) -> Preset:
    """A preset or a person's own mapping.

    Raises:
        ValueError: unreadable, not TOML, or a key or value that is wrong; names the file and the key.
    """
    try:
        with file.open("rb") as stream:
            document = tomllib.load(stream)
    except OSError as error:
        raise ValueError(f"cannot read the mapping {file}: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{file} is not TOML: {error}") from None
    try:
        return _preset(file.stem, document)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _preset(name: str, document: dict[str, Any]) -> Preset:
    _only(document, _PRESET_KEYS, "the file")
    entries = document.get("metric")
    if not isinstance(entries, list) or not entries:
        raise ValueError("it maps nothing: write at least one [[metric]] with `to` and `from`")
    return Preset(
        name=name,
        title=str(document.get("title", name)),
        detect=_strings(document, "detect"),
        model_labels=_strings(document, "model"),
        rules=tuple(_rule(entry, f"[[metric]] {number}") for number, entry in enumerate(entries, start=1)),
        address=document.get("address"),
    )


def _rule(entry: dict[str, Any], where: str) -> Rule:
    _only(entry, _RULE_KEYS, where)
    metric = METRICS.get(str(entry.get("to")))
    if metric is None:
        raise ValueError(f"{where}: `to` must be one of {', '.join(sorted(METRICS))}")
    unit = entry.get("unit")
    if unit is not None and unit not in UNITS:
        raise ValueError(f"{where}: unit '{unit}' is not one of {', '.join(UNITS)}")
    combine = entry.get("combine", "sum")
    if combine not in {"sum", "max"}:
        raise ValueError(f"{where}: combine must be sum or max, not '{combine}'")
    rule = Rule(
        to=metric,
        names=_strings(entry, "from", where),
        sum_names=_strings(entry, "sum", where),
        count_names=_strings(entry, "count", where),
        scale=1.0 if unit is None else UNITS[unit],
        labels=_table(entry, "labels", where),
        translate=HTTP if entry.get("translate") == HTTP else _table(entry, "translate", where) or None,
        where=_patterns(entry, "where", where),
        unless=_patterns(entry, "except", where),
        combine=combine,
        fallback=bool(entry.get("fallback", False)),
    )
    _check_names(rule, where)
    _check_labels(rule, where)
    return rule


def _check_names(rule: Rule, where: str) -> None:
    if rule.names and (rule.sum_names or rule.count_names):
        raise ValueError(f"{where}: write `from`, or `sum` and `count`, not both")
    if not rule.names and not rule.count_names:
        raise ValueError(f"{where}: write `from`, or `sum` and `count`, with names of the server's metrics")
    if rule.count_names and rule.to.type != "histogram":
        raise ValueError(
            f"{where}: `sum` and `count` give a histogram, and {rule.to.name} is a {rule.to.type}"
        )


def _check_labels(rule: Rule, where: str) -> None:
    needed = set(rule.to.labels) - {"model"}
    if set(rule.labels) != needed:
        given = ", ".join(sorted(rule.labels)) or "none"
        raise ValueError(f"{where}: {rule.to.name} needs labels {sorted(needed)}, given: {given}")
    outcome = rule.labels.get("outcome", "")
    translated = rule.translate.values() if isinstance(rule.translate, Mapping) else ()
    fixed = [outcome] if outcome and "{" not in outcome else [*translated] if outcome else []
    for value in fixed:
        if value not in names.OUTCOMES:
            raise ValueError(f"{where}: outcome '{value}' is not one of {', '.join(names.OUTCOMES)}")
    if "{" in outcome and rule.translate is None:
        raise ValueError(f'{where}: an outcome from a label needs `translate`, with "*" for all other values')
    if isinstance(rule.translate, Mapping) and "*" not in rule.translate:
        raise ValueError(f'{where}: `translate` needs "*" for all other values')


def _only(table: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(table) - known)
    if unknown:
        raise ValueError(f"{where}: unknown key '{unknown[0]}'; known are {', '.join(sorted(known))}")


def _strings(table: Mapping[str, Any], key: str, where: str = "the file") -> tuple[str, ...]:
    value = table.get(key, [])
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise ValueError(f"{where}: `{key}` must be a list of names")
    return tuple(listed)


def _table(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, str]:
    value = table.get(key, {})
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError(f"{where}: `{key}` must be a table of texts")
    return value


def _patterns(table: Mapping[str, Any], key: str, where: str) -> Mapping[str, re.Pattern[str]]:
    try:
        return {label: re.compile(text) for label, text in _table(table, key, where).items()}
    except re.error as error:
        raise ValueError(f"{where}: `{key}` holds a wrong regular expression: {error}") from None
