"""Which server it is: every family is recognised from a short run, with its parameters."""

import numpy as np
import pytest

from advisor.capacity.identification import Form
from advisor.capacity.identification.batching import fit_batching
from advisor.capacity.identification.dependence import load_dependence
from advisor.capacity.identification.disturbance import find_spells
from advisor.capacity.identification.fit import quota_phases
from advisor.capacity.identification.likely import likely_servers
from advisor.capacity.identification.timeline import build, from_log
from tests.capacity.logs import log_of, poisson
from tests.simulator import kernels
from tests.simulator.servers import lognormal

NONE = np.zeros(0)


def run(serve, rates, seconds=15.0, seed=0):
    """A timeline of Poisson stages of a server `serve(arrival, rng)`, drained in between."""
    rng = np.random.default_rng(seed)
    sent, ended, now = [], [], 0.0
    for i, rate in enumerate(rates):
        arrival = poisson(rate, seconds, seed + i)
        end = serve(arrival + now, rng) - now
        sent.append(arrival + now)
        ended.append(end + now)
        now = float(np.nanmax(ended[-1])) + 0.5
    return from_log(log_of(np.concatenate(sent), np.concatenate(ended)))


def best(timeline, **known):
    return likely_servers(timeline, 1, **known)[0].model


def workers(count, mean, cv):
    def serve(arrival, rng):
        work = lognormal(rng, mean, cv, arrival.size)
        return kernels.first_in_first_out(arrival, work, count, -1, NONE, 1.0, NONE, 0.0)

    return serve


def shared(cores, threads, mean, sigma=0.0, kappa=0.0, quota=0.0, phase=0.0):
    def serve(arrival, rng):
        work = lognormal(rng, mean, 0.5, arrival.size)
        return kernels.shared(arrival, work, cores, threads, sigma, kappa, quota * 0.1, 0.1, phase)

    return serve


@pytest.mark.parametrize("count", [1, 4, 11])
def test_workers(count):
    model = best(run(workers(count, 0.03, 0.6), [x * count / 0.03 for x in (0.3, 0.8, 1.1)]))
    assert model.form is Form.WORKERS
    assert model.slots == count
    assert model.work.mean() == pytest.approx(0.03, rel=0.06)


def test_a_wide_distribution_of_work_is_still_one_worker():
    def serve(arrival, rng):
        work = np.where(rng.random(arrival.size) < 0.1, 0.1, 0.008)
        return kernels.first_in_first_out(arrival, work, 1, -1, NONE, 1.0, NONE, 0.0)

    model = best(run(serve, [20.0, 45.0, 60.0], seconds=20))
    assert (model.form, model.slots) == (Form.WORKERS, 1)


@pytest.mark.parametrize("cores", [1, 2])
def test_cores_shared_by_many_threads(cores):
    model = best(run(shared(cores, 40, 0.02), [x * cores / 0.02 for x in (0.3, 0.8, 1.2)]))
    assert model.form in (Form.SHARED_CORES, Form.CONTENTION)
    assert model.saturation == pytest.approx(cores / 0.02, rel=0.06)


def test_contention_with_its_peak():
    m = np.arange(1, 65)
    gain = m / (1 + 0.05 * (m - 1) + 0.003 * m * (m - 1))
    top = gain.max() / 0.04
    model = best(run(shared(0, 64, 0.04, 0.05, 0.003), [0.3 * top, 0.7 * top, 1.1 * top]))
    assert model.form is Form.CONTENTION
    assert model.saturation == pytest.approx(top, rel=0.06)
    assert model.best_in_flight == pytest.approx(int(m[np.argmax(gain)]), abs=5)


def test_a_quota_with_its_phase():
    timeline = run(shared(6, 8, 0.02, quota=2.0, phase=-0.0313), [40.0, 80.0, 110.0])
    assert min(quota_phases(timeline), key=lambda phase: abs(phase - 0.0687)) == pytest.approx(
        0.0687, abs=2e-3
    )
    for model in (best(timeline), best(timeline, quota=2.0)):
        assert model.form is Form.QUOTA
        assert model.parameters[0] == 2.0
        assert model.slots == 8
        assert model.work.mean() == pytest.approx(0.02, rel=0.05)


def test_no_quota_where_completions_do_not_beat():
    assert quota_phases(run(workers(4, 0.03, 0.6), [40.0, 120.0])) == []


@pytest.mark.parametrize(("delay", "when_free"), [(0.0, False), (0.008, False), (0.008, True), (0.02, True)])
def test_a_batcher(delay, when_free):
    seconds = 0.02 + 0.002 * np.arange(17)

    def serve(arrival, rng):
        noise = lognormal(rng, 1.0, 0.05, arrival.size + 1)
        return kernels.batches(arrival, seconds, 16, delay, noise, when_free)

    timeline = run(serve, [30.0, 200.0, 330.0])
    fit = fit_batching(timeline)
    assert fit is not None
    assert fit.batching.largest == 16
    assert fit.batching.delay == pytest.approx(delay, abs=1e-3)
    assert fit.batching.when_free == when_free
    assert fit.batching.base == pytest.approx(0.02, rel=0.05)
    assert fit.batching.each == pytest.approx(0.002, rel=0.1)
    assert best(timeline).saturation == pytest.approx(16 / 0.052, rel=0.02)


