"""What ends a replica's capacity, told from the identified server and its CPU: a name, numbers, remedies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from advisor.capacity.admission import fewest_busy
from advisor.capacity.identification import Form, ServerModel
from advisor.capacity.regression import ServiceDemand
from advisor.capacity.regression.points import merge
from advisor.domain import Arrivals, Histogram, Limit, Outcome, StageResult, Window

_BUSY = 0.85  # of a resource: above it, queueing multiplies every latency
_ONE_CORE = (0.8, 1.25)
_THROTTLED = 0.05  # share of the time
_FULL_MEMORY = 0.9
_OUTSIDE = 0.5  # of the latency
_STEADY = 20.0  # s
_FEWEST = 50  # answers that tell a median
_WORTH = 0.15  # more throughput with twice the slots: below it, slots are not what is short
_ONE_AT_A_TIME = 0.8  # contention from which requests run as if one after the other


@dataclass(frozen=True, slots=True)
class Symptoms:
    """What was seen. Cores are the model's; `cores_when_full`: at saturation, seen or projected."""

    binding: str  # the bound that ends the capacity: p95, error_ratio, …
    model: ServerModel | None = None
    saturation_rps: float | None = None
    cores_when_full: float | None = None
    cpu_limit_cores: float | None = None
    throttled_share: float | None = None
    gpu_utilization: float | None = None
    memory_share: float | None = None
    generator_cores: float | None = None  # the busiest generator's, of its one core
    outside_share: float | None = None  # of the client's latency, before the sidecar, at the top load
    rejected: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """`why` and `notes` are sentences with numbers; `remedies` what to try before measuring again."""

    limit: Limit
    why: str
    remedies: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def symptoms(
    stages: Sequence[StageResult],
    windows: Sequence[Window],
    binding: str,
    model: ServerModel | None,
    demand: ServiceDemand | None,
    cpu_limit_cores: float | None,
    saturation_rps: float | None,
) -> Symptoms:
    """Gather what the stages and the windows of one replica show."""
    outcomes = np.concatenate([stage.log.outcome for stage in stages]) if stages else np.zeros(0, np.int8)
    bad = (
        Outcome.SERVER_ERROR,
        Outcome.TIMEOUT,
        Outcome.CONNECTION,
        Outcome.CLIENT_ERROR,
        Outcome.ACCEPTED,
    )
    return Symptoms(
        binding=binding,
        model=model,
        saturation_rps=saturation_rps,
        cores_when_full=_cores_when_full(windows, demand, saturation_rps),
        cpu_limit_cores=cpu_limit_cores,
        throttled_share=_throttled_share(windows),
        gpu_utilization=max(
            (w.gpu_utilization for w in windows if w.gpu_utilization is not None), default=None
        ),
        memory_share=_memory_share(windows),
        generator_cores=_generator_cores(stages),
        outside_share=_outside_share(stages),
        rejected=int(np.count_nonzero(outcomes == Outcome.REJECTED)),
        failed=int(np.count_nonzero(np.isin(outcomes, bad))),
    )


def _cores_when_full(
    windows: Sequence[Window], demand: ServiceDemand | None, saturation_rps: float | None
) -> float | None:
    seen = [window.cpu_cores for window in windows if window.cpu_cores is not None and window.seconds >= 0.5]
    projected = None
    if demand is not None and saturation_rps is not None and np.isfinite(saturation_rps):
        projected = demand.cores(saturation_rps)
    if not seen:
        return projected
    busiest = float(np.quantile(seen, 0.95))
    return busiest if projected is None else max(busiest, projected)


def _throttled_share(windows: Sequence[Window]) -> float | None:
    known = [window for window in windows if window.cpu_throttled_seconds is not None]
    seconds = sum(window.seconds for window in known)
    return sum(window.cpu_throttled_seconds or 0.0 for window in known) / seconds if seconds > 0 else None


def _memory_share(windows: Sequence[Window]) -> float | None:
    shares = [
        window.memory_bytes / window.memory_limit_bytes
        for window in windows
        if window.memory_bytes is not None and window.memory_limit_bytes
    ]
    return max(shares, default=None)


def _generator_cores(stages: Sequence[StageResult]) -> float | None:
    """In the long steady stages: in a burst it may be busy for a moment."""
    steady = [s for s in stages if s.stage.arrivals is Arrivals.POISSON and s.end - s.start >= _STEADY]
    return max((s.generator_cpu for s in steady if s.generator_cpu is not None), default=None)


def _outside_share(stages: Sequence[StageResult]) -> float | None:
    """Of the client's median latency the part that the sidecar did not see, in the busiest steady stage that
    both saw.
    """
    told: list[tuple[StageResult, Histogram]] = []
    for stage in stages:
        histogram = merge([window.latency for window in stage.windows if window.latency is not None])
        if histogram is not None and min(histogram.total, float(stage.log.ok.sum())) >= _FEWEST:
            told.append((stage, histogram))
    if not told:
        return None
    stage, histogram = max(told, key=_rate)
    median = histogram.quantile(0.5)
    client = float(np.median(stage.log.latency[stage.log.ok]))
    if median is None or client <= 0:
        return None
    # within its bucket the sidecar's median is not known: only what lies above the bucket counts
    upper = float(histogram.bounds[np.searchsorted(histogram.bounds, median)])
    return max(1.0 - upper / client, 0.0)


