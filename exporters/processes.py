"""Finding the model's processes: by name, by listening port, by pid; always without the sidecar itself.

`/proc` is where `psutil.PROCFS_PATH` points: a container that watches its host mounts the host's elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import psutil

from exporters.cputime import ProcessKey
from exporters.samples import SourceDown

_INTERPRETER = re.compile(r"(python|pypy|node|ruby|perl|java|sh|bash|dash)[\d.]*")
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp
_DENIED = "its files in /proc are not readable here: run the sidecar as the same user or give it SYS_PTRACE"


def key_of(process: psutil.Process) -> ProcessKey:
    """Identity of a process: pids are used again, a pid with its start time is not."""
    return process.pid, process.create_time()


def by_pid(pid: int) -> list[psutil.Process]:
    """The process with this pid.

    Raises:
        SourceDown: no such process.
    """
    try:
        return [psutil.Process(pid)]
    except psutil.NoSuchProcess:
        raise SourceDown(f"no process has pid {pid}") from None


def by_name(name: str, own_pid: int) -> list[psutil.Process]:
    """The topmost processes called `name`: by command, program file, script, or module after `-m`.

    Raises:
        SourceDown: none is called so.
    """
    found = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.pid != own_pid
        and name in names_of(process.info["name"] or "", process.info["cmdline"] or [])
    ]
    if not found:
        raise SourceDown(f"no process is called '{name}' (the sidecar sees {len(psutil.pids())} processes)")
    return topmost(found)


def names_of(command: str, arguments: list[str]) -> frozenset[str]:
    """What a process may be called: `gunicorn` for `python3 /usr/bin/gunicorn app:app`, too."""
    names = {command}
    if arguments:
        program = Path(arguments[0].split(":")[0]).name  # `gunicorn: master [app]`, `nginx: worker process`
        names.add(program)
        if _INTERPRETER.fullmatch(program):
            names |= _script_names(arguments[1:])
    return frozenset(names - {""})


def _script_names(arguments: list[str]) -> set[str]:
    for position, argument in enumerate(arguments):
        if argument == "-m" and position + 1 < len(arguments):
            module = arguments[position + 1]
            return {module, module.split(".")[0]}
        if not argument.startswith("-"):
            script = Path(argument)
            return {script.name, script.name.removesuffix(script.suffix)}
    return set()


def by_port(port: int, own_pid: int) -> list[psutil.Process]:
    """The topmost processes that hold a listening TCP socket on `port`.

    Raises:
        SourceDown: nothing listens there, the sidecar does, or the owner cannot be seen.
    """
    proc = Path(psutil.PROCFS_PATH)
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(proc, port)}
    if not sockets:
        raise SourceDown(f"nothing listens on port {port}")
    holders: list[psutil.Process] = []
    own = False
    denied = 0
    for pid in psutil.pids():
        try:
            held = any(_link(fd) in sockets for fd in (proc / str(pid) / "fd").iterdir())
            if held and pid == own_pid:
                own = True
            elif held:
                holders.append(psutil.Process(pid))
        except PermissionError:
            denied += 1
        except (OSError, psutil.Error):
            continue  # it ended while we looked
    if holders:
        return topmost(holders)
    if own:
        raise SourceDown(f"port {port} is the sidecar's own: name the port of the model")
    why = _DENIED if denied else "its process is not visible here: share the process namespace of the pod"
    raise SourceDown(f"something listens on port {port}, but {why}")


def _listening_inodes(proc: Path, port: int) -> set[str]:
    """Inodes of sockets that listen on `port`, from /proc/net/tcp and tcp6 (proc_pid_net(5))."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(fields[9])
    return inodes


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""  # closed while we looked


def topmost(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those without an ancestor among them: a master stands for its workers."""
    by_id = {process.pid: process for process in processes}
    return [process for process in by_id.values() if not any(pid in by_id for pid in _ancestors(process))]


def _ancestors(process: psutil.Process) -> list[int]:
    try:
        return [parent.pid for parent in process.parents()]
    except psutil.Error:
        return []
