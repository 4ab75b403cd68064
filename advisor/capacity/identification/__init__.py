"""Identification of a model server from arrivals and completions, and its simulation at any rate."""

from advisor.capacity.identification.identify import Identification, curve, identify
from advisor.capacity.identification.model import Form, ServerModel
from advisor.capacity.identification.replay import Replay, ReplayedStage
from advisor.capacity.identification.solve import (
    Solution,
    Traffic,
    excess,
    explain_infeasible,
    respond,
    solve,
)
from advisor.capacity.identification.warm import compile_kernels

__all__ = [
    "Form",
    "Identification",
    "Replay",
    "ReplayedStage",
    "ServerModel",
    "Solution",
    "Traffic",
    "compile_kernels",
    "curve",
    "excess",
    "explain_infeasible",
    "identify",
    "respond",
    "solve",
]
