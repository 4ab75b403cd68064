# ruff: noqa: N802 - the Protocol has the names of NVML
"""GPUs through NVML: utilisation, memory, power, SM activity; MIG instances each for itself.

What a driver does not tell is absent: utilisation under MIG, SM activity before Hopper, memory by process
where the process is not visible. Names and units of NVML: https://docs.nvidia.com/deploy/nvml-api/.

`scope` is `container` for GPUs chosen by identifier (they are the model's), `process` for memory summed over
the model's processes, and `node` otherwise: others may use those GPUs too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pynvml

from exporters import names
from exporters.samples import Measured, Sample, SourceDown

AUTO = "auto"
OFF = "off"
_SM_UTIL = 2  # NVML_GPM_METRIC_SM_UTIL: share of SMs that were busy, in percent
_FATAL = (
    pynvml.NVMLError_Uninitialized,
    pynvml.NVMLError_DriverNotLoaded,
    pynvml.NVMLError_LibraryNotFound,
    pynvml.NVMLError_GpuIsLost,
)


class Nvml(Protocol):
    """The calls of NVML that are used, as the module `pynvml` has them; each may raise `pynvml.NVMLError`."""

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any: ...
    def nvmlDeviceGetGpuInstanceId(self, device: Any) -> int: ...
    def nvmlGpmQueryDeviceSupport(self, device: Any) -> Any: ...
    def nvmlGpmSampleAlloc(self) -> Any: ...
    def nvmlGpmSampleFree(self, gpmSample: Any) -> None: ...
    def nvmlGpmSampleGet(self, device: Any, gpmSample: Any) -> Any: ...
    def nvmlGpmMigSampleGet(self, device: Any, gpuInstanceId: int, gpmSample: Any) -> Any: ...
    def nvmlGpmMetricsGet(self, metricsGet: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or one MIG instance of it: then `parent` and `instance` say of which."""

    uuid: str
    index: str
    handle: Any
    parent: Any = None
    instance: int | None = None


def parse_selection(text: str) -> str | frozenset[str]:
    """`auto`, `off`, or the identifiers in `GPU-…,MIG-…,0`.

    Raises:
        ValueError: nothing is named.
    """
    stripped = text.strip()
    if stripped in {AUTO, OFF}:
        return stripped
    chosen = frozenset(part.strip() for part in stripped.split(",") if part.strip())
    wrong = sorted(one for one in chosen if not (one.isdecimal() or one.startswith(("GPU-", "MIG-"))))
    if wrong or not chosen:
        raise ValueError(
            f"'{wrong[0] if wrong else text}' names no GPU: write auto, off, or GPU-UUID,GPU-UUID"
        )
    return chosen


