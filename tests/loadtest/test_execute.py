"""The executor: order of what observers are told, what stops a run, and that nothing measured is lost."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import numpy as np
import pytest

from advisor.domain import Arrivals, RequestLog, RunStatus, Stage, Stop, StreamLog, Window
from advisor.errors import EngineFailed
from advisor.loadtest.execute import Ended, Observer, execute
from advisor.loadtest.guards import Guards, distress, overloads, too_many_errors
from advisor.loadtest.histogram import gap_histogram
from advisor.loadtest.plan import Caps, LoadPlan
from advisor.loadtest.protocol import SecondRecord
from tests.loadtest.simulated import Bench, Server, SimulatedGenerator, seconds_of


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.windows: list[Window] = []

    def on_stage_start(self, stage):
        self.events.append(f"start {stage.name}")

    def on_second(self, record):
        if self.events[-1] != "second":
            self.events.append("second")

    def on_window(self, window):
        self.windows.append(window)

    def on_stage_end(self, result):
        self.events.append(f"end {result.stage.name}")


PLAN = LoadPlan((10.0, 20.0), Caps(100.0, 400, 600.0), seconds=5.0)


def run(plan, generator, **more):
    return asyncio.run(execute(plan, generator, **more))


class Endless(SimulatedGenerator):
    """A stage that goes on, a record each hundredth of a second, until it is told to stop."""

    def __init__(self, *, deaf: bool = False, records: int = 10_000) -> None:
        super().__init__(Bench(Server()))
        self.deaf = deaf
        self.records = records
        self.told = asyncio.Event()

    async def run_stage(self, stage):
        result = self.bench.run(stage)
        parts = seconds_of(result)
        for i in range(self.records):
            if self.told.is_set() and not self.deaf:
                yield dataclasses.replace(result, end=result.start + 2.0, drained=False)
                return
            yield parts[i % len(parts)]
            await asyncio.sleep(0.01)
        raise EngineFailed("the load generator ended by signal 9")

    async def abort(self):
        self.told.set()


def test_a_plan_runs_stage_by_stage_and_observers_hear_it_in_order():
    notes = Notes()
    generator = SimulatedGenerator(Bench(Server()))
    found = run(PLAN, generator, observers=[notes])
    assert notes.events == ["start load 1", "second", "end load 1", "start load 2", "second", "end load 2"]
    assert found.ended is Ended.PLAN
    assert found.status is RunStatus.DONE
    assert found.reason == "all 2 stages are done"
    assert [r.stage.rate for r in found.stages] == [10.0, 20.0]
    assert not generator.closed  # the caller's


def test_told_to_stop_it_stops_within_two_seconds_and_keeps_the_part():
    async def scenario():
        abort = asyncio.Event()
        asyncio.get_running_loop().call_later(0.1, abort.set)
        began = time.monotonic()
        found = await execute(PLAN, Endless(), abort=abort)
        return found, time.monotonic() - began

    found, took = asyncio.run(scenario())
    assert took < 2
    assert (found.ended, found.status) == (Ended.ASKED, RunStatus.ABORTED)
    assert found.reason == "the run was told to stop"
    assert len(found.stages) == 1
    assert len(found.stages[0].log) > 0


def test_a_generator_that_does_not_listen_is_ended_and_its_seconds_are_kept():
    async def scenario():
        abort = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, abort.set)
        generator = Endless(deaf=True)
        return generator, await execute(PLAN, generator, abort=abort)

    generator, found = asyncio.run(scenario())
    assert generator.closed
    assert len(found.stages[0].log) > 0
    assert not found.stages[0].drained


def test_a_generator_that_dies_fails_the_run_and_its_seconds_are_kept():
    found = run(PLAN, Endless(records=8))
    assert (found.ended, found.status) == (Ended.FAILED, RunStatus.FAILED)
    assert isinstance(found.error, EngineFailed)
    assert "signal 9" in found.reason
    assert len(found.stages[0].log) > 0


def test_streams_and_the_generator_s_own_figures_outlive_it():
    streams = StreamLog(*np.array([[0.0], [0.0], [0.2], [0.9]]), np.array([8]), gap_histogram(np.ones(7)))

    class Streaming(Endless):
        async def run_stage(self, stage):
            cpu = 0.1
            async for item in super().run_stage(stage):
                yield dataclasses.replace(item, streams=streams, cpu=cpu, dispatch_delay_p99=cpu / 100)
                cpu += 0.2

    (stage,) = run(PLAN, Streaming(records=3)).stages
    assert stage.streams is not None
    assert len(stage.streams) == 3
    assert (stage.generator_cpu, stage.dispatch_delay_p99) == (pytest.approx(0.3), pytest.approx(0.005))


def test_a_stage_without_a_result_is_a_broken_generator():
    class Silent(SimulatedGenerator):
        async def run_stage(self, stage):
            if False:
                yield

    found = run(PLAN, Silent(Bench(Server())))
    assert "gave no result for stage 'load 1'" in found.reason


def test_the_whole_run_has_a_limit():
    found = run(PLAN, Endless(), guards=Guards(seconds=0.2))
    assert found.ended is Ended.GUARD
    assert found.reason == "the run reached its limit of 200 ms"
    assert found.stages


def test_too_many_errors_stop_the_run():
    plan = LoadPlan((50.0,), Caps(100.0, 400, 600.0), seconds=60.0)
    found = run(plan, SimulatedGenerator(Bench(Server(failing=0.5))))
    assert found.ended is Ended.GUARD
    assert "requests failed in stage 'load 1'" in found.reason
    assert "the limit is 20 %" in found.reason
    assert found.stages


def test_an_observer_that_raises_ends_the_load_and_is_heard():
    class Broken(Observer):
        def on_second(self, record):
            raise OSError("disk full")

    generator = SimulatedGenerator(Bench(Server()))
    with pytest.raises(OSError, match="disk full"):
        run(PLAN, generator, observers=[Broken()])
    assert generator.closed


def test_a_plan_that_raises_is_heard():
    class Broken(LoadPlan):
        def next_stage(self, history):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(Broken((1.0,), Caps()), SimulatedGenerator(Bench(Server())))


def test_windows_of_the_sidecar_come_with_the_stage_and_distress_stops_it(monkeypatch):
    monkeypatch.setattr("advisor.loadtest.execute.SAMPLE_SECONDS", 0.01)
    readings = []

    async def source():
        readings.append(len(readings))
        if len(readings) == 1:
            return None
        return Window(0.0, 1.0, {"ok": 10.0}, memory_bytes=0.97e9, memory_limit_bytes=1e9)

    notes = Notes()
    found = run(PLAN, Endless(), observers=[notes], source=source)
    assert found.ended is Ended.GUARD
    assert found.reason == "the model uses 97 % of its memory limit (95 % may be)"
    assert len(found.stages[0].windows) == len(notes.windows) == 3


# ---------------------------------------------------------------------------------------------------- guards


def stage(name="load 1", arrivals=Arrivals.POISSON) -> Stage:
    return Stage(name, arrivals, 10.0, rate=10.0)


def record(at: float, **counts: int) -> SecondRecord:
    return SecondRecord("load 1", at, at + 1, counts, {}, RequestLog.empty(), 0, 0, 0.1)


@pytest.mark.parametrize(
    ("name", "arrivals", "expected"),
    [
        ("knee 1", Arrivals.POISSON, False),
        ("burst 2", Arrivals.POISSON, True),
        ("ramp 1", Arrivals.RAMP, True),
        ("spike", Arrivals.REPLAY, True),
        ("replay", Arrivals.REPLAY, False),
    ],
)
def test_stages_that_overload_on_purpose(name, arrivals, expected):
    assert overloads(stage(name, arrivals)) is expected


def test_errors_count_over_a_window_and_from_a_least_number():
    guards = Guards(error_window=3.0, min_requests=30)
    old = [record(0, server_error=100)]
    calm = [record(t, ok=20) for t in range(1, 6)]
    assert too_many_errors(stage(), old + calm, guards) is None
    assert too_many_errors(stage(), [record(0, timeout=29)], guards) is None
    assert "29 of the last 49 requests" in too_many_errors(stage(), [record(0, timeout=29, ok=20)], guards)
    assert too_many_errors(stage(), [], guards) is None
    assert too_many_errors(stage(), [record(0, timeout=99)], Guards(error_ratio=None)) is None


def test_the_kinds_of_the_errors_are_named_most_first():
    seconds = [record(0, ok=45, timeout=1, connection=100), record(1, ok=100, connection=48, server_error=2)]
    assert too_many_errors(stage(), seconds, Guards()) == (
        "151 of the last 296 requests failed in stage 'load 1': 148 connection, 2 server error, 1 timeout "
        "(51 % in 10 s, the limit is 20 %)"
    )


def test_requests_that_the_generator_cut_are_no_errors():
    assert too_many_errors(stage(), [record(0, ok=60, cancelled=500)], Guards()) is None
    said = too_many_errors(stage(), [record(0, ok=30, timeout=30, cancelled=500)], Guards())
    assert "30 of the last 60 requests failed" in said


def test_rejections_are_forgiven_where_the_stage_asks_for_too_much():
    seconds = [record(0, ok=50, rejected=50)]
    assert too_many_errors(stage(), seconds, Guards()) is not None
    assert too_many_errors(stage("burst 1"), seconds, Guards()) is None
    assert too_many_errors(stage("burst 1"), [record(0, ok=50, connection=50)], Guards()) is not None


def test_distress_needs_three_windows_in_a_row():
    full = Window(0.0, 1.0, {"ok": 10.0}, memory_bytes=98.0, memory_limit_bytes=100.0)
    fine = dataclasses.replace(full, memory_bytes=50.0)
    assert distress([full, full], Guards()) is None
    assert distress([full, fine, full], Guards()) is None
    assert distress([fine, full, full, full], Guards()) is not None


def test_a_queue_of_too_much_work_is_distress():
    waiting = Window(0.0, 1.0, {"ok": 10.0}, queue_depth=400.0)
    assert distress([waiting] * 3, Guards()) == "400 requests wait at the sidecar, 40 s of work (30 s may be)"
    assert distress([dataclasses.replace(waiting, queue_depth=200.0)] * 3, Guards()) is None
    assert distress([dataclasses.replace(waiting, queue_depth=None)] * 3, Guards()) is None


def test_a_stop_without_stages_is_fine():
    class Nothing(LoadPlan):
        def next_stage(self, history):
            return Stop("nothing to do")

    found = run(Nothing((1.0,), Caps()), SimulatedGenerator(Bench(Server())))
    assert (found.stages, found.reason) == ((), "nothing to do")
