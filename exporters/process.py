"""CPU and memory of the model's processes or container, never of the sidecar.

Memory of processes is the sum of their resident private pages plus the largest shared part once (shared pages
of files and of shared memory would otherwise count once a worker). Memory of a cgroup is its working set.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import psutil

from exporters import cgroup, names, processes
from exporters.cgroup import Cgroup
from exporters.cputime import CpuLedger, CpuUse, ProcessKey
from exporters.samples import Measured, Sample, SourceDown

FORMS = "name=gunicorn, port=8080, pid=1234, cgroup or cgroup=PATH"
_REDISCOVER = 5.0  # s: a second server of the same name is seen after this
_TRIES = 4


class TargetKind(Enum):
    """How the model's processes are named."""

    NAME = "name"
    PORT = "port"
    PID = "pid"
    CGROUP = "cgroup"


@dataclass(frozen=True, slots=True)
class ProcessTarget:
    """Which processes are the model: `value` is empty for the sidecar's own cgroup."""

    kind: TargetKind
    value: str

    def __str__(self) -> str:
        return f"{self.kind.value}={self.value}" if self.value else self.kind.value


def parse_target(text: str) -> ProcessTarget:
    """A target from `name=gunicorn`, `port=8080`, `pid=1234`, `cgroup` or `cgroup=PATH`.

    Raises:
        ValueError: says which forms there are.
    """
    kind_text, _, value = (part.strip() for part in text.partition("="))
    if kind_text not in {kind.value for kind in TargetKind}:
        raise ValueError(f"'{text}' does not name a process: write {FORMS}")
    kind = TargetKind(kind_text)
    if not value and (kind is not TargetKind.CGROUP or "=" in text):
        raise ValueError(f"'{text}' has no value: write {FORMS}")
    if kind in {TargetKind.PORT, TargetKind.PID} and not (value.isdecimal() and int(value) > 0):
        raise ValueError(f"'{text}': '{value}' is not a positive whole number")
    if kind is TargetKind.PORT and int(value) > 65535:
        raise ValueError(f"'{text}': a port is at most 65535")
    return ProcessTarget(kind, value)


def process_source(
    targets: Sequence[ProcessTarget],
    model: str = names.DEFAULT_MODEL,
    *,
    cgroup_root: Path = cgroup.DEFAULT_ROOT,
    own_pid: int | None = None,
) -> ProcessSource | CgroupSource:
    """The source for `targets` together: reads nothing before the first `collect`.

    `/proc` is `psutil.PROCFS_PATH`.

    Raises:
        ValueError: a cgroup beside other targets: what is in both would count twice.
    """
    pid = own_pid if own_pid is not None else os.getpid()
    if all(target.kind is not TargetKind.CGROUP for target in targets):
        return ProcessSource(targets, model, cgroup_root=cgroup_root, own_pid=pid)
    if len(targets) > 1:
        raise ValueError(f"a cgroup stands alone: of {', '.join(map(str, targets))} give one")
    return CgroupSource(targets[0], model, cgroup_root=cgroup_root, own_pid=pid)


