"""The ledger against the truth of simulated process trees."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.cputime import CpuLedger, CpuUse, ProcessKey

ROOT: ProcessKey = (1, 0.0)
WORKER: ProcessKey = (2, 0.0)
HELPER: ProcessKey = (3, 0.0)


def test_a_worker_that_exits_moves_into_its_parent():
    ledger = CpuLedger()
    assert ledger.update({ROOT: CpuUse(None, 1, 0), WORKER: CpuUse(ROOT, 10, 0)}) == 11
    assert ledger.update({ROOT: CpuUse(None, 1, 12)}) == 13


def test_a_worker_whose_parent_never_waits_keeps_its_last_value():
    ledger = CpuLedger()
    ledger.update({ROOT: CpuUse(None, 1, 0), WORKER: CpuUse(ROOT, 10, 0)})
    assert ledger.update({ROOT: CpuUse(None, 2, 0)}) == 12


def test_a_restart_goes_on_counting():
    ledger = CpuLedger()
    ledger.update({ROOT: CpuUse(None, 5, 3)})
    again = (1, 99.0)  # the same pid, started later
    assert ledger.update({again: CpuUse(None, 0.5, 0)}) == 8.5
    assert ledger.update({}) == 8.5
    assert ledger.update({(7, 120.0): CpuUse(None, 1, 0)}) == 9.5


def test_a_chain_that_dies_together_is_absorbed_once():
    ledger = CpuLedger()
    ledger.update({ROOT: CpuUse(None, 0, 0), WORKER: CpuUse(ROOT, 4, 1), HELPER: CpuUse(WORKER, 2, 0)})
    assert ledger.update({ROOT: CpuUse(None, 0, 7)}) == 7


@dataclass
class SimulatedProcess:
    key: ProcessKey
    parent: ProcessKey | None
    waits: bool
    own: int = 0
    waited: int = 0
    children: list[ProcessKey] = field(default_factory=list)


@given(
    st.lists(st.tuples(st.sampled_from(["fork", "work", "exit", "read"]), st.integers(0, 99)), max_size=60)
)
def test_trees_whose_parents_wait_are_counted_exactly(steps):
    """Fork, work, exit in any order: at each reading the counter is all the work done below the root."""
    processes = {ROOT: SimulatedProcess(ROOT, None, waits=True)}
    ledger = CpuLedger()
    done = 0
    for number, (step, pick) in enumerate([*steps, ("read", 0)]):
        chosen = processes[list(processes)[pick % len(processes)]]
        if step == "fork":
            child = SimulatedProcess((100 + number, float(number)), chosen.key, waits=True)
            processes[child.key] = child
            chosen.children.append(child.key)
        elif step == "work":
            chosen.own += pick
            done += pick
        elif step == "exit" and chosen.parent is not None and not chosen.children:
            parent = processes[chosen.parent]
            parent.waited += chosen.own + chosen.waited
            parent.children.remove(chosen.key)
            del processes[chosen.key]
        elif step == "read":
            seen = {p.key: CpuUse(p.parent, p.own, p.waited) for p in processes.values()}
            assert ledger.update(seen) == done


@given(
    st.lists(
        st.dictionaries(
            st.tuples(st.integers(1, 4), st.just(0.0)),
            st.tuples(st.integers(1, 4), st.integers(0, 50), st.integers(0, 50)),
        ),
        max_size=8,
    )
)
def test_whatever_is_read_the_counter_never_falls(readings):
    ledger = CpuLedger()
    last = 0.0
    for reading in readings:
        # A parent has the lower pid: the kernel never gives a cycle.
        seen = {
            key: CpuUse((parent, 0.0) if parent < key[0] and (parent, 0.0) in reading else None, own, waited)
            for key, (parent, own, waited) in reading.items()
        }
        total = ledger.update(seen)
        assert total >= last
        assert total >= sum(use.total for use in seen.values()) or total == pytest.approx(last)
        last = total
