from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace

from advisor.store import Owner, Store

ME = Owner.this_process()
OTHER = Owner("other", "another host", 1, 1)


def test_one_holder_at_a_time(store: Store) -> None:
    assert store.leases.take("run:heart", ME, now=100, seconds=10)
    assert not store.leases.take("run:heart", OTHER, now=105, seconds=10)
    assert not store.leases.take("run:heart", ME, now=105, seconds=10)
    assert store.leases.take("run:lung", OTHER, now=105, seconds=10)


def test_a_lease_that_ran_out_goes_to_the_next_and_the_first_learns_it(store: Store) -> None:
    store.leases.take("run:heart", ME, now=100, seconds=10)

    assert store.leases.take("run:heart", OTHER, now=110, seconds=10)
    assert not store.leases.renew("run:heart", ME, now=111, seconds=10)
    store.leases.release("run:heart", ME)
    holder = store.leases.holder("run:heart")
    assert holder is not None
    assert holder.owner == OTHER


def test_renewing_keeps_others_out(store: Store) -> None:
    store.leases.take("run:heart", ME, now=100, seconds=10)
    assert store.leases.renew("run:heart", ME, now=109, seconds=10)

    assert not store.leases.take("run:heart", OTHER, now=112, seconds=10)


def test_a_released_lease_is_free_at_once(store: Store) -> None:
    store.leases.take("run:heart", ME, now=100, seconds=10)
    store.leases.release("run:heart", ME)

    assert store.leases.holder("run:heart") is None
    assert store.leases.take("run:heart", OTHER, now=101, seconds=10)


def test_of_many_takers_one_wins(store: Store, open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(6)]
    barrier = threading.Barrier(len(stores))
    won: list[int] = []

    def take(i: int) -> None:
        barrier.wait()
        if stores[i].leases.take("leader", replace(OTHER, owner=f"o{i}"), now=100, seconds=10):
            won.append(i)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1


def _ended_process() -> Owner:
    code = "from advisor.store.leases import Owner; o = Owner.this_process(); print(o.pid, o.process_started)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    pid, started = out.split()
    return Owner("ended", ME.host, int(pid), int(started))


def test_a_dead_holder_on_this_host_loses_its_lease_at_once(store: Store) -> None:
    ended = _ended_process()
    assert ended.is_dead()
    store.leases.take("run:heart", ended, now=100, seconds=10)

    assert store.leases.take("run:heart", ME, now=101, seconds=10)


def test_a_number_given_to_another_process_is_a_dead_holder() -> None:
    assert not ME.is_dead()
    assert replace(ME, process_started=ME.process_started - 1).is_dead()


def test_a_process_that_nobody_reaped_is_dead() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        assert Owner("zombie", ME.host, child, 1).is_dead()
    finally:
        os.waitpid(child, 0)


def test_nobody_judges_a_process_on_another_host() -> None:
    assert not OTHER.is_dead()
