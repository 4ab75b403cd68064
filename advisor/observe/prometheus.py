"""What a Prometheus remembers of a target's sidecars, by range queries. Blocks: call it in a thread."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from advisor.domain import Floats, Snapshot
from advisor.observe.exposition import PREFIX
from exporters import names

MINUTE = 60.0
MOST_POINTS = 10_000  # of a series in one answer; Prometheus refuses 11 000
MOST_SAMPLES = 500_000  # of one reading of windows: longer steps are taken rather than more samples
USUAL_INTERVAL = 15.0  # s between two scrapes, where nothing tells
_LOOK = 300.0  # s in which scrapes are looked at


class PrometheusError(Exception):
    """It cannot be asked, or cannot answer; a sentence."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an answer: Unix seconds and values."""

    labels: Mapping[str, str]
    times: Floats
    values: Floats


class PrometheusReader:
    """One target's sidecars: those whose series `selector` (PromQL's label matchers, without braces) finds.

    The client is shared and closed by whoever made it.
    """

    def __init__(self, url: str, selector: str, client: httpx.Client, *, timeout: float = 10.0) -> None:
        self.url = url
        self._selector = selector
        self._client = client
        self._timeout = timeout

    def demand(self, start: float, end: float) -> tuple[Floats, Floats]:
        """Mean demand of each whole minute in [start, end): (Unix s, req/s), without what is not known.

        A minute in which a replica came, went or was not scraped is left out: a sum that lacks one is no
        demand. With scrapes rarer than twice a minute each value is the mean of a longer time.

        Raises:
            PrometheusError: no answer.
        """
        over = f"{int(max(MINUTE, MINUTE * np.ceil(2.0 * self.interval(end) / MINUTE)))}s"
        up = self._metric(names.SOURCE_UP.name)
        replicas = f"count(sum by (instance) (count_over_time({up}[{over}])))"
        before = f"count(sum by (instance) (count_over_time({up}[{over}] offset 1m)))"
        count = self._metric(names.REQUEST_DURATION.name + "_count")
        # Nothing counted is no demand; too few scrapes to tell a rate is not known.
        none = f"0 * {replicas} unless on() count(count_over_time({count}[{over}]))"
        query = f"(sum(rate({count}[{over}])) or on() ({none})) and on() ({replicas} == {before})"
        first = MINUTE * (np.ceil(start / MINUTE) + 1)
        found = [
            series
            for begin in np.arange(first, end + 1e-6, MOST_POINTS * MINUTE)
            for series in self._range(query, begin, min(begin + (MOST_POINTS - 1) * MINUTE, end), MINUTE)
        ]
        if not found:
            return np.zeros(0), np.zeros(0)
        times = np.concatenate([series.times for series in found])
        return times - MINUTE, np.concatenate([series.values for series in found])

    def snapshots(self, start: float, end: float) -> tuple[float, list[dict[str, Snapshot]]]:
        """(step in s, the sidecars' metrics by replica at each step), each with the time of its scrape.

        A replica that was not scraped since the step before is not in that step.

        Raises:
            PrometheusError: no answer.
        """
        step = self._step(start, end)
        everything = f'{{__name__=~"{PREFIX}.+",{self._selector}}}'
        scraped = f"max by (instance) (timestamp({self._metric(names.SOURCE_UP.name)}))"
        begin = step * np.floor(start / step)
        times = {
            series.labels.get("instance", ""): series for series in self._range(scraped, begin, end, step)
        }
        rows: dict[str, list[Series]] = defaultdict(list)
        for series in self._range(everything, begin, end, step):
            rows[series.labels.get("instance", "")].append(series)
        steps = round((end - begin) / step) + 1
        found: list[dict[str, Snapshot]] = [{} for _ in range(steps)]
        for instance, lines in rows.items():
            if instance in times:
                for index, snapshot in _snapshots(instance, lines, times[instance], begin, step):
                    found[index][instance] = snapshot
        return step, found

    def interval(self, at: float) -> float:
        """Seconds between two scrapes, at that time."""
        query = f"{self._metric(names.SOURCE_UP.name)}[{_LOOK:.0f}s]"
        data = self._ask("query", {"query": query, "time": f"{at:.3f}"})
        times = [np.array(row["values"], dtype=np.float64)[:, 0] for row in data["result"]]
        between = np.concatenate([np.diff(scrapes) for scrapes in times]) if times else np.zeros(0)
        return float(np.median(between)) if between.size else USUAL_INTERVAL

    def _step(self, start: float, end: float) -> float:
        """Whole seconds: two scrapes, so that there is a new one in each step, or more to keep the bounds."""
        counted = self._instant(f'count({{__name__=~"{PREFIX}.+",{self._selector}}})', end)
        series = counted[0] if counted else 1.0
        span = end - start
        return float(np.ceil(max(2 * self.interval(end), span / MOST_POINTS, span * series / MOST_SAMPLES)))

    def _metric(self, name: str) -> str:
        return f"{name}{{{self._selector}}}"

    def _instant(self, query: str, at: float) -> list[float]:
        data = self._ask("query", {"query": query, "time": f"{at:.3f}"})
        return [float(row["value"][1]) for row in data["result"]]

    def _range(self, query: str, start: float, end: float, step: float) -> Iterator[Series]:
        asked = {"query": query, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:.3f}"}
        for row in self._ask("query_range", asked)["result"]:
            points = np.array(row["values"], dtype=np.float64)  # values are text
            yield Series(row["metric"], points[:, 0], points[:, 1])

    def _ask(self, what: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        try:
            answer = self._client.post(f"{self.url}/api/v1/{what}", data=parameters, timeout=self._timeout)
        except httpx.HTTPError as error:
            raise PrometheusError(f"{self.url} cannot be asked: {error or type(error).__name__}") from None
        return _data(self.url, answer)


def _snapshots(
    instance: str, lines: list[Series], scraped: Series, begin: float, step: float
) -> Iterator[tuple[int, Snapshot]]:
    """(step, snapshot) where there was a scrape since the step before."""
    rows: dict[int, dict[str, list[tuple[Mapping[str, str], float]]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        labels = dict(line.labels)
        name = labels.pop("__name__")
        indices = np.rint((line.times - begin) / step).astype(np.int64)
        for index, value in zip(indices.tolist(), line.values.tolist(), strict=True):
            if value == value:  # noqa: PLR0124 - NaN says nothing
                rows[index][name].append((labels, value))
    before = -np.inf
    for time, at in zip(scraped.times.tolist(), scraped.values.tolist(), strict=True):
        index = round((time - begin) / step)
        if at > before and index in rows:
            yield index, Snapshot(at, {name: tuple(found) for name, found in rows[index].items()}, instance)
        before = at


async def instances(url: str, selector: str, client: httpx.AsyncClient) -> list[str]:
    """`host:port` of the sidecars that are scraped now, as the label `instance` tells them.

    Raises:
        PrometheusError: no answer.
    """
    query = f"group by (instance) ({names.SOURCE_UP.name}{{{selector}}})"
    try:
        answer = await client.post(f"{url}/api/v1/query", data={"query": query})
    except httpx.HTTPError as error:
        raise PrometheusError(f"{url} cannot be asked: {error or type(error).__name__}") from None
    rows = _data(url, answer)["result"]
    return sorted(row["metric"]["instance"] for row in rows if "instance" in row["metric"])


def _data(url: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        raise PrometheusError(f"{url} answers with status {answer.status_code} and no JSON") from None
    if not isinstance(document, dict) or document.get("status") != "success":
        why = document.get("error") if isinstance(document, dict) else None
        raise PrometheusError(f"{url} refuses the query: {why or answer.status_code}")
    data: dict[str, Any] = document["data"]
    return data
