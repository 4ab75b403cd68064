from __future__ import annotations

import datetime as dt

import pytest

from advisor.errors import NotAllowed
from advisor.service.permission import allowed_hosts, blackout_end, check_permission, next_blackout
from advisor.settings import AdvisorSettings, BlackoutSettings, TargetSettings

ZONE = dt.timezone(dt.timedelta(hours=2))


def a_target(**changes: object) -> TargetSettings:
    return TargetSettings.model_validate(
        {
            "name": "heart",
            "url": "http://127.0.0.1:8080",
            "requests": [{}],
            "slo": {"latency": {"p95": "100ms"}},
            **changes,
        }
    )


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=ZONE)


def test_a_plain_target_may_be_loaded() -> None:
    check_permission(a_target(), at("2025-06-02T12:00"))


def test_production_needs_to_be_opened_for_load() -> None:
    with pytest.raises(NotAllowed, match="'heart' is production") as caught:
        check_permission(a_target(production=True), at("2025-06-02T12:00"))
    assert "allow_production_load" in str(caught.value.hint)

    check_permission(a_target(production=True, allow_production_load=True), at("2025-06-02T12:00"))


# Every weekday from 09:00 for 90 minutes; 2025-06-02 is a Monday.
OFFICE = BlackoutSettings.model_validate({"cron": "0 9 * * mon-fri", "duration": "90m"})


@pytest.mark.parametrize(
    ("when", "ends"),
    [
        ("2025-06-02T08:59:59", None),
        ("2025-06-02T09:00:00", "2025-06-02T10:30"),
        ("2025-06-02T10:29:59", "2025-06-02T10:30"),
        ("2025-06-02T10:30:00", None),
        ("2025-06-01T09:30:00", None),  # a Sunday
    ],
)
def test_a_blackout_holds_from_its_match_to_its_end(when: str, ends: str | None) -> None:
    assert blackout_end(OFFICE, at(when)) == (at(ends) if ends else None)


def test_windows_that_overlap_are_one() -> None:
    half_hourly = BlackoutSettings.model_validate({"cron": "0,30 9 * * *", "duration": "45m"})

    assert blackout_end(half_hourly, at("2025-06-02T09:40")) == at("2025-06-02T10:15")


def test_a_blackout_refuses_and_says_until_when() -> None:
    target = a_target(blackout=[{"cron": "0 9 * * *", "duration": "1h"}])

    with pytest.raises(NotAllowed, match=r"blackout window \(0 9 \* \* \*\) until 10:00"):
        check_permission(target, at("2025-06-02T09:30"))
    check_permission(target, at("2025-06-02T11:00"))


def test_only_configured_hosts_and_ports_are_allowed() -> None:
    settings = AdvisorSettings(
        targets=[
            a_target(),
            a_target(name="lung", url="https://models.example"),
            a_target(name="liver", url="http://127.0.0.1:8080/v2"),
        ]
    )

    assert allowed_hosts(settings) == ("127.0.0.1:8080", "models.example:443")


def test_the_next_blackout_is_the_soonest_of_all() -> None:
    blackout = [{"cron": "0 8 * * *", "duration": "10h"}, {"cron": "30 6 * * *", "duration": "1h"}]
    target = a_target(blackout=blackout)
    assert next_blackout(target, at("2025-06-02T05:00")) == at("2025-06-02T06:30")
    assert next_blackout(target, at("2025-06-02T07:00")) == at("2025-06-02T08:00")
    assert next_blackout(a_target(), at("2025-06-02T07:00")) is None