def _rate(told: tuple[StageResult, Histogram]) -> float:
    return told[0].offered_rps or 0.0


def diagnose(seen: Symptoms) -> Diagnosis:
    """The first cause that the symptoms show, from the surest to the vaguest."""
    for rule in (
        _generator,
        _network,
        _memory,
        _errors,
        _gpu,
        _quota,
        _batching,
        _cpu,
        _slots,
        _contention,
        _shared,
    ):
        found = rule(seen)
        if found is not None:
            return Diagnosis(found.limit, found.why, found.remedies, found.notes + _notes(seen))
    return Diagnosis(
        Limit.UNKNOWN,
        "Nothing that was seen explains the limit: "
        + (_cpu_words(seen) or "the model's CPU is not known")
        + ".",
        ("put the sidecar before the model, so that its CPU, memory and GPU are seen during the run",),
        _notes(seen),
    )


def _generator(seen: Symptoms) -> Diagnosis | None:
    if seen.generator_cores is None or seen.generator_cores < _BUSY:
        return None
    return Diagnosis(
        Limit.GENERATOR,
        f"The generator itself used {seen.generator_cores:.0%} of its core: what was measured may be its own "
        "limit, not the target's.",
        ("a machine of its own for the generator", "more generators (loadgen.workers)", "smaller payloads"),
    )


def _network(seen: Symptoms) -> Diagnosis | None:
    if seen.outside_share is None or seen.outside_share < _OUTSIDE:
        return None
    return Diagnosis(
        Limit.NETWORK,
        f"{seen.outside_share:.0%} of the median latency under the highest load arises before the sidecar.",
        (
            "run the generator near the target, or load the sidecar itself",
            "look at the load balancer's queues and at TLS",
            "keep connections open",
        ),
    )


def _memory(seen: Symptoms) -> Diagnosis | None:
    full = seen.memory_share is not None and seen.memory_share >= _FULL_MEMORY
    if not full or seen.binding not in {"errors", "error_ratio"} or seen.failed <= seen.rejected:
        return None
    return Diagnosis(
        Limit.MEMORY,
        f"Requests fail ({seen.failed} in this run) while memory is at {seen.memory_share:.0%} of its limit.",
        ("a higher memory limit", "fewer workers, or a smaller batch", "look for a leak with a soak test"),
    )


def _errors(seen: Symptoms) -> Diagnosis | None:
    if seen.binding not in {"errors", "error_ratio"}:
        return None
    if seen.rejected > seen.failed:
        limit = seen.model.queue_limit if seen.model is not None else None
        at = f" when about {limit} are present" if limit is not None else ""
        return Diagnosis(
            Limit.QUEUE_LIMIT,
            f"It turns requests away{at} ({seen.rejected} in this run) before it is too slow.",
            ("raise its limit of queue, concurrency or rate: latency still has room", "add replicas"),
        )
    return Diagnosis(
        Limit.ERRORS,
        f"Requests fail ({seen.failed} in this run) before they are too slow.",
        ("look into the server's log for the error under load", "check timeouts and connection limits"),
    )


def _gpu(seen: Symptoms) -> Diagnosis | None:
    if seen.gpu_utilization is None or seen.gpu_utilization < _BUSY:
        return None
    return Diagnosis(
        Limit.GPU,
        f"The GPU is busy {seen.gpu_utilization:.0%} of the time under the highest load.",
        ("larger batches", "a smaller or quantised model", "a faster GPU"),
    )


def _quota(seen: Symptoms) -> Diagnosis | None:
    throttled = seen.throttled_share is not None and seen.throttled_share > _THROTTLED
    formed = seen.model is not None and seen.model.form is Form.QUOTA
    if not (throttled or formed):
        return None
    limit = seen.cpu_limit_cores
    if limit is None and seen.model is not None and formed:
        limit = seen.model.parameters[0]
    words = "The CPU limit" + (f" of {limit:.3g} cores" if limit is not None else "") + " stops the model"
    if throttled:
        words += f" {seen.throttled_share:.0%} of the time"
    else:
        words += " for a part of each 100 ms"
    return Diagnosis(
        Limit.QUOTA,
        words + ": every request caught in it waits until the next 100 ms.",
        ("raise the CPU limit", "use fewer threads or workers than the limit has cores"),
    )


def _batching(seen: Symptoms) -> Diagnosis | None:
    model = seen.model
    if model is None or model.batching is None:
        return None
    batch = model.batching
    return Diagnosis(
        Limit.BATCHING,
        f"Batches of at most {batch.largest} requests run one after the other, "
        f"{batch.base * 1e3:.3g} ms + {batch.each * 1e3:.3g} ms a request.",
        (
            "a larger batch where latency has room",
            "a second instance of the model",
            "a shorter batching delay",
        ),
    )