def test_padded_batches_keep_their_steps():
    seconds = 0.01 + 0.004 * 2.0 ** np.ceil(np.log2(np.maximum(np.arange(9), 1)))

    def serve(arrival, rng):
        return kernels.batches(arrival, seconds, 8, 0.0, lognormal(rng, 1.0, 0.03, arrival.size + 1))

    batching = fit_batching(run(serve, [60.0, 130.0, 150.0], seconds=30)).batching
    for size in (1, 3, 5, 8):
        seen = batching.durations[batching.first[size] : batching.last[size]]
        assert float(np.median(seen)) == pytest.approx(seconds[size], rel=0.05)


def test_preprocessing_before_a_batcher_does_not_hide_it():
    seconds = 0.02 + 0.003 * np.arange(9)

    def serve(arrival, rng):
        ready = arrival + rng.gamma(20.0, 0.006 / 20.0, arrival.size)
        order = np.argsort(ready, kind="stable")
        end = np.empty(arrival.size)
        noise = lognormal(rng, 1.0, 0.03, arrival.size + 1)
        end[order] = kernels.batches(ready[order], seconds, 8, 0.0, noise)
        return end

    model = best(run(serve, [30.0, 120.0, 170.0]))
    assert model.form is Form.BATCHING
    assert model.saturation == pytest.approx(8 / seconds[8], rel=0.05)


def test_batches_are_seen_in_sparse_traffic():
    """Below the knee few requests share a batch, but far more than independent completions would coincide."""
    seconds = 0.01 + 0.003 * np.arange(17)

    def serve(arrival, rng):
        return kernels.batches(arrival, seconds, 16, 0.0, lognormal(rng, 1.0, 0.05, arrival.size + 1))

    timeline = run(serve, [15.0, 25.0], seconds=120)
    assert fit_batching(timeline) is not None


def test_workers_are_no_batcher():
    assert fit_batching(run(workers(4, 0.03, 0.6), [40.0, 120.0])) is None


def test_a_constant_delay_is_told_from_work():
    """1 ms of work and 2 ms on the way: one worker serves 1000 a second, not 333."""

    def serve(arrival, rng):
        work = lognormal(rng, 0.001, 0.2, arrival.size)
        return kernels.first_in_first_out(arrival, work, 1, -1, NONE, 1.0, NONE, 0.0) + 0.002

    model = best(run(serve, [100.0, 700.0, 1050.0], seconds=5))
    assert model.slots == 1
    assert model.saturation == pytest.approx(1000, rel=0.05)
    assert model.delay == pytest.approx(0.002, rel=0.15)


# -------------------------------------------------------------------------------------- the machine's own


def works_with_spells(slow_blocks, factor, blocks=50, each=60, cv=0.4, seed=0):
    rng = np.random.default_rng(seed)
    when = np.sort(rng.uniform(0, 3.0 * blocks, blocks * each))
    work = lognormal(rng, 0.02, cv, when.size)
    slow = np.isin(np.floor(when / 3.0), slow_blocks)
    return np.log(np.where(slow, factor * work, work)), when


def test_two_states_that_take_turns_are_no_disturbance():
    assert find_spells(*works_with_spells(list(range(5, 45)), 1.5), 3.0) is None
    assert find_spells(*works_with_spells([10, 11, 12, 30, 31, 32, 33], 1.08, each=400), 3.0) is None


def test_spells_are_found_with_share_and_slowdown():
    log_work, when = works_with_spells([10, 11, 12, 13, 30, 31, 32, 33, 34], 1.5)
    spells = find_spells(log_work, when, 3.0)
    assert spells.slowness.slowdown == pytest.approx(1.5, rel=0.06)
    assert spells.slowness.share == pytest.approx(0.18, abs=0.06)
    assert spells.warm_up is None
    assert spells.path[11] == pytest.approx(1.5, rel=0.1)
    assert spells.path[20] == pytest.approx(1.0, abs=0.05)


def test_a_quiet_machine_has_no_spells():
    found = [find_spells(*works_with_spells([], 1.0, seed=seed), 3.0) for seed in range(20)]
    assert sum(spells is not None for spells in found) <= 1


def test_slow_at_the_beginning_alone_is_warming_up():
    spells = find_spells(*works_with_spells([0, 1, 2, 3], 1.8), 3.0)
    assert spells.warm_up == pytest.approx(12.0)


def test_a_slow_machine_does_not_hide_the_server():
    def serve(arrival, rng):
        slow = np.where(np.isin(np.arange(40), [2, 3, 7, 8, 9, 13, 14]), 1.6, 1.0)
        work = lognormal(rng, 0.02, 0.4, arrival.size)
        return kernels.first_in_first_out(arrival, work, 2, -1, slow, 6.0, NONE, 0.0)

    model = best(run(serve, [30.0, 60.0, 75.0, 60.0], seconds=20))
    assert (model.form, model.slots) == (Form.WORKERS, 2)
    assert model.slowness.slowdown == pytest.approx(1.6, rel=0.1)
    assert model.work.mean() == pytest.approx(0.02, rel=0.05)


def test_works_that_depend_on_load_are_told_from_chance():
    rng = np.random.default_rng(0)
    met = rng.integers(1, 30, 3000)
    work = lognormal(rng, 0.02, 0.5, 3000)
    assert not load_dependence(work, met).sure
    growing = load_dependence(work * (1 + 0.02 * met), met)
    assert growing.sure
    assert growing.shift > 0.2
    assert "more work" in str(growing)
    assert "less work" in str(load_dependence(work / met, met))


def test_the_timeline_of_nobody_has_no_present():
    assert build(NONE, NONE, NONE).most_present == 0
