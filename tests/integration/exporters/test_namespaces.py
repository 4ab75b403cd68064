"""A sidecar and a model in cgroup and mount namespaces of their own, as in a pod; a real kernel, as root."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

MODEL = "import time\nend = time.process_time() + 0.5\nwhile time.process_time() < end: pass\ntime.sleep(60)"
SIDECAR = """
import json, sys
from exporters.process import parse_target, process_source
from exporters.samples import SourceDown
told = {}
for text in sys.argv[1:]:
    try:
        told[text] = {s.metric.name: s.value for s in process_source([parse_target(text)]).collect()}
    except SourceDown as down:
        told[text] = str(down)
print(json.dumps(told))
"""
OWN_MOUNT = 'umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'


def unified():
    """Where cgroup v2 is mounted here, if a group can be made in it."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if " - cgroup2 " in line:
            return Path(line.split()[4])
    return None


@pytest.fixture
def groups():
    root = unified()
    if os.getuid() != 0 or root is None:
        pytest.skip("needs root and a mounted cgroup v2")
    made = [root / f"exporter-test-{name}-{os.getpid()}" for name in ("model", "sidecar")]
    try:
        for group in made:
            group.mkdir()
    except OSError as error:
        pytest.skip(f"cannot make cgroups here: {error}")
    yield made
    for group in made:
        end = time.monotonic() + 5
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.02)
        group.rmdir()


def inside(group, code, *arguments):
    """Python `code`, started in `group` with its own view of /sys/fs/cgroup."""
    enter = f"echo $$ > {group}/cgroup.procs; exec unshare -C -m sh -c '{OWN_MOUNT}' sh \"$@\""
    return subprocess.Popen(
        ["sh", "-c", enter, "sh", sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.integration
def test_the_models_cgroup_is_read_through_its_own_mount_and_the_sidecars_never(groups):
    model_group, sidecar_group = groups
    model = inside(model_group, MODEL)
    try:
        end = time.monotonic() + 20
        while "usage_usec 0\n" in (model_group / "cpu.stat").read_text() or _cpu(model.pid) < 0.5:
            if model.poll() is not None:
                pytest.skip("this kernel does not let us unshare")
            assert time.monotonic() < end
            time.sleep(0.05)
        before = _pressure(model_group)
        sidecar = inside(sidecar_group, SIDECAR, f"pid={model.pid}", "cgroup")
        output, _ = sidecar.communicate(timeout=30)
        told = json.loads(output)
        after = _pressure(model_group)
    finally:
        model.kill()
        model.communicate()
    seen = told[f"pid={model.pid}"]
    assert seen["inference_cpu_seconds_total"] >= 0.5
    assert before <= seen["inference_cpu_pressure_seconds_total"] <= after
    assert "holds the sidecar alone" in told["cgroup"]


def _cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _pressure(group):
    line = (group / "cpu.pressure").read_text().splitlines()[0]
    return int(line.rpartition("total=")[2]) / 1e6