class ProcessSource:
    """Process trees: CPU and memory summed; limit, throttling, pressure from their cgroup where readable."""

    name = "process"

    def __init__(
        self,
        targets: Sequence[ProcessTarget],
        model: str,
        *,
        cgroup_root: Path,
        own_pid: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._targets = tuple(targets)
        self._target = ", ".join(map(str, targets))
        self._labels = (model, names.SCOPE_PROCESS)
        self._cgroup_root = cgroup_root
        self._own_pid = own_pid
        self._clock = clock
        self._ledger = CpuLedger()
        self._roots: list[psutil.Process] = []
        self._known: dict[ProcessKey, psutil.Process] = {}
        self._discovered = float("-inf")

    def collect(self) -> Iterator[Measured]:
        """See `Source.collect`."""
        self._discover()
        members = self._snapshot()
        if not members:
            raise SourceDown(f"{self._target}: no process but the sidecar itself")
        origins = {}
        yield Sample(
            names.CPU_SECONDS, self._labels, self._ledger.update({k: m.cpu for k, m in members.items()})
        )
        origins[names.CPU_SECONDS] = "utime+stime+cutime+cstime"
        private = sum(member.private for member in members.values())
        yield Sample(
            names.MEMORY_BYTES, self._labels, private + max(member.shared for member in members.values())
        )
        origins[names.MEMORY_BYTES] = "rss, shared pages once"
        # The oldest root stands for the container: a tree lives in one.
        proc = Path(psutil.PROCFS_PATH)
        pid = min(members, key=lambda key: key[1])[0]
        group = cgroup.group_of(pid, proc, self._cgroup_root)
        if group is not None:
            for sample, origin in group_samples(group, self._labels):
                yield sample
                origins[sample.metric] = origin
        allowed = cgroup.cpus_allowed(pid, proc)
        quota = group.cpu_limit_cores() if group is not None else None
        if quota is not None and (allowed is None or quota <= allowed):
            yield Sample(names.CPU_LIMIT_CORES, self._labels, quota)
            origins[names.CPU_LIMIT_CORES] = "cgroup cpu.max"
        elif allowed is not None:
            yield Sample(names.CPU_LIMIT_CORES, self._labels, float(allowed))
            origins[names.CPU_LIMIT_CORES] = "CPU affinity"
        yield from _provenance(self.name, self._target, origins)

    def _discover(self) -> None:
        now = self._clock()
        if now - self._discovered < _REDISCOVER and any(root.is_running() for root in self._roots):
            return
        found = [root for target in self._targets for root in self._roots_of(target)]
        self._roots = processes.topmost(found) if len(self._targets) > 1 else found
        self._discovered = now

    def _roots_of(self, target: ProcessTarget) -> list[psutil.Process]:
        match target.kind:
            case TargetKind.NAME:
                return processes.by_name(target.value, self._own_pid)
            case TargetKind.PORT:
                return processes.by_port(int(target.value), self._own_pid)
            case _:
                return processes.by_pid(int(target.value))

    def pids(self) -> frozenset[int]:
        """The members as of the last `collect`."""
        return frozenset(pid for pid, _ in self._known)

    def _snapshot(self) -> dict[ProcessKey, _Member]:
        """Every member of the tree, read so that none was reaped meanwhile (it would count twice)."""
        members: dict[ProcessKey, _Member] = {}
        for _ in range(_TRIES):
            tree = self._tree()
            members = {}
            keys = {key[0]: key for key in tree}
            for key, process in tree.items():
                member = _read_member(process, keys)
                if member is not None:
                    members[key] = member
            if len(members) == len(tree) and all(process.is_running() for process in tree.values()):
                break
        self._known = {key: process for key, process in tree.items() if key in members}
        return members

    def _tree(self) -> dict[ProcessKey, psutil.Process]:
        """Roots, what is left of earlier members (a daemon leaves its parent), and all their descendants."""
        tree: dict[ProcessKey, psutil.Process] = {}
        for process in (*self._roots, *self._known.values()):
            try:
                if processes.key_of(process) in tree or not process.is_running():
                    continue
                for member in (process, *process.children(recursive=True)):
                    tree.setdefault(processes.key_of(member), member)
            except psutil.Error:
                continue
        return {key: process for key, process in tree.items() if process.pid != self._own_pid}


class CgroupSource:
    """A whole cgroup. Where the sidecar lives in it too, its own CPU time and memory are taken off."""

    name = "process"

    def __init__(
        self,
        target: ProcessTarget,
        model: str,
        *,
        cgroup_root: Path,
        own_pid: int,
        own_cpu: Callable[[], float] = time.process_time,
    ) -> None:
        self._target = target
        self._labels = (model, names.SCOPE_CONTAINER)
        self._root = cgroup_root
        self._own_pid = own_pid
        self._own_cpu = own_cpu
        self._highest = 0.0

    def collect(self) -> Iterator[Measured]:
        """See `Source.collect`."""
        group = self._group()
        shared = self._holds_sidecar(group)
        own_cpu = self._own_cpu() if shared else 0.0
        origins = {}
        used = group.cpu_seconds()
        if used is not None:
            self._highest = max(self._highest, used - own_cpu)  # two clocks: never fall by their difference
            yield Sample(names.CPU_SECONDS, self._labels, self._highest)
            origins[names.CPU_SECONDS] = "cgroup cpu.stat usage_usec"
        memory = group.memory_bytes()
        if memory is not None:
            own_memory = float(psutil.Process(self._own_pid).memory_info().rss) if shared else 0.0
            yield Sample(names.MEMORY_BYTES, self._labels, max(0.0, memory - own_memory))
            origins[names.MEMORY_BYTES] = "cgroup working set"
        for sample, origin in group_samples(group, self._labels):
            yield sample
            origins[sample.metric] = origin
        quota = group.cpu_limit_cores()
        if quota is not None:
            yield Sample(names.CPU_LIMIT_CORES, self._labels, quota)
            origins[names.CPU_LIMIT_CORES] = "cgroup cpu.max"
        yield from _provenance(self.name, str(self._target), origins)

    def _group(self) -> Cgroup:
        if self._target.value:
            given = Path(self._target.value)
            path = given if given.is_relative_to(self._root) else self._root / self._target.value.lstrip("/")
        else:
            own = cgroup.path_of(self._own_pid, Path(psutil.PROCFS_PATH))
            if own is None:
                raise SourceDown("this machine has no cgroup v2: name the model by name=, port= or pid=")
            path = self._root / own.lstrip("/")
        group = Cgroup(path, self._root)
        if not group.exists():
            raise SourceDown(f"{path} is not a cgroup v2 group: {self._target} cannot be read")
        return group

    def _holds_sidecar(self, group: Cgroup) -> bool:
        pids = group.pids()
        if pids == {self._own_pid}:
            raise SourceDown(
                f"{group.path} holds the sidecar alone: share the process namespace of the pod and name "
                "the model by name=, port= or pid=, or give its cgroup=PATH"
            )
        return self._own_pid in pids


@dataclass(frozen=True, slots=True)
class _Member:
    cpu: CpuUse
    private: float  # bytes
    shared: float  # bytes


def _read_member(process: psutil.Process, keys: dict[int, ProcessKey]) -> _Member | None:
    """One process now; None when it ended. `keys` tells which pids belong to the tree."""
    try:
        with process.oneshot():
            cpu = process.cpu_times()
            memory = process.memory_info()
            parent = keys.get(process.ppid())
    except psutil.Error:
        return None
    return _Member(
        CpuUse(parent, cpu.user + cpu.system, cpu.children_user + cpu.children_system),
        max(0.0, memory.rss - memory.shared),
        float(memory.shared),
    )


def group_samples(group: Cgroup, labels: tuple[str, str]) -> Iterator[tuple[Sample, str]]:
    """What only a cgroup tells, each with the file it comes from: throttling, pressure, memory limit."""
    readings = (
        (names.CPU_THROTTLED_SECONDS, group.throttled_seconds(), "cgroup cpu.stat throttled_usec"),
        (names.CPU_PRESSURE_SECONDS, group.cpu_pressure_seconds(), "cgroup cpu.pressure some"),
        (names.MEMORY_LIMIT_BYTES, group.memory_limit_bytes(), "cgroup memory.max"),
    )
    for metric, value, origin in readings:
        if value is not None:
            yield Sample(metric, labels, value), origin


def _provenance(source: str, target: str, origins: dict[names.Metric, str]) -> Iterator[Sample]:
    for metric, origin in origins.items():
        yield Sample(names.MAPPING_INFO, (source, target, metric.name, origin), 1.0)
