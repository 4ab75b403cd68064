"""Targets, exact values on checked-in trees, and the live machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from exporters import names
from exporters.process import (
    CgroupSource,
    ProcessSource,
    ProcessTarget,
    TargetKind,
    parse_target,
    process_source,
)
from exporters.processes import names_of
from exporters.samples import Sample, SourceDown

FIXTURES = Path(__file__).parent.parent / "fixtures"
CGROUPS = FIXTURES / "cgroup"
SIDECAR = 30
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def proc(monkeypatch):
    psutil.process_iter.cache_clear()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(FIXTURES / "proc"))
    yield FIXTURES / "proc"
    psutil.process_iter.cache_clear()


def read(source):
    """Values by metric name, provenance left out."""
    samples = [s for s in source.collect() if isinstance(s, Sample) and s.metric is not names.MAPPING_INFO]
    assert len({s.metric for s in samples}) == len(samples)
    return {s.metric.name: s.value for s in samples}


def origins(source):
    return {s.labels[2]: s.labels[3] for s in source.collect() if s.metric is names.MAPPING_INFO}


def source_of(text, own_pid=SIDECAR):
    return process_source([parse_target(text)], "m", cgroup_root=CGROUPS, own_pid=own_pid)


# ------------------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("name=gunicorn", ProcessTarget(TargetKind.NAME, "gunicorn")),
        ("port=8080", ProcessTarget(TargetKind.PORT, "8080")),
        ("pid=17", ProcessTarget(TargetKind.PID, "17")),
        ("cgroup", ProcessTarget(TargetKind.CGROUP, "")),
        ("cgroup=/kubepods.slice/x", ProcessTarget(TargetKind.CGROUP, "/kubepods.slice/x")),
    ],
)
def test_targets_read_as_written(text, target):
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gunicorn", "does not name a process: write name=gunicorn"),
        ("name=", "has no value"),
        ("cgroup=", "has no value"),
        ("port=http", "'http' is not a positive whole number"),
        ("pid=0", "'0' is not a positive whole number"),
        ("port=70000", "at most 65535"),
    ],
)
def test_a_wrong_target_says_what_to_write(text, says):
    with pytest.raises(ValueError, match=says):
        parse_target(text)


@pytest.mark.parametrize(
    ("command", "arguments", "name"),
    [
        ("python3.11", ["python3.11", "-u", "/srv/serve.py", "--port", "1"], "serve"),
        ("python3", ["/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"], "vllm"),
        ("gunicorn: maste", ["gunicorn: master [app]"], "gunicorn"),
        ("tensorflow_mode", ["/usr/bin/tensorflow_model_server"], "tensorflow_model_server"),
        ("tritonserver", ["tritonserver", "--model-repository=/m"], "tritonserver"),
    ],
)
def test_a_process_answers_to_the_names_people_use(command, arguments, name):
    assert name in names_of(command, arguments)


def test_an_argument_is_not_a_name():
    assert "m" not in names_of("tritonserver", ["tritonserver", "m"])


# ----------------------------------------------------------------------------------------- checked-in trees

# gunicorn 20 (own 150, waited 50), 21 (1200), 22 (2400, waited 10), 23 (2)
GUNICORN_TICKS = 200 + 1200 + 2410 + 2
GUNICORN_PAGES = (4000 + 17500 + 19600 + 50) + 2500  # private ones, and the largest shared part once


@pytest.mark.parametrize("target", ["name=gunicorn", "port=8080", "pid=20"])
def test_a_tree_is_summed_and_its_container_gives_the_limits(proc, target):
    assert read(source_of(target)) == {
        "inference_cpu_seconds_total": pytest.approx(GUNICORN_TICKS / TICK),
        "inference_memory_bytes": GUNICORN_PAGES * PAGE,
        "inference_cpu_limit_cores": 3.0,  # the pod's quota: the container itself has none
        "inference_cpu_throttled_seconds_total": 6.5,
        "inference_cpu_pressure_seconds_total": 2.75,
        "inference_memory_limit_bytes": 2147483648.0,
    }


def test_several_targets_are_one_model(proc):
    targets = [parse_target(text) for text in ("name=gunicorn", "pid=22", "name=uvicorn")]
    source = process_source(targets, "m", cgroup_root=CGROUPS, own_pid=SIDECAR)
    ticks = GUNICORN_TICKS + 100  # 22 is a worker of gunicorn: it counts once
    assert read(source)["inference_cpu_seconds_total"] == pytest.approx(ticks / TICK)
    assert source.pids() == {20, 21, 22, 23, 60}
    with pytest.raises(ValueError, match="a cgroup stands alone: of pid=1, cgroup give one"):
        process_source([parse_target("pid=1"), parse_target("cgroup")])


def test_every_value_says_where_it_comes_from(proc):
    assert origins(source_of("port=8080")) == {
        "inference_cpu_seconds_total": "utime+stime+cutime+cstime",
        "inference_memory_bytes": "rss, shared pages once",
        "inference_cpu_limit_cores": "cgroup cpu.max",
        "inference_cpu_throttled_seconds_total": "cgroup cpu.stat throttled_usec",
        "inference_cpu_pressure_seconds_total": "cgroup cpu.pressure some",
        "inference_memory_limit_bytes": "cgroup memory.max",
    }


def test_labels_say_model_and_scope(proc):
    labels = {s.labels for s in source_of("pid=20").collect() if s.metric is not names.MAPPING_INFO}
    assert labels == {("m", "process")}


def test_another_container_is_read_through_its_own_mount(proc):
    """Its group is `/../tf.scope` in the sidecar's namespace; it may run on CPUs 0, 1 and 4."""
    values = read(source_of("port=8500"))
    assert values["inference_cpu_limit_cores"] == 2.5
    assert values["inference_memory_limit_bytes"] == 8589934592.0
    assert values["inference_cpu_throttled_seconds_total"] == 0.0  # read, and zero
    assert "inference_cpu_pressure_seconds_total" not in values  # not there: absent


