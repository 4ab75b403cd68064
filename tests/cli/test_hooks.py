"""`--hook` and its kin: what they change of a target's settings, and how a mistake is told."""

from __future__ import annotations

import pytest

from advisor.cli.hooks import HookOptions, with_hook
from advisor.cli.measure import Order
from advisor.cli.options import counts
from advisor.errors import ConfigurationError
from advisor.service.options import RunOptions
from advisor.settings import AdvisorSettings

CONFIGURED = {"rollout": {"command": ["deploy"], "timeout": "1m", "ready_url": "http://127.0.0.1:1"}}


def order(scenario: str, hooks: dict[str, object] | None = None) -> Order:
    target = {
        "name": "heart",
        "url": "http://127.0.0.1:1",
        "requests": [{}],
        "slo": {"latency": {"p95": "100ms"}},
        "hooks": hooks or {},
    }
    settings = AdvisorSettings.model_validate({"targets": [target, {**target, "name": "other"}]})
    return Order(settings, "heart", scenario, RunOptions(), None)


def test_a_typed_hook_takes_the_place_of_the_configured_one_and_leaves_the_rest() -> None:
    changed = with_hook(order("rollout", CONFIGURED), HookOptions(command="./deploy.sh 'v 13'"))
    hook = changed.settings.target("heart").hooks.rollout
    assert hook is not None
    assert hook.command == ["./deploy.sh", "v 13"]
    assert (hook.timeout, hook.ready_url) == (60.0, "http://127.0.0.1:1")
    other = changed.settings.target("other").hooks.rollout
    assert other is not None
    assert other.command == ["deploy"]


def test_a_hook_of_a_scalability_run_scales() -> None:
    changed = with_hook(order("scalability"), HookOptions("kubectl scale --replicas={replicas}", 5.0))
    hook = changed.settings.target("heart").hooks.scale
    assert hook is not None
    assert (hook.command[-1], hook.timeout) == ("--replicas={replicas}", 5.0)


def test_without_an_option_the_order_is_the_same() -> None:
    asked = order("load")
    assert with_hook(asked, HookOptions()) is asked


@pytest.mark.parametrize(
    ("scenario", "options", "words"),
    [
        ("load", HookOptions(command="x"), "--hook only goes with --scenario rollout or scalability"),
        ("soak", HookOptions(timeout=5.0), "--hook-timeout only goes with"),
        ("rollout", HookOptions(ready_url="http://127.0.0.1:1"), "--hook is missing"),
        ("rollout", HookOptions(command="a 'b"), "--hook: 'a 'b' is not a command"),
        ("rollout", HookOptions(command=""), "--hook: "),
        ("scalability", HookOptions(command="kubectl scale"), r"--hook: the command must say \{replicas\}"),
        ("rollout", HookOptions(command="x", ready_url="nowhere"), "--ready-url: 'nowhere' is not a URL"),
    ],
)
def test_a_mistake_is_told_with_the_name_of_its_option(
    scenario: str, options: HookOptions, words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        with_hook(order(scenario), options)


def test_counts_of_replicas() -> None:
    assert counts("--replicas", "1, 2,8") == (1, 2, 8)
    assert counts("--replicas", None) == ()
    for wrong in ("", "1,", "0,1", "1;2", "-1,2"):
        with pytest.raises(ConfigurationError, match=r"--replicas: .* write them as 1,2,4"):
            counts("--replicas", wrong)
