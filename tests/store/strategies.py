"""Random domain objects, as hypothesis finds them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from advisor import domain as d

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
positive = st.floats(0, 1e9)
some = st.none() | positive
times = st.floats(0, 1e6)

slos = st.builds(
    d.Slo,
    latency=st.lists(st.builds(d.LatencyBound, st.floats(0.01, 0.999), positive), max_size=3).map(
        lambda bounds: tuple(sorted(bounds))
    ),
    error_ratio=st.floats(0, 1),
    ttft=st.just(()),
)
stages = st.builds(
    d.Stage,
    name=words,
    arrivals=st.sampled_from(d.Arrivals),
    seconds=positive,
    rate=positive,
    doubling=some,
    count=st.none() | st.integers(1, 1000),
    stop=st.none() | st.builds(d.RampStop, latency=positive),
    curve=st.lists(st.tuples(positive, positive), max_size=3).map(tuple),
    seed=st.integers(0, 2**63),
)


@st.composite
def logs(draw: st.DrawFn, largest: int = 50) -> d.RequestLog:
    n = draw(st.integers(0, largest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    intended = np.sort(rng.uniform(0, draw(st.floats(1, 1e6)), n))
    sent = intended + rng.exponential(0.001, n)
    end = sent + rng.lognormal(-3, 2, n)
    return d.RequestLog(
        intended, sent, end, rng.integers(0, 7, n).astype(np.int8), rng.integers(0, 300, n).astype(np.int16)
    )


@st.composite
def histograms(draw: st.DrawFn) -> d.Histogram:
    bounds = draw(st.lists(st.floats(1e-3, 100), min_size=1, max_size=6, unique=True).map(sorted))
    counts = draw(st.lists(st.integers(0, 5).map(float), min_size=len(bounds) + 1, max_size=len(bounds) + 1))
    return d.Histogram(np.array(bounds), np.array(counts))


@st.composite
def windows(draw: st.DrawFn) -> d.Window:
    start = draw(times)
    return d.Window(
        start=start,
        end=start + draw(st.floats(0.5, 60)),
        requests=draw(st.dictionaries(st.sampled_from(["ok", "server_error", "rejected"]), positive)),
        latency=draw(st.none() | histograms()),
        queue=draw(st.none() | histograms()),
        in_flight=draw(some),
        queue_depth=draw(some),
        cpu_cores=draw(some),
        cpu_limit_cores=draw(some),
        cpu_throttled_seconds=draw(some),
        memory_bytes=draw(some),
        memory_limit_bytes=draw(some),
        gpu_utilization=draw(some),
        gpu_memory_bytes=draw(some),
        gpu_memory_limit_bytes=draw(some),
        replicas=draw(st.integers(1, 9)),
        source=draw(words),
    )


results = st.builds(
    d.StageResult,
    stage=stages,
    start=times,
    end=times,
    log=logs(),
    dropped=st.integers(0, 99),
    drained=st.booleans(),
    dispatch_delay_p99=some,
    generator_cpu=some,
    windows=st.lists(windows(), max_size=3).map(tuple),
)
evidence = st.builds(
    d.Evidence,
    requests=st.integers(0, 10**9),
    seconds=positive,
    top_rate=positive,
    run_id=st.none() | words,
    measured_at=some,
    checks=st.lists(words, max_size=2).map(tuple),
)
curves = st.builds(
    d.CurvePoint,
    rate=positive,
    quantiles=st.dictionaries(st.sampled_from([0.5, 0.95, 0.999]), positive | st.just(float("inf"))),
    mean=positive | st.just(float("inf")),
    in_flight=positive,
    error_ratio=st.floats(0, 1),
)
capacities = st.builds(
    d.Capacity,
    rps=positive,
    interval=st.tuples(positive, positive),
    limited_by=st.sampled_from(d.Limit),
    method=words,
    evidence=evidence,
    in_flight=some,
    cpu_cores=some,
    saturation_rps=some,
    undisturbed_rps=some,
    disturbance=st.none() | st.builds(d.Disturbance, share=positive, slowdown=positive),
    server=words,
    why=words,
    curve=st.lists(curves, max_size=3).map(tuple),
    alternatives=st.dictionaries(words, positive, max_size=2),
    warnings=st.lists(words, max_size=2).map(tuple),
)
refusals = st.builds(d.Refusal, reason=words, at_least=some, infeasible=st.booleans())
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | numbers | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
runs = st.builds(
    d.Run,
    run_id=st.just("r1"),
    target=words,
    scenario=words,
    slo=slos,
    started_at=positive,
    status=st.sampled_from(d.RunStatus),
    stages=st.lists(results, max_size=3).map(tuple),
    verdict=st.none()
    | st.builds(
        d.Verdict, status=st.sampled_from(d.VerdictStatus), reasons=st.lists(words, max_size=2).map(tuple)
    ),
    capacity=st.none() | capacities | refusals,
    findings=st.dictionaries(words, plain, max_size=3),
    ended_at=some,
    reason=st.none() | words,
    version=st.none() | words,
    metadata=st.dictionaries(words, plain, max_size=3),
)
