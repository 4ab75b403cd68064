"""What a scenario found, as people read it: (name, sentence) rows for tables, Markdown and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from advisor.units import format_rate, format_seconds, format_share, quantile_name

Found = Mapping[str, Any]
_AT_ONCE = 0.1  # s; the intervals that times are counted in are longer
Rows = Iterator[tuple[str, str]]


def finding_rows(scenario: str, found: Found) -> Rows:
    """The numbers of a run's scenario, how the target was changed, and warnings; `found` are its findings."""
    key, words = _SCENARIOS.get(scenario, ("", None))
    if words is not None and key in found:
        yield from words(found)
    for change in found.get("changes", ()):
        took = format_seconds(change["end"] - change["start"])
        done = f"{change_words(change['what'], change['replicas'])} was done in {took}"
        yield "hook", change["problem"] or done
    for warning in found.get("warnings", ()):
        yield "warning", str(warning)


def change_words(what: str, replicas: object) -> str:
    """The command of a hook with the number of replicas that it sets."""
    if replicas is None:
        return what
    return what.replace("'{replicas}'", str(replicas)).replace("{replicas}", str(replicas))


def _smoke(found: Found) -> Rows:
    yield "as expected", f"{found['as_expected']} of {found['requests']} requests"


def _spike(found: Found) -> Rows:
    quantile = quantile_name(found["quantile"])
    before, peak = _time(found["latency_before"]), _time(found["latency_peak"])
    growth = f"{found['growth']:.3g} times as much"
    yield "spike", f"{format_rate(found['base_rps'])} to {format_rate(found['peak_rps'])}, {growth}"
    yield "latency", f"{quantile} {before} before, {peak} at worst"
    yield "errors", f"{_share(found['error_ratio'])} of the requests from the spike until it was over"
    yield "completed", f"at most {format_rate(found['completed_peak_rps'])}"
    drained = _after(found["drained_seconds"], "drained", "not drained before the run ended")
    yield "backlog", f"at most {found['backlog_peak']:.0f} requests, {drained}"
    yield "recovery", _after(found["recovery_seconds"], "within the objective", "none before the run ended")


def _after(seconds: float | None, what: str, never: str) -> str:
    if seconds is None:
        return never
    return (
        f"{what} {format_seconds(seconds)} after the spike"
        if seconds >= _AT_ONCE
        else f"{what} when the spike was over"
    )


def _soak(found: Found) -> Rows:
    length = format_seconds(found["seconds"])
    yield "soak", f"{length}, {found['requests']} requests, errors {_share(found['error_ratio'])}"
    latency, memory = found["latency"], found["memory"]
    if latency is None:
        yield "latency drift", "not told: the soak is too short"
    else:
        drift = _drift(latency, _seconds_a_minute, format_seconds, "the objective")
        yield "latency drift", f"{quantile_name(found['quantile'])} {drift}"
    if memory is None:
        yield "memory", "not told: no sidecar showed it"
    else:
        yield "memory", _drift(memory, _bytes_a_minute, _bytes, "its limit")
    if found.get("gpu_memory") is not None:
        yield "GPU memory", _drift(found["gpu_memory"], _bytes_a_minute, _bytes, "its limit")


def _drift(drift: Found, slope: Callable[[float], str], level: Callable[[float], str], limit: str) -> str:
    span = f"{slope(drift['slope'])} ({slope(drift['low'])} to {slope(drift['high'])}, 95 %)"
    now = f"{level(drift['level'])} at the end" if drift["level"] > 0 else "none at the end"
    if not drift["grows"]:
        return f"{'no lasting growth' if drift['low'] > 0 else 'does not grow'}: {span}, {now}"
    left = drift["seconds_to_limit"]
    if left is None:
        return f"grows: {span}, {now}"
    return f"grows: {span}, {now}; it reaches {limit} of {level(drift['limit'])} in {format_seconds(left)}"


def _stress(found: Found) -> Rows:
    yield "fails", f"{found['mode']}: {found['why']}"
    first = found["first_failing_rps"]
    yield "first failing load", format_rate(first) if first is not None else "none of those asked"
    yield "best", f"{format_rate(found['best_rps'])} completed"
    for step in found["steps"]:
        answers = f"latency {_time(step['latency'])}, errors {_share(step['error_ratio'])}"
        yield f"at {format_rate(step['rate'])}", f"{format_rate(step['completed_rps'])} completed, {answers}"
    recovery = found["recovery_seconds"]
    back = None if recovery is None else f"{format_seconds(recovery)} after the load fell"
    yield "recovery", back or "none before the run ended"


