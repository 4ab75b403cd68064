# ruff: noqa: N802 - the names of NVML
"""The GPU source against a fake of NVML that answers as drivers do, refusals included.

No GPU is used here. Values and refusals follow the documentation: an H200 tells everything; an A100 under MIG
refuses utilisation and power for an instance; a T4 has no GPM; a container without driver has no library.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

import pynvml
import pytest

from exporters import names
from exporters.gpu import GpuSource, parse_selection
from exporters.samples import SourceDown

NOT_SUPPORTED = pynvml.NVML_ERROR_NOT_SUPPORTED


def refuse(code=NOT_SUPPORTED):
    raise pynvml.NVMLError(code)


@dataclass
class FakeGpu:
    uuid: str
    utilization: int | None = None  # percent
    used: int | None = None
    total: int = 0
    milliwatts: int | None = None
    gpm: list[float] | None = None  # percent, of one interval after the other
    instances: list[FakeGpu] = field(default_factory=list)
    processes: dict[int, int | None] = field(default_factory=dict)
    denied: bool = False


class FakeNvml:
    """Handles are the FakeGpu objects themselves; a MIG instance's number is its position."""

    def __init__(self, *gpus, installed=True):
        self.gpus = gpus
        self.installed = installed
        self.alive = False
        self.lost = False
        self.allocated = 0
        self.taken = {}
        self.samples_of = {}

    def nvmlInit(self):
        if not self.installed:
            refuse(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)
        self.alive = True

    def nvmlShutdown(self):
        self.alive = False

    def nvmlDeviceGetCount(self):
        assert self.alive
        if self.lost:
            refuse(pynvml.NVML_ERROR_GPU_IS_LOST)
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index):
        gpu = self.gpus[index]
        return refuse(pynvml.NVML_ERROR_NO_PERMISSION) if gpu.denied else gpu

    def nvmlDeviceGetUUID(self, handle):
        return handle.uuid.encode()  # older bindings answer with bytes

    def nvmlDeviceGetUtilizationRates(self, handle):
        return refuse() if handle.utilization is None else SimpleNamespace(gpu=handle.utilization, memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle):
        return (
            refuse() if handle.used is None else SimpleNamespace(used=handle.used, total=handle.total, free=0)
        )

    def nvmlDeviceGetPowerUsage(self, handle):
        return refuse() if handle.milliwatts is None else handle.milliwatts

    def nvmlDeviceGetComputeRunningProcesses(self, handle):
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.processes.items()]

    def nvmlDeviceGetMigMode(self, handle):
        return [1, 1] if handle.instances else refuse()

    def nvmlDeviceGetMaxMigDeviceCount(self, handle):
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device, index):
        return (
            device.instances[index] if index < len(device.instances) else refuse(pynvml.NVML_ERROR_NOT_FOUND)
        )

    def nvmlDeviceGetGpuInstanceId(self, device):
        return next(gpu.instances.index(device) for gpu in self.gpus if device in gpu.instances)

    def nvmlGpmQueryDeviceSupport(self, device):
        measured = device.gpm is not None or any(one.gpm is not None for one in device.instances)
        return SimpleNamespace(isSupportedDevice=int(measured))

    def nvmlGpmSampleAlloc(self):
        self.allocated += 1
        sample = pynvml.c_nvmlGpmSample_t()
        sample.contents = pynvml.struct_c_nvmlGpmSample_t()
        return sample

    def nvmlGpmSampleFree(self, gpmSample):
        self.allocated -= 1

    def nvmlGpmSampleGet(self, device, gpmSample):
        self.taken[id(device)] = self.taken.get(id(device), -1) + 1
        self.current = device
        return gpmSample

    def nvmlGpmMigSampleGet(self, device, gpuInstanceId, gpmSample):
        return self.nvmlGpmSampleGet(device.instances[gpuInstanceId], gpmSample)

    def nvmlGpmMetricsGet(self, metricsGet):
        assert metricsGet.numMetrics == 1
        assert metricsGet.metrics[0].metricId == pynvml.NVML_GPM_METRIC_SM_UTIL
        metricsGet.metrics[0].nvmlReturn = pynvml.NVML_SUCCESS
        metricsGet.metrics[0].value = self.current.gpm[self.taken[id(self.current)] - 1]
        return metricsGet


H200 = {"utilization": 87, "used": 60_129_542_144, "total": 150_754_820_096, "milliwatts": 412_345}


def read(source):
    return {(sample.metric.name, *sample.labels[1:]): sample.value for sample in source.collect()}


def test_a_whole_gpu():
    source = GpuSource("auto", "m", nvml=FakeNvml(FakeGpu("GPU-a", **H200, gpm=[43.5, 50.0])))
    first = read(source)
    assert first == {
        ("inference_gpu_utilization_ratio", "GPU-a", "node"): 0.87,
        ("inference_gpu_memory_bytes", "GPU-a", "node"): 60_129_542_144.0,
        ("inference_gpu_memory_limit_bytes", "GPU-a", "node"): 150_754_820_096.0,
        ("inference_gpu_power_watts", "GPU-a", "node"): 412.345,
    }
    activity = ("inference_gpu_sm_active_ratio", "GPU-a", "node")
    assert read(source)[activity] == 0.435, "a share of time needs two samples"
    assert read(source)[activity] == 0.5


def test_labels_carry_the_model():
    (sample, *_) = GpuSource("auto", "m", nvml=FakeNvml(FakeGpu("GPU-a", **H200))).collect()
    assert sample.labels == ("m", "GPU-a", "node")
    assert sample.metric is names.GPU_UTILIZATION


