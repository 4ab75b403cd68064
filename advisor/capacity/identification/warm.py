"""Compiling before it is needed: in a process's first identification the kernels take a few seconds to
compile.
"""

from __future__ import annotations

import numpy as np

from advisor.capacity.identification.fit import Search
from advisor.capacity.identification.model import QUOTA_PERIOD, Batching, Form, ServerModel
from advisor.capacity.identification.timeline import build
from advisor.domain import Floats


def compile_kernels() -> None:
    """Compiles every kernel, or loads it from the cache on disk.

    About 5 s the first time on a machine, 0.3 s afterwards. Safe to call in a thread while a run warms
    up; what it computes is thrown away.
    """
    work = np.full(8, 0.01)
    sizes = np.arange(3)
    batching = Batching(2, 0.0, 0.01, 0.001, np.full(3, 0.01), sizes, sizes + 1)
    arrival: Floats = np.arange(400, dtype=np.float64) * 0.004
    uniform = np.linspace(0.0, 0.999, arrival.size)
    for model in (
        ServerModel(Form.WORKERS, 4, (), work),
        ServerModel(Form.PRIVATE_QUEUES, 2, (), work),
        ServerModel(Form.BATCHING, 1, (), work, batching=batching),
    ):
        model.completions(arrival, uniform)
    # completions in the first half of each period: the search tries a quota, too
    beating: Floats = arrival + 0.01 + 0.5 * (arrival % QUOTA_PERIOD)
    Search(build(arrival, beating, np.zeros(0)), 1.0).run()