def _replay(found: Found) -> Rows:
    mean, peak = format_rate(found["mean_rps"]), format_rate(found["peak_rps"])
    yield "demand", f"{mean} on average, {peak} at most, over {format_seconds(found['seconds'])}"
    time, requests = format_share(found["time_within"]), format_share(found["requests_within"])
    yield "within objective", f"{time} of the time, {requests} of the requests"
    worst = found["worst"]
    load = f"{format_rate(worst['offered_rps'])} offered, {format_rate(worst['completed_rps'])} completed"
    latency = f"{quantile_name(found['quantile'])} {_time(worst['latency'])}"
    span = f"{format_seconds(worst['seconds'])} from {_moment(worst['at'])} on"
    yield "worst", f"{span}: {load}, {latency}, errors {_share(worst['error_ratio'])}"


def _rollout(found: Found) -> Rows:
    parts = [(name, found[name]) for name in ("before", "during", "after") if found[name] is not None]
    split = ", ".join(f"{part['failed']} {name}" for name, part in parts if part["failed"])
    failed = found["failed_requests"]
    yield "failed by the change", f"{failed} requests" + (f" (all failures: {split})" if split else "")
    before, worst = _time(found["latency_before"]), _time(found["latency_worst"])
    yield "latency", f"{quantile_name(found['quantile'])} {before} before the change, {worst} at worst"
    trouble = found["trouble_seconds"]
    if trouble is None:
        yield "trouble", "latency or errors were not back when the run ended"
    elif trouble == 0:
        yield "trouble", "none"
    else:
        yield "trouble", f"for {format_seconds(trouble)} from the begin of the change on"


def _scalability(found: Found) -> Rows:
    for point in found["points"]:
        count = point["replicas"]
        name = "1 replica" if count == 1 else f"{count} replicas"
        if point["rps"] is None:
            yield name, f"no capacity: {point['refusal']}"
        else:
            low, high = point["interval"]
            yield (
                name,
                f"{point['rps']:.4g} req/s ({low:.4g} to {high:.4g}), efficiency {point['efficiency']:.2f}",
            )
    law = found["law"]
    if law is None:
        yield "law", f"not fitted: {found['refusal']}"
        return
    yield "law", f"of the {law['throughput']} throughput, {format_rate(law['rps_of_one'])} of one replica"
    yield "contention σ", _coefficient(law, "sigma")
    yield "crosstalk κ", _coefficient(law, "kappa")
    if law["kappa_shown"]:
        peak = f"{law['peak_replicas']:.3g} replicas with {law['peak_rps']:.4g} req/s"
        yield "peak", f"{peak}; a further one takes more than it brings"
    elif law["peak_at_least"] is not None:
        yield "peak", f"not before {law['peak_at_least']:.3g} replicas"
    else:
        yield "peak", "none: together the replicas do more than each alone"


def _coefficient(law: Found, name: str) -> str:
    low, high = law[f"{name}_interval"]
    shown = "" if law[f"{name}_shown"] else ", not different from 0"
    return f"{law[name]:.3g} ({low:.3g} to {high:.3g}, 90 %){shown}"


def _time(seconds: float | None) -> str:
    return "not known" if seconds is None else format_seconds(seconds)


def _share(share: float | None) -> str:
    return "not known" if share is None else f"{share * 100:.3g} %"


def _moment(seconds: float) -> str:
    return format_seconds(seconds) if seconds >= 1 else "its begin"


def _seconds_a_minute(slope: float) -> str:
    return f"{'−' if slope < 0 else '+'}{format_seconds(abs(slope) * 60)}/min"


def _bytes_a_minute(slope: float) -> str:
    return f"{'−' if slope < 0 else '+'}{_bytes(abs(slope) * 60)}/min"


def _bytes(value: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:.0f} B"


# With one key of its own findings: a run that ended too early has none of them.
_SCENARIOS: Mapping[str, tuple[str, Callable[[Found], Rows]]] = {
    "smoke": ("as_expected", _smoke),
    "spike": ("growth", _spike),
    "soak": ("memory", _soak),
    "stress": ("mode", _stress),
    "replay": ("worst", _replay),
    "rollout": ("trouble_seconds", _rollout),
    "scalability": ("points", _scalability),
}