class GpuSource:
    """Every visible GPU (`auto`), or those chosen. `pids`: the model's processes, for memory by process."""

    name = "gpu"

    def __init__(
        self,
        selection: str | frozenset[str],
        model: str = names.DEFAULT_MODEL,
        *,
        nvml: Nvml = pynvml,
        pids: Callable[[], Collection[int]] | None = None,
    ) -> None:
        self._chosen = selection if isinstance(selection, frozenset) else None
        self._model = model
        self._nvml = nvml
        self._pids = pids
        self._started = False
        self._activity: dict[str, _Activity] = {}

    def collect(self) -> Iterator[Measured]:
        """See `Source.collect`. Without NVIDIA driver, `auto` has no series and chosen GPUs are down."""
        try:
            if not self._started:
                self._nvml.nvmlInit()
                self._started = True
        except pynvml.NVMLError as error:
            if self._chosen is None and isinstance(error, _FATAL):
                return
            raise SourceDown(f"NVML does not start: {error}") from None
        try:
            yield from self._read()
        except pynvml.NVMLError as error:
            self.close()
            raise SourceDown(f"NVML failed: {error}") from None

    def close(self) -> None:
        """Let go of the driver; the next `collect` starts it anew."""
        for activity in self._activity.values():
            activity.close()
        self._activity.clear()
        self._started = False
        self._optional(self._nvml.nvmlShutdown)

    def _read(self) -> Iterator[Measured]:
        found = [*self._gpus()]
        if self._chosen is not None:
            missing = self._chosen - {one for gpu in found for one in (gpu.uuid, gpu.index)}
            if missing:
                seen = ", ".join(gpu.uuid for gpu in found) or "none"
                raise SourceDown(f"GPU {', '.join(sorted(missing))} is not visible here; visible: {seen}")
            found = [gpu for gpu in found if not self._chosen.isdisjoint({gpu.uuid, gpu.index})]
        scope = names.SCOPE_NODE if self._chosen is None else names.SCOPE_CONTAINER
        for gpu in found:
            for metric, value in self._values(gpu):
                if value is not None:
                    yield Sample(metric, (self._model, gpu.uuid, scope), value)
            used = self._memory_of_processes(gpu)
            if used is not None:
                yield Sample(names.GPU_MEMORY_BYTES, (self._model, gpu.uuid, names.SCOPE_PROCESS), used)

    def _gpus(self) -> Iterator[Gpu]:
        """GPUs as they are partitioned now: the instances of a partitioned one stand for it."""
        nvml = self._nvml
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = self._optional(nvml.nvmlDeviceGetHandleByIndex, index)
            if handle is None:
                continue  # another container's
            instances = [*self._instances(handle, index)]
            if instances:
                yield from instances
            else:
                yield Gpu(_text(nvml.nvmlDeviceGetUUID(handle)), str(index), handle)

    def _instances(self, parent: Any, index: int) -> Iterator[Gpu]:
        nvml = self._nvml
        mode = self._optional(nvml.nvmlDeviceGetMigMode, parent)
        if not mode or not mode[0]:
            return
        for position in range(self._optional(nvml.nvmlDeviceGetMaxMigDeviceCount, parent) or 0):
            handle = self._optional(nvml.nvmlDeviceGetMigDeviceHandleByIndex, parent, position)
            if handle is None:
                continue  # a free place
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            instance = self._optional(nvml.nvmlDeviceGetGpuInstanceId, handle)
            yield Gpu(uuid, f"{index}:{position}", handle, parent, instance)

    def _values(self, gpu: Gpu) -> Iterator[tuple[names.Metric, float | None]]:
        nvml = self._nvml
        rates = self._optional(nvml.nvmlDeviceGetUtilizationRates, gpu.handle)
        yield names.GPU_UTILIZATION, None if rates is None else rates.gpu / 100
        memory = self._optional(nvml.nvmlDeviceGetMemoryInfo, gpu.handle)
        if memory is not None:
            yield names.GPU_MEMORY_BYTES, float(memory.used)
            yield names.GPU_MEMORY_LIMIT_BYTES, float(memory.total)
        milliwatts = self._optional(nvml.nvmlDeviceGetPowerUsage, gpu.handle)
        yield names.GPU_POWER_WATTS, None if milliwatts is None else milliwatts / 1000
        if gpu.uuid not in self._activity:
            self._activity[gpu.uuid] = _Activity(nvml, gpu, self._optional)
        yield names.GPU_SM_ACTIVE, self._activity[gpu.uuid].read(gpu)

    def _memory_of_processes(self, gpu: Gpu) -> float | None:
        """Of the model's processes on this GPU. NVML may tell pids of the host: then none of them is ours."""
        pids = frozenset(self._pids()) if self._pids is not None else frozenset()
        if not pids:
            return None
        running = self._optional(self._nvml.nvmlDeviceGetComputeRunningProcesses, gpu.handle) or []
        ours = [one.usedGpuMemory for one in running if one.pid in pids and one.usedGpuMemory is not None]
        return float(sum(ours)) if ours else None

    @staticmethod
    def _optional(call: Callable[..., Any], *arguments: Any) -> Any:
        """The value, or None where this driver, this GPU or this user cannot have it."""
        try:
            return call(*arguments)
        except _FATAL:
            raise
        except pynvml.NVMLError:
            return None


class _Activity:
    """SM activity between two scrapes, by GPM (Hopper and later): a share of time needs two samples."""

    def __init__(self, nvml: Nvml, gpu: Gpu, optional: Callable[..., Any]) -> None:
        self._nvml = nvml
        self._optional = optional
        support = optional(
            nvml.nvmlGpmQueryDeviceSupport, gpu.parent if gpu.parent is not None else gpu.handle
        )
        self._supported = support is not None and bool(support.isSupportedDevice)
        self._before: Any = None
        self._after: Any = None

    def read(self, gpu: Gpu) -> float | None:
        """Share of SMs that had work since the last call; None at the first one."""
        if not self._supported:
            return None
        if self._after is None:
            self._after = self._optional(self._nvml.nvmlGpmSampleAlloc)
            if self._after is None:
                return None
        if self._take(gpu) is None:
            return None
        value = self._between() if self._before is not None else None
        self._before, self._after = self._after, self._before
        return value

    def _take(self, gpu: Gpu) -> Any:
        if gpu.parent is None:
            return self._optional(self._nvml.nvmlGpmSampleGet, gpu.handle, self._after)
        if gpu.instance is None:
            return None
        return self._optional(self._nvml.nvmlGpmMigSampleGet, gpu.parent, gpu.instance, self._after)

    def _between(self) -> float | None:
        asked = pynvml.c_nvmlGpmMetricsGet_t()
        asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        asked.numMetrics = 1
        asked.sample1, asked.sample2 = self._before, self._after
        asked.metrics[0].metricId = _SM_UTIL
        told = self._optional(self._nvml.nvmlGpmMetricsGet, asked)
        if told is None or told.metrics[0].nvmlReturn != pynvml.NVML_SUCCESS:
            return None
        percent = float(told.metrics[0].value)
        return None if math.isnan(percent) else min(max(percent / 100, 0.0), 1.0)

    def close(self) -> None:
        """Give the samples back to the driver."""
        for sample in (self._before, self._after):
            if sample is not None:
                try:
                    self._nvml.nvmlGpmSampleFree(sample)
                except pynvml.NVMLError:
                    return  # the driver is gone, and its memory with it
        self._before = self._after = None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