def _cpu(seen: Symptoms) -> Diagnosis | None:
    cores, limit = seen.cores_when_full, seen.cpu_limit_cores
    if cores is None:
        return None
    if limit is not None and cores >= _BUSY * limit:
        return Diagnosis(
            Limit.CPU,
            f"The CPU is used up: {cores:.3g} of {limit:.3g} cores when it is saturated.",
            (
                "a higher CPU limit",
                "less work a request: a smaller or quantised model, caching",
                "add replicas",
            ),
        )
    one = _ONE_CORE[0] <= cores <= _ONE_CORE[1]
    single = (
        seen.model is None or seen.model.form in (Form.SHARED_CORES, Form.CONTENTION) or seen.model.slots == 1
    )
    if one and single and (limit is None or limit >= 1.5):
        rest = (
            f"while {limit - cores:.3g} of {limit:.3g} cores stay idle"
            if limit is not None
            else "whatever cores the machine has beside it"
        )
        return Diagnosis(
            Limit.SINGLE_THREAD,
            f"One core is busy ({cores:.2f} when it is saturated) {rest}: one worker, or a global lock.",
            ("one worker process a core", "a runtime that releases the lock while it computes"),
        )
    return None


def _slots(seen: Symptoms) -> Diagnosis | None:
    model = seen.model
    if model is None or model.slots is None or _gain_of_twice_the_slots(model) < _WORTH:
        return None
    if model.form is Form.CONTENTION:
        return Diagnosis(
            Limit.SLOTS,
            f"All {model.slots} slots are taken; the rest wait, and every running request slows the others.",
            ("more slots where memory allows", "shorter answers", "add replicas"),
        )
    words = "its one worker is busy" if model.slots == 1 else f"all {model.slots} workers are busy"
    cpu = _cpu_words(seen)
    full = seen.cores_when_full
    remedy = "more workers or threads: the CPU has room" if full is not None else "more workers or threads"
    if full is not None and full >= _BUSY * model.slots:
        remedy = "more workers, as far as there are cores: each keeps one busy"
    return Diagnosis(
        Limit.WORKERS,
        f"Requests wait because {words}" + (f", while {cpu}" if cpu else "; its CPU is not known") + ".",
        (remedy, "add replicas"),
    )


def _gain_of_twice_the_slots(model: ServerModel) -> float:
    """How much more throughput the identified server would have with twice its slots, as a share."""
    slots = model.slots or 1
    most = min(2 * slots, model.speeds.size - 1)
    running = np.arange(1, most + 1) * model.speeds[1 : most + 1]
    return float(running.max() / running[: min(slots, most)].max() - 1.0)


def _contention(seen: Symptoms) -> Diagnosis | None:
    model = seen.model
    if model is None or model.form is not Form.CONTENTION:
        return None
    sigma, kappa = model.parameters
    if sigma >= _ONE_AT_A_TIME:
        return Diagnosis(
            Limit.SINGLE_THREAD,
            "Requests share one core, or one lock, by the timing of their answers: two at once take "
            f"{1 + sigma + 2 * kappa:.2g} times as long as one.",
            ("one worker process a core", "a runtime that releases the lock while it computes"),
        )
    busy = fewest_busy(model)
    return Diagnosis(
        Limit.CONTENTION,
        f"Requests slow each other down: {busy} at once get {busy * float(model.speeds[busy]):.3g} times as "
        "much done as one alone, and more of them gain little or nothing.",
        ("limit the requests in flight, so that the rest wait outside", "look for a shared lock or pool"),
    )


def _shared(seen: Symptoms) -> Diagnosis | None:
    model = seen.model
    if model is None or model.form is not Form.SHARED_CORES:
        return None
    cores = model.parameters[1]
    if cores <= _ONE_CORE[1]:
        return Diagnosis(
            Limit.SINGLE_THREAD,
            f"Requests share {cores:.2g} core by the timing of their answers: one process, or a global lock.",
            ("one worker process a core",),
        )
    return Diagnosis(
        Limit.CPU,
        f"Requests share {cores:.2g} cores by the timing of their answers.",
        ("a higher CPU limit", "less work a request"),
    )


def _cpu_words(seen: Symptoms) -> str | None:
    if seen.cores_when_full is None:
        return None
    of = f" of {seen.cpu_limit_cores:.3g}" if seen.cpu_limit_cores is not None else ""
    return f"{seen.cores_when_full:.2g}{of} cores are used when it is saturated"


def _notes(seen: Symptoms) -> tuple[str, ...]:
    notes: list[str] = []
    if seen.memory_share is not None and seen.memory_share >= _FULL_MEMORY:
        notes.append(f"memory reached {seen.memory_share:.0%} of its limit")
    if seen.throttled_share is not None and 0.01 < seen.throttled_share <= _THROTTLED:
        notes.append(f"the CPU was throttled {seen.throttled_share:.1%} of the time")
    return tuple(notes)