def test_without_a_group_the_affinity_is_the_limit_and_the_rest_is_absent(proc):
    source = source_of("name=uvicorn")
    assert read(source) == {
        "inference_cpu_seconds_total": pytest.approx(100 / TICK),
        "inference_memory_bytes": 9000 * PAGE,
        "inference_cpu_limit_cores": 4.0,
    }
    assert origins(source)["inference_cpu_limit_cores"] == "CPU affinity"


def test_the_sidecar_is_left_out_of_a_tree_that_holds_it(proc):
    shell_ticks = 4 + 600
    values = read(source_of("pid=10"))
    assert values["inference_cpu_seconds_total"] == pytest.approx((GUNICORN_TICKS + shell_ticks) / TICK)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("name=model-exporter", "no process is called 'model-exporter'"),
        ("port=8081", "the sidecar's own"),
        ("port=7070", "nothing listens on port 7070"),
        ("port=9999", "share the process namespace"),
        ("pid=30", "no process but the sidecar"),
        ("pid=77", "no process has pid 77"),
        ("cgroup=/nowhere", "not a cgroup v2 group"),
        ("cgroup", "holds the sidecar alone"),
    ],
)
def test_what_cannot_be_read_is_down_with_a_reason(proc, target, says):
    with pytest.raises(SourceDown, match=says):
        read(source_of(target))


def test_a_cgroup_gives_all_its_figures(proc):
    values = read(source_of("cgroup=/kubepods.slice/pod1/model"))
    assert values == {
        "inference_cpu_seconds_total": 43.25,
        "inference_memory_bytes": 734003200.0 - 104857600.0,
        "inference_cpu_limit_cores": 3.0,
        "inference_cpu_throttled_seconds_total": 6.5,
        "inference_cpu_pressure_seconds_total": 2.75,
        "inference_memory_limit_bytes": 2147483648.0,
    }
    assert read(source_of(f"cgroup={CGROUPS}/kubepods.slice/pod1/model")) == values


def test_the_sidecar_is_taken_off_a_cgroup_that_it_shares(proc):
    own = iter([8.0, 11.0, 12.0])
    source = CgroupSource(
        parse_target("cgroup=/kubepods.slice/pod2/all"),
        "m",
        cgroup_root=CGROUPS,
        own_pid=SIDECAR,
        own_cpu=lambda: next(own),
    )
    values = read(source)
    assert values["inference_cpu_seconds_total"] == 20.0 - 8.0
    assert values["inference_memory_bytes"] == 90000000.0 - 7000 * PAGE
    assert values["inference_cpu_limit_cores"] == 1.5
    assert read(source)["inference_cpu_seconds_total"] == 12.0, "a counter never falls"


def test_a_controller_that_is_off_is_absent_not_zero(proc):
    assert read(source_of("cgroup=/kubepods.slice/cpu-off")) == {"inference_memory_bytes": 5000.0}


# ------------------------------------------------------------------------------------------ the live machine