def test_what_is_refused_is_absent_and_not_zero():
    t4 = FakeGpu("GPU-t4", utilization=0, used=0, total=16, milliwatts=None, gpm=None)
    source = GpuSource("auto", nvml=FakeNvml(t4))
    read(source)
    assert {key[0]: value for key, value in read(source).items()} == {
        "inference_gpu_utilization_ratio": 0.0,  # told, and zero
        "inference_gpu_memory_bytes": 0.0,
        "inference_gpu_memory_limit_bytes": 16.0,
    }


def test_mig_instances_stand_for_their_gpu():
    parent = FakeGpu("GPU-p", **H200)
    parent.instances = [
        FakeGpu("MIG-0", used=10, total=20, gpm=[10.0]),
        FakeGpu("MIG-1", used=11, total=20, gpm=[90.0]),
    ]
    source = GpuSource("auto", nvml=FakeNvml(parent))
    read(source)
    assert read(source) == {
        ("inference_gpu_memory_bytes", "MIG-0", "node"): 10,
        ("inference_gpu_memory_limit_bytes", "MIG-0", "node"): 20,
        ("inference_gpu_sm_active_ratio", "MIG-0", "node"): 0.1,
        ("inference_gpu_memory_bytes", "MIG-1", "node"): 11,
        ("inference_gpu_memory_limit_bytes", "MIG-1", "node"): 20,
        ("inference_gpu_sm_active_ratio", "MIG-1", "node"): 0.9,
    }


@pytest.mark.parametrize(("chosen", "value"), [("GPU-b", 20.0), ("1", 20.0), ("0", 10.0)])
def test_chosen_gpus_alone_and_as_the_models_own(chosen, value):
    nvml = FakeNvml(FakeGpu("GPU-a", used=10, total=30), FakeGpu("GPU-b", used=20, total=30))
    seen = read(GpuSource(parse_selection(chosen), nvml=nvml))
    (key,) = [key for key in seen if key[0] == "inference_gpu_memory_bytes"]
    assert (key[2], seen[key]) == ("container", value)


def test_a_chosen_gpu_that_is_not_there_is_named():
    source = GpuSource(parse_selection("GPU-x"), nvml=FakeNvml(FakeGpu("GPU-a", **H200)))
    with pytest.raises(SourceDown, match="GPU GPU-x is not visible here; visible: GPU-a"):
        read(source)


def test_a_machine_without_driver():
    assert read(GpuSource("auto", nvml=FakeNvml(installed=False))) == {}
    with pytest.raises(SourceDown, match="NVML does not start"):
        read(GpuSource(parse_selection("GPU-a"), nvml=FakeNvml(installed=False)))


def test_this_machine_as_it_is():
    """With the real bindings: no driver gives no series, a driver gives well-formed ones; neither raises."""
    for sample in GpuSource("auto").collect():
        assert sample.labels[2] in {"node", "process"}


def test_a_gpu_of_another_container_is_passed_over():
    nvml = FakeNvml(FakeGpu("GPU-a", denied=True), FakeGpu("GPU-b", used=1, total=2))
    assert {key[1] for key in read(GpuSource("auto", nvml=nvml))} == {"GPU-b"}


def test_memory_of_the_models_processes():
    gpu = FakeGpu("GPU-a", used=100, total=200, processes={11: 30, 12: 40, 99: 25, 13: None})
    key = ("inference_gpu_memory_bytes", "GPU-a", "process")
    assert read(GpuSource("auto", nvml=FakeNvml(gpu), pids=lambda: [11, 12, 13]))[key] == 70
    # pids of the host, none of which is ours: absent
    assert key not in read(GpuSource("auto", nvml=FakeNvml(gpu), pids=lambda: [4242]))
    assert key not in read(GpuSource("auto", nvml=FakeNvml(gpu)))


def test_a_lost_gpu_is_down_and_comes_back():
    nvml = FakeNvml(FakeGpu("GPU-a", **H200, gpm=[10.0, 20.0, 30.0, 40.0]))
    source = GpuSource("auto", nvml=nvml)
    read(source)
    read(source)
    nvml.lost = True
    with pytest.raises(SourceDown, match="NVML failed"):
        read(source)
    assert nvml.allocated == 0, "samples are given back"
    nvml.lost = False
    assert read(source)["inference_gpu_utilization_ratio", "GPU-a", "node"] == 0.87


def test_samples_are_reused():
    nvml = FakeNvml(FakeGpu("GPU-a", **H200, gpm=[1.0] * 20))
    source = GpuSource("auto", nvml=nvml)
    for _ in range(10):
        read(source)
    assert nvml.allocated == 2
    source.close()
    assert nvml.allocated == 0


@pytest.mark.parametrize("value", [float("nan"), None])
def test_an_activity_that_is_no_number_is_absent(value):
    nvml = FakeNvml(FakeGpu("GPU-a", **H200, gpm=[value or 0.0] * 3))
    if value is None:
        nvml.nvmlGpmMetricsGet = lambda _: refuse()
    else:
        nvml.gpus[0].gpm = [value] * 3
    source = GpuSource("auto", nvml=nvml)
    read(source)
    assert not [key for key in read(source) if key[0] == "inference_gpu_sm_active_ratio"]


def test_selection():
    assert parse_selection(" auto ") == "auto"
    assert parse_selection("off") == "off"
    assert parse_selection("GPU-a, MIG-b,0") == {"GPU-a", "MIG-b", "0"}
    for wrong in ("", "all", "gpu0", ","):
        with pytest.raises(ValueError, match="names no GPU: write auto, off, or GPU-UUID"):
            parse_selection(wrong)


def test_the_bindings_have_every_call_of_the_protocol():
    from exporters.gpu import Nvml

    for name in vars(Nvml):
        if name.startswith("nvml"):
            assert callable(getattr(pynvml, name))
