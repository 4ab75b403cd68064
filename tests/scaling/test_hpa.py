"""The autoscaler against the examples of Kubernetes' own documentation, and its rules one by one."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisor.scaling.hpa import (
    USUAL,
    Controller,
    Pods,
    Policy,
    Rules,
    Tolerances,
    average,
    external_average,
    utilization,
)

NO_WINDOW = Rules((Policy("Percent", 100, 15.0),), 0.0)
FREE = Rules((Policy("Percent", 100_000, 15.0), Policy("Pods", 100_000, 15.0)), 0.0)


# -------------------------------------------------------------------------------------- "Algorithm details"


def test_200m_against_100m_doubles_and_50m_halves():
    assert average(4 * 200, 100, Pods(4)) == 8
    assert average(4 * 50, 100, Pods(4)) == 2


@pytest.mark.parametrize(("ratio", "nothing"), [(1.1, True), (0.9, True), (1.11, False), (0.89, False)])
def test_a_tenth_is_tolerated(ratio, nothing):
    assert USUAL.within(ratio) is nothing


def test_tolerances_of_one_autoscaler():
    """As Kubernetes 1.33 was announced: 50 replicas at 90 % for 75 % become 60; at 80 % nothing is done,
    unless the tolerance for scaling up is 0; one of 5 % for scaling down acts at 70 %."""
    assert utilization(50 * 0.9, 1.0, 75, Pods(50)) == 60
    assert utilization(50 * 0.8, 1.0, 75, Pods(50)) == 50
    own = Tolerances(down=0.05, up=0.0)
    assert utilization(50 * 0.8, 1.0, 75, Pods(50), own) == 54
    assert utilization(50 * 0.7, 1.0, 75, Pods(50)) == 50
    assert utilization(50 * 0.7, 1.0, 75, Pods(50), own) == 47
    assert external_average(470, 10, 45, own) == 47


def test_utilisation_is_a_truncated_percentage_of_the_request():
    # 3 pods with 0.5 cores each and a target of 60 %: 1.107 cores are 73.8 %, read as 73: 73/60·3 = 3.65
    assert utilization(1.107, 0.5, 60, Pods(3)) == 4
    assert utilization(0.99, 0.5, 60, Pods(3)) == 3  # 66 % is within the tolerance


def test_pods_that_are_not_ready_count_nothing_when_scaling_up():
    # 3 ready pods at 120 % of 60 %, 2 that start: without them ⌈2·3⌉ = 6, with them 72/60 → ⌈1.2·5⌉ = 6
    assert utilization(3 * 1.2, 1.0, 60, Pods(3, unready=2)) == 6
    # at 68 % each, the starting pods bring the mean under the target: the direction would flip, no change
    assert utilization(3 * 0.68, 1.0, 60, Pods(3, unready=2)) == 5
    assert average(3 * 68, 60, Pods(3, unready=2)) == 5


def test_missing_metrics_count_all_of_the_request_when_scaling_down():
    # 4 of 5 pods report 20 %; the fifth counts 100 %: mean 36 % of 60 → ⌈0.6·5⌉ = 3, not ⌈0.33·5⌉ = 2
    assert utilization(4 * 0.2, 1.0, 60, Pods(4, missing=1)) == 3
    # against a target above its request a pod counts the target: (0.8 + 1.5) / 5 is 46 of 150 %, ⌈0.31·5⌉ = 2
    assert utilization(4 * 0.2, 1.0, 150, Pods(4, missing=1)) == 2


def test_missing_metrics_count_nothing_when_scaling_up():
    # 4 of 5 report 90 %: with a zero for the fifth the mean is 72 %, ⌈1.2·5⌉ = 6
    assert utilization(4 * 0.9, 1.0, 60, Pods(4, missing=1)) == 6


def test_missing_pods_of_a_plain_metric_count_the_target_when_scaling_down():
    assert average(4 * 20, 60, Pods(4, missing=1)) == math.ceil((80 + 60) / 60)
    assert average(4 * 75, 60, Pods(4, missing=1)) == 5  # 300/60 = 5: as it is
    assert average(4 * 60, 60, Pods(4, missing=1)) == 5  # the target itself asks for nothing


def test_a_metric_of_no_ready_pod_has_failed():
    assert utilization(0.0, 1.0, 60, Pods(0, unready=2)) is None
    assert average(0.0, 60, Pods(0, missing=2)) is None


def test_an_external_average_divides_the_total_whatever_is_ready():
    assert external_average(500, 45, replicas=4) == 12
    assert external_average(500, 45, replicas=11) == 11  # 500/495: tolerated
    assert external_average(450, 45, replicas=0) == 10


# --------------------------------------------------------------------------- "Configurable scaling behavior"


def test_the_documented_scale_down_of_eighty_replicas():
    """Pods 4 and Percent 10 a minute, Max: 10 % of 80 are 8 pods; of 72 they are 7.2, rounded up to 8; once
    10 % of the pods are no more than 4, it is four a minute."""
    down = Rules((Policy("Pods", 4, 60.0), Policy("Percent", 10, 60.0)), 0.0)
    controller = Controller(1, 100, down=down)
    now, current, seen = 0.0, 80, [80]
    for _ in range(12):
        current = controller.step(now, current, [10])
        seen.append(current)
        now += 60.0
    assert seen[:3] == [80, 72, 64]
    assert seen[3] == 57
    assert all(a - b == 4 for a, b in itertools.pairwise(seen) if b > 10 and a <= 40)
    assert min(seen) >= 10


def test_min_takes_the_policy_that_changes_least():
    down = Rules((Policy("Pods", 4, 60.0), Policy("Percent", 10, 60.0)), 0.0, "Min")
    assert Controller(1, 100, down=down).step(0.0, 80, [10]) == 76


def test_disabled_never_changes_in_that_direction():
    controller = Controller(1, 100, up=Rules((), 0.0, "Disabled"), down=NO_WINDOW)
    assert controller.step(0.0, 10, [50]) == 10
    assert controller.step(15.0, 10, [5]) == 5


def test_a_policy_counts_what_was_added_in_its_period():
    """Five pods a minute (documented limit): the second sync of the same minute adds nothing."""
    down = Rules((Policy("Pods", 5, 60.0),), 0.0)
    controller = Controller(1, 100, down=down)
    assert controller.step(0.0, 50, [1]) == 45
    assert controller.step(15.0, 45, [1]) == 45
    assert controller.step(60.0, 45, [1]) == 40


def test_the_default_scale_up_doubles_or_adds_four_each_fifteen_seconds():
    controller = Controller(1, 1000)
    now, current, seen = 0.0, 1, []
    for _ in range(5):
        current = controller.step(now, current, [500])
        seen.append(current)
        now += 15.0
    assert seen == [5, 10, 20, 40, 80]


def test_the_default_scale_down_waits_for_the_highest_of_five_minutes():
    controller = Controller(1, 100)
    assert controller.step(0.0, 10, [10]) == 10
    current, now = 10, 15.0
    while now < 300.0:
        current = controller.step(now, current, [3])
        assert current == 10
        now += 15.0
    assert controller.step(300.0, current, [3]) == 3


def test_an_up_window_takes_the_lowest_of_its_recommendations():
    controller = Controller(1, 100, up=Rules(FREE.policies, 60.0), down=NO_WINDOW)
    assert controller.step(0.0, 5, [5]) == 5
    assert controller.step(15.0, 5, [20]) == 5  # 5 is still in the window
    assert controller.step(60.0, 5, [20]) == 20


def test_of_several_metrics_the_largest_counts():
    assert Controller(1, 100, FREE, NO_WINDOW).step(0.0, 5, [3, 9, 7]) == 9


def test_a_failed_metric_blocks_scaling_down_not_up():
    assert Controller(1, 100, FREE, NO_WINDOW).step(0.0, 5, [3, None]) == 5
    assert Controller(1, 100, FREE, NO_WINDOW).step(0.0, 5, [9, None]) == 9
    assert Controller(1, 100, FREE, NO_WINDOW).step(0.0, 5, [None]) == 5


def test_a_failed_sync_leaves_no_recommendation_behind():
    controller = Controller(1, 100, FREE, Rules(NO_WINDOW.policies, 60.0))
    assert controller.step(0.0, 5, [5]) == 5
    for now in (15.0, 30.0, 45.0):
        assert controller.step(now, 5, [2, None]) == 5
    assert controller.step(60.0, 5, [2, 3]) == 3  # the 5 of second 0 has left the window


def test_a_restarted_controller_remembers_the_current_count():
    """It records it before its first decision, so that a restart never scales down at once."""
    controller = Controller(1, 100)
    assert controller.step(0.0, 10, [3]) == 10
    assert controller.step(285.0, 10, [3]) == 10
    assert controller.step(300.0, 10, [3]) == 3


def test_a_count_outside_of_the_bounds_goes_to_the_bound_at_once():
    slow = Rules((Policy("Pods", 1, 60.0),), 300.0)
    assert Controller(10, 20, slow, slow).step(0.0, 2, [3]) == 10
    assert Controller(1, 20, slow, slow).step(0.0, 50, [45]) == 20


def test_without_behavior_a_sync_doubles_or_goes_to_four():
    controller = Controller(1, 1000, up=None)
    now, current, seen = 0.0, 1, []
    for _ in range(4):
        current = controller.step(now, current, [500])
        seen.append(current)
        now += 15.0
    assert seen == [4, 8, 16, 32]


@given(st.lists(st.integers(1, 200), min_size=1, max_size=80), st.integers(1, 5), st.integers(5, 60))
def test_bounds_hold_and_a_fall_never_undercuts_the_window(proposals, minimum, maximum):
    controller = Controller(minimum, maximum)
    current, seen = minimum, []
    for k, proposal in enumerate(proposals):
        found = controller.step(15.0 * k, current, [proposal])
        seen.append(proposal)
        assert minimum <= found <= maximum
        if found < current:
            assert found >= min(max(seen[-20:]), maximum)
        current = found
