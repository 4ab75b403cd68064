"""Scenarios as pure functions of what was seen so far: `next_stage(history) → Stage | Stop`."""

from advisor.loadtest.plan.capacity import CapacityPlan
from advisor.loadtest.plan.common import Plan
from advisor.loadtest.plan.estimate import Estimator, Quick, QuickEstimate
from advisor.loadtest.plan.load import LoadPlan
from advisor.loadtest.plan.replay import ReplayPlan
from advisor.loadtest.plan.rollout import RolloutPlan
from advisor.loadtest.plan.scalability import ScalabilityPlan
from advisor.loadtest.plan.smoke import SmokePlan
from advisor.loadtest.plan.soak import SoakPlan
from advisor.loadtest.plan.spike import SpikePlan
from advisor.loadtest.plan.stress import StressPlan
from advisor.loadtest.plan.users import UsersPlan, users_levels
from advisor.loadtest.protocol import Caps

__all__ = [
    "CapacityPlan",
    "Caps",
    "Estimator",
    "LoadPlan",
    "Plan",
    "Quick",
    "QuickEstimate",
    "ReplayPlan",
    "RolloutPlan",
    "ScalabilityPlan",
    "SmokePlan",
    "SoakPlan",
    "SpikePlan",
    "StressPlan",
    "UsersPlan",
    "users_levels",
]
