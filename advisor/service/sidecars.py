"""A target's sidecars: those that the configuration lists, and those that DNS and the like tell of now."""

from __future__ import annotations

import asyncio
import math
import socket
import time
from urllib.parse import urlsplit

import httpx

from advisor.domain import Window
from advisor.observe import ExporterReader, Recorder
from advisor.observe.kubernetes import Cluster, ClusterError
from advisor.observe.prometheus import PrometheusError, instances
from advisor.settings import KubernetesObserve, ObserveSettings, PrometheusObserve
from advisor.windows import between, together

DEFAULT_PORT = 9109
DEFAULT_PATH = "/metrics"
ASK_EVERY = 15.0  # s; Prometheus learns of new sidecars no faster


class Sidecars:
    """Windows of all replicas together, each time it is called; `problems` are of the last call.

    `complete` is False when a replica could not be read, or when the replicas were not the same at both ends
    of the window: then its sums are not the whole target's.
    """

    def __init__(self, observe: ObserveSettings, client: httpx.AsyncClient, timeout: float = 2.0) -> None:
        self._observe = observe
        self._client = client
        self._timeout = timeout
        self._readers: list[ExporterReader] = []
        self._recorder = Recorder(self._readers, between, together)
        self._unresolved: tuple[str, ...] = ()
        self._told: list[str] = []
        self._asked = -math.inf
        self._cluster = Cluster()
        self._pods: list[str] = []
        self._pods_asked = -math.inf
        self.complete = False

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences: what could not be read, and why."""
        return self._unresolved + self._recorder.problems

    @property
    def urls(self) -> tuple[str, ...]:
        """Of their metrics, as of the last call."""
        return tuple(reader.url for reader in self._readers)

    async def __call__(self) -> Window | None:
        """Since the last call; None at the first, or when nothing could be read."""
        changed = await self._refresh()
        window = await self._recorder()
        same = window is not None and window.replicas == len(self._readers)
        self.complete = same and not changed and not self.problems
        return window

    def forget(self) -> None:
        """What comes next is not continued from what was."""
        self._recorder = Recorder(self._readers, between, together)

    async def _refresh(self) -> bool:
        """Bring the readers up to date; True when they changed."""
        urls = list(self._observe.exporters)
        self._unresolved = ()
        if self._observe.dns is not None:
            try:
                urls += await resolved(self._observe.dns)
            except OSError as error:
                self._unresolved = (f"{self._observe.dns} cannot be resolved: {error.strerror or error}",)
                return False
        if self._observe.prometheus is not None:
            try:
                urls += await self._from_prometheus(self._observe.prometheus)
            except PrometheusError as error:
                self._unresolved = (str(error),)
                return False
        if self._observe.kubernetes is not None:
            try:
                urls += await self._from_kubernetes(self._observe.kubernetes)
            except ClusterError as error:
                self._unresolved = (str(error),)
                return False
        if urls == [reader.url for reader in self._readers]:
            return False
        known = {reader.url: reader for reader in self._readers}
        self._readers[:] = [
            known.get(url) or ExporterReader(url, self._client, timeout=self._timeout) for url in urls
        ]
        return True

    async def _from_prometheus(self, observe: PrometheusObserve) -> list[str]:
        now = time.monotonic()
        if now - self._asked >= ASK_EVERY:
            hosts = await instances(str(observe.url), observe.selector, self._client)
            self._told, self._asked = [f"http://{host}{DEFAULT_PATH}" for host in hosts], now
        return self._told

    async def _from_kubernetes(self, observe: KubernetesObserve) -> list[str]:
        now = time.monotonic()
        if now - self._pods_asked >= ASK_EVERY:
            self._pods = await self._cluster.sidecars(str(observe.selector), observe.namespace)
            self._pods_asked = now
        return self._pods


def observable(observe: ObserveSettings) -> bool:
    """There is a sidecar to read."""
    return bool(observe.exporters or observe.dns or observe.prometheus or observe.kubernetes)


async def resolved(name: str) -> list[str]:
    """Metrics URLs of all addresses behind `host[:port][/path]`, such as a headless Kubernetes Service.

    Raises:
        OSError: it does not resolve.
    """
    parts = urlsplit(name if "//" in name else f"http://{name}")
    port = parts.port or DEFAULT_PORT
    loop = asyncio.get_running_loop()
    rows = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    hosts = sorted({str(row[4][0]) for row in rows})
    path = parts.path if parts.path not in {"", "/"} else DEFAULT_PATH
    return [f"{parts.scheme}://{f'[{h}]' if ':' in h else h}:{port}{path}" for h in hosts]