BURN = """
import os, sys, time
def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end: pass
for line in sys.stdin:
    if line.startswith("child"):
        if os.fork() == 0:
            burn(0.3); os._exit(0)
        os.wait()
    if line.startswith("keep"):
        if os.fork() == 0:
            burn(0.2); print("ready", flush=True); time.sleep(60); os._exit(0)
        continue
    if line.startswith("kill"):
        os.kill(int(line.split()[1]), 9); os.wait()
    if line.startswith("burn"): burn(0.3)
    print("done", flush=True)
"""


@pytest.fixture
def burner():
    process = subprocess.Popen(
        [sys.executable, "-c", BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )

    def tell(word):
        process.stdin.write(word + "\n")
        process.stdout.readline()
        return process.pid

    yield tell
    for child in psutil.Process(process.pid).children():
        child.kill()
    process.stdin.close()
    process.wait(timeout=20)
    process.stdout.close()


def cpu(source):
    return read(source)["inference_cpu_seconds_total"]


def test_live_cpu_counts_work_of_children_that_are_gone(burner):
    pid = burner("start")
    source = process_source([parse_target(f"pid={pid}")])
    before = cpu(source)
    burner("child")
    between = cpu(source)
    assert 0.25 <= between - before <= 0.6
    burner("burn")
    assert 0.25 <= cpu(source) - between <= 0.6


def test_live_worker_that_is_killed_does_not_make_the_counter_fall(burner):
    pid = burner("start")
    source = process_source([parse_target(f"pid={pid}")])
    start = cpu(source)
    burner("keep")
    (worker,) = psutil.Process(pid).children()
    with_worker = cpu(source)
    assert with_worker - start >= 0.15
    burner(f"kill {worker.pid}")
    assert not worker.is_running()
    after = cpu(source)
    assert with_worker <= after <= with_worker + 0.2, "counted once, in the parent"


def test_live_limits_and_memory_of_this_machine(burner):
    values = read(process_source([parse_target(f"pid={burner('start')}")]))
    assert 0 < values["inference_cpu_limit_cores"] <= len(os.sched_getaffinity(0))
    assert 2e6 < values["inference_memory_bytes"] < 2e8


LISTENER = """
import socket, time
server = socket.create_server(("127.0.0.1", PORT))
print(server.getsockname()[1], flush=True)
time.sleep(60)
"""


def test_live_listener_is_found_by_port_and_again_after_a_restart():
    def start(port):
        code = LISTENER.replace("PORT", str(port))
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        return process, int(process.stdout.readline())

    def stop(process):
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=10)
        process.stdout.close()

    first, port = start(0)
    try:
        source = process_source([parse_target(f"port={port}")])
        before = cpu(source)
    finally:
        stop(first)
    with pytest.raises(SourceDown, match=f"nothing listens on port {port}"):
        cpu(source)
    second, _ = start(port)
    try:
        assert cpu(source) > before, "a new process goes on where the old one ended"
    finally:
        stop(second)


def test_live_own_port_is_refused():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(SourceDown, match="the sidecar's own"),
    ):
        read(process_source([parse_target(f"port={server.getsockname()[1]}")]))


def test_live_reading_is_cheap_enough_for_a_scrape(burner):
    """Not a benchmark: a second would mean that a scrape walks far more than it must."""
    source = process_source([parse_target(f"pid={burner('start')}")])
    read(source)
    start = time.process_time()
    read(source)
    assert time.process_time() - start < 1.0


def test_a_second_server_of_the_same_name_is_seen_a_little_later(tmp_path, monkeypatch):
    """Roots are kept for 5 s: looking at every process at every scrape would cost more than all the rest."""
    tree = shutil.copytree(FIXTURES / "proc", tmp_path / "proc", symlinks=True)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tree))
    psutil.process_iter.cache_clear()
    now = [0.0]
    source = ProcessSource(
        [parse_target("name=gunicorn")], "m", cgroup_root=CGROUPS, own_pid=SIDECAR, clock=lambda: now[0]
    )
    first = cpu(source)
    shutil.copytree(tree / "22", tree / "70", symlinks=True)
    stat = (tree / "22" / "stat").read_text().replace("22 (gunicorn) S 20", "70 (gunicorn) S 0")
    (tree / "70" / "stat").write_text(stat)
    now[0] = 1.0
    assert cpu(source) == first
    now[0] = 6.0
    assert cpu(source) == pytest.approx(first + 2410 / TICK)
    psutil.process_iter.cache_clear()
