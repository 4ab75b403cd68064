"""One control group (cgroup v2): CPU used, limit, throttling, pressure, memory. Reads files, keeps nothing.

Format of the files: Documentation/admin-guide/cgroup-v2.rst of the Linux kernel. A file or a key that is not
there gives None: a controller that is off is not a zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

DEFAULT_ROOT = Path("/sys/fs/cgroup")


class Cgroup:
    """The group at `path`; `root` is where the hierarchy is mounted, and limits above it are not visible."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.root = root

    def exists(self) -> bool:
        """True for a cgroup v2 directory that is not the root of the machine (that one has no limits)."""
        return (self.path / "cgroup.type").exists()

    def pids(self) -> frozenset[int]:
        """Every process in this group and in those below it."""
        return frozenset(
            int(pid)
            for file in [self.path / "cgroup.procs", *sorted(self.path.glob("*/**/cgroup.procs"))]
            for pid in (_read(file) or "").split()
        )

    def cpu_seconds(self) -> float | None:
        """CPU time used since the group was made (s)."""
        return _microseconds(_keyed(self.path / "cpu.stat", "usage_usec"))

    def throttled_seconds(self) -> float | None:
        """Time in which the quota held the group back (s), summed over CPUs as the kernel does."""
        return _microseconds(_keyed(self.path / "cpu.stat", "throttled_usec"))

    def cpu_pressure_seconds(self) -> float | None:
        """Time in which at least one task waited for a CPU (s): the total of PSI `some`."""
        for line in (_read(self.path / "cpu.pressure") or "").splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "some":
                fields = dict(field.partition("=")[::2] for field in rest.split())
                return _microseconds(_number(fields.get("total")))
        return None

    def cpu_limit_cores(self) -> float | None:
        """The smallest quota ÷ period from here up to the root; None without a quota."""
        return min((cores for path in self._upwards() if (cores := _quota(path / "cpu.max"))), default=None)

    def memory_limit_bytes(self) -> float | None:
        """The smallest memory.max from here up to the root; None without one."""
        limits = (_number(_read(path / "memory.max")) for path in self._upwards())
        return min((limit for limit in limits if limit is not None), default=None)

    def memory_bytes(self) -> float | None:
        """Working set as kubelet and cAdvisor count it: memory.current less the inactive page cache."""
        current = _number(_read(self.path / "memory.current"))
        if current is None:
            return None
        return max(0.0, current - (_keyed(self.path / "memory.stat", "inactive_file") or 0.0))

    def _upwards(self) -> Iterator[Path]:
        for path in (self.path, *self.path.parents):
            yield path
            if path == self.root:
                return


def path_of(pid: int, proc: Path) -> str | None:
    """The group of a process as /proc/PID/cgroup tells it, `/` being the root that the reader sees."""
    for line in (_read(proc / str(pid) / "cgroup") or "").splitlines():
        if line.startswith("0::"):
            return line.removeprefix("0::").removesuffix(" (deleted)")
    return None


def group_of(pid: int, proc: Path, root: Path) -> Cgroup | None:
    """The group of a process: where this process sees it, else as the process itself sees it, else None.

    A sidecar in a pod has a cgroup namespace of its own, in which its neighbours are `/../…`.
    Their own mount, through /proc/PID/root, is readable by the same user or with SYS_PTRACE.
    """
    path = path_of(pid, proc)
    if path is not None and ".." not in Path(path).parts:
        seen_here = Cgroup(root / path.lstrip("/"), root)
        if seen_here.exists():
            return seen_here
    mount = proc / str(pid) / "root" / DEFAULT_ROOT.relative_to("/")
    try:
        if mount.samefile(root):  # the same mount as ours: there the path above was already the answer
            return None
        seen_there = Cgroup(mount, mount)
        return seen_there if seen_there.exists() else None
    except OSError:
        return None


def cpus_allowed(pid: int, proc: Path) -> int | None:
    """How many CPUs the process may run on: Cpus_allowed_list of /proc/PID/status, such as `0-3,8`."""
    for line in (_read(proc / str(pid) / "status") or "").splitlines():
        if line.startswith("Cpus_allowed_list:"):
            ranges = (part.partition("-") for part in line.split(":", 1)[1].strip().split(","))
            return sum(int(last or first) - int(first) + 1 for first, _, last in ranges)
    return None


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _number(text: str | None) -> float | None:
    """A number, or None for `max` (no limit) and for nothing."""
    stripped = (text or "").strip()
    return float(stripped) if stripped.isdigit() else None


def _keyed(file: Path, key: str) -> float | None:
    for line in (_read(file) or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return _number(value)
    return None


def _microseconds(value: float | None) -> float | None:
    return None if value is None else value / 1e6


def _quota(file: Path) -> float | None:
    quota, _, period = (_read(file) or "").strip().partition(" ")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)
