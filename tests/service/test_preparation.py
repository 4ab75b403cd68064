"""What a start computes before the first question."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from advisor.service import app
from advisor.service.advice import Advice
from advisor.service.app import Advisor
from advisor.settings import AdvisorSettings, TargetSettings
from tests.service.test_advice import a_target


def answered(folder: Path) -> set[str]:
    """Targets whose answer is there when the service has started."""
    targets = [a_target(), a_target("lung"), a_target("liver")]
    settings = AdvisorSettings(store=f"sqlite:///{folder}/advisor.db", targets=targets)

    async def started() -> set[str]:
        async with Advisor(settings, background=True) as advisor:
            return {target for target, *_ in advisor._advice._answers}

    return asyncio.run(started())


def test_every_target_has_its_answer_before_the_first_question(tmp_path: Path) -> None:
    assert answered(tmp_path) == {"heart", "lung", "liver"}


def test_a_start_does_not_wait_for_answers_that_take_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "PREPARATION", 0.0)
    assert len(answered(tmp_path)) < 3


def test_a_target_whose_answer_fails_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renew = Advice.renew

    def odd(self: Advice, target: TargetSettings, *, now: float) -> None:
        if target.name == "lung":
            raise ZeroDivisionError("an odd history")
        renew(self, target, now=now)

    monkeypatch.setattr(Advice, "renew", odd)
    assert answered(tmp_path) == {"heart", "liver"}
    assert "advice for lung could not be renewed" in caplog.text
