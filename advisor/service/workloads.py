"""What runs of each target in the cluster: looked at now and then, for all that ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from advisor.loadtest.hook import HookResult
from advisor.observe.kubernetes import Cluster, ClusterError, Place, Workload
from advisor.scaling.policy import ScalingPolicy
from advisor.service.background import Background
from advisor.settings import AdvisorSettings, ReferenceSettings, TargetSettings
from advisor.units import format_seconds

EVERY = 60.0  # s
FIRST = 10.0  # s that the first look may take before others go on without it
READY = 300.0  # s that a change of the number of replicas may take
_SLOWER = 1.2  # times the configured start-up, from which it is said

_log = logging.getLogger(__name__)


class Workloads(Background):
    """A cluster that cannot be asked is said once, and leaves nothing known."""

    def __init__(self, settings: AdvisorSettings) -> None:
        self._places = {
            target.name: place_of(target.scaling.reference)
            for target in settings.targets
            if settings.kubernetes and target.scaling.reference is not None
        }
        self._cluster = Cluster()
        self._known: dict[str, Workload] = {}
        self._problems: dict[str, str] = {}

    async def start(self) -> None:
        """Look once, not for too long, and then from time to time."""
        if not self._places:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST):
                await self.look()
        await super().start()

    def get(self, target: str) -> Workload | None:
        """As of the last look; None where it is not known."""
        return self._known.get(target)

    def version(self, target: TargetSettings) -> str | None:
        """See `version_of`."""
        return version_of(target, self.get(target.name))

    async def look(self) -> None:
        """All targets, one after another."""
        for target, place in self._places.items():
            try:
                self._known[target] = await self._cluster.look(place)
            except ClusterError as error:
                self._known.pop(target, None)
                if self._problems.get(target) != str(error):
                    self._problems[target] = str(error)
                    _log.warning("%s of target %s cannot be seen: %s", place, target, error)
            else:
                self._problems.pop(target, None)

    async def _loop(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            await self.look()


class Scale:
    """`advisor.loadtest.hook.Hook` by the scale of the target's own workload."""

    def __init__(self, reference: ReferenceSettings) -> None:
        self._place = place_of(reference)
        self.what = f"scale {self._place}"

    async def __call__(self, replicas: int | None = None) -> HookResult:
        """So many replicas, all ready, within five minutes."""
        try:
            async with asyncio.timeout(READY):
                await Cluster().scale(self._place, replicas or 1)
        except ClusterError as error:
            return HookResult(problem=f"{self._place} was not scaled to {replicas}: {error}")
        except TimeoutError:
            limit = format_seconds(READY)
            return HookResult(problem=f"{self._place} did not have {replicas} ready replicas within {limit}")
        return HookResult()


def place_of(reference: ReferenceSettings) -> Place:
    """Where the API server has it."""
    return Place(reference.name, reference.kind, reference.namespace, reference.container)


def version_of(target: TargetSettings, found: Workload | None) -> str | None:
    """The configuration's, else that of the image that runs; None where neither tells, or pods differ."""
    return target.version or (found.version if found is not None else None)


def completed(policy: ScalingPolicy, found: Workload) -> ScalingPolicy:
    """CPU request and limit are the container's where the configuration tells none."""
    if policy.cpu_request_cores is None:
        policy = replace(policy, cpu_request_cores=found.cpu_request)
    if policy.cpu_limit_cores is None:
        policy = replace(policy, cpu_limit_cores=found.cpu_limit)
    return policy


def differences(policy: ScalingPolicy, found: Workload) -> tuple[str, ...]:
    """Where the cluster shows something else than the advice is made for."""
    said = []
    seconds, startup = found.startup_seconds, policy.startup_seconds
    if seconds is not None and seconds > _SLOWER * startup:
        said.append(
            f"pods took {seconds:.0f} s to be ready (the median), more than scaling.startup, "
            f"{format_seconds(startup)}: the advice counts on faster starts"
        )
    request = policy.cpu_request_cores
    if found.cpu_request is not None and request is not None and abs(found.cpu_request / request - 1) > 0.01:
        said.append(
            f"scaling.cpu_request is {request:g} cores, and the container asks for {found.cpu_request:g}: "
            "a CPU target in percent would mean another load"
        )
    if found.ready < found.replicas:
        said.append(f"only {found.ready} of {found.replicas} replicas are ready now")
    return tuple(said)
