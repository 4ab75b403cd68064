"""Recommendations from what is stored: computed once for each run and minute, answered in milliseconds."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypedDict

from advisor.demand.history import DemandHistory, on_grid
from advisor.domain import (
    AdviceStatus,
    Behaviour,
    Capacity,
    Drift,
    Recommendation,
    Refusal,
    Run,
    Simulation,
    Slo,
    VerdictStatus,
)
from advisor.observe.kubernetes import Workload
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from advisor.scaling.simulation import SHORTEST, Setting, priced
from advisor.service import fits
from advisor.service.terms import HISTORY, demand_of, policy_of, today_of
from advisor.service.versions import recomputed
from advisor.service.whatif import AS_CONFIGURED, Question
from advisor.service.workers import Workers
from advisor.service.workloads import completed, differences, version_of
from advisor.settings import AdvisorSettings, TargetSettings
from advisor.store import Outlook, ProductionFit, Store

FRESH = 300.0  # s; an older window does not tell how many replicas there are
RENEW = 45.0  # s; older answers are computed anew in the background
OLDEST = 150.0  # s; an answer that is older is computed anew before it is given
OUTLOOK = 3600.0  # s; older forecasts and simulations are computed anew
_LATE = 7200.0  # s; a window that came later than this would change an older minute
_KEPT = 4096  # answers

_Key = tuple[str, float | None, Question]


@dataclass(frozen=True, slots=True)
class Measured:
    """A capacity, or why there is none, under the objective `slo`; `fit` is the server found in production.

    `key` is the run's id, or names the fit to production.
    """

    key: str
    slo: Slo
    answer: Capacity | Refusal | None
    fit: bytes | None = None

    @classmethod
    def by_run(cls, run: Run) -> Measured:
        """By a load test."""
        return cls(run.run_id, run.slo, run.capacity)

    @classmethod
    def by_production(cls, fit: ProductionFit) -> Measured:
        """By watching."""
        return cls(f"production {fit.at:.0f}", fit.slo, fit.answer, fit.model)


@dataclass(frozen=True, slots=True)
class Basis:
    """What a target's advice rests on; `doubts` are said with it."""

    measured: Measured | None
    doubts: tuple[str, ...]
    history: DemandHistory | None
    replicas: int | None
    outlook: Outlook | None
    drift: Drift | None  # of production from what was measured
    ended: float | None  # when the newest run that may count has ended
    at: float


class Advice:
    """Thread-safe. A run that ends counts at once, new windows within two minutes."""

    def __init__(
        self,
        settings: AdvisorSettings,
        store: Store,
        workers: Workers,
        workload: Callable[[str], Workload | None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._workload = workload  # what runs in the cluster, where that is known
        self._store = store
        self._workers = workers
        self._lock = threading.Lock()
        self._bases: dict[str, Basis] = {}
        self._answers: OrderedDict[_Key, Recommendation] = OrderedDict()
        self._moved: OrderedDict[tuple[str, Slo], Capacity | Refusal] = OrderedDict()

    def recommendation(
        self,
        target: TargetSettings,
        question: Question = AS_CONFIGURED,
        *,
        now: float,
    ) -> Recommendation:
        """Advice for one target at `now` (Unix seconds)."""
        ended = self._store.runs.last_ended((target.name,)).get(target.name)
        return self._answer(target, ended, question, now, OLDEST)

    def all(self, *, now: float) -> tuple[Recommendation, ...]:
        """Advice for every target."""
        ended = self._store.runs.last_ended([target.name for target in self._settings.targets])
        return tuple(
            self._answer(target, ended.get(target.name), AS_CONFIGURED, now, OLDEST)
            for target in self._settings.targets
        )

    @property
    def rests_on_a_server(self) -> bool:
        """Whether an identified server is behind any answer so far: questions may need it simulated."""
        with self._lock:
            known = [basis.measured.answer for basis in self._bases.values() if basis.measured is not None]
        return any(isinstance(answer, Capacity) and answer.method == "identification" for answer in known)

    def renew(self, target: TargetSettings, *, now: float) -> None:
        """Compute its answer anew if it has an age; called in the background."""
        ended = self._store.runs.last_ended((target.name,)).get(target.name)
        self._answer(target, ended, AS_CONFIGURED, now, RENEW)

    def version(self, target: TargetSettings) -> str | None:
        """What is advised on: other versions' measurements count only with a doubt."""
        return version_of(target, self._workload(target.name))

    # ---------------------------------------------------------------------------------------------------

    def _answer(
        self,
        target: TargetSettings,
        ended: float | None,
        question: Question,
        now: float,
        oldest: float,
    ) -> Recommendation:
        key = (target.name, ended, question)
        with self._lock:
            found = self._answers.get(key)
        if found is not None and now - found.generated_at <= oldest:
            return found
        found = self._compute(target, self._basis(target, ended, now, oldest), question, now)
        with self._lock:
            self._answers[key] = found
            self._answers.move_to_end(key)
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
        return found

    def due(self, target: TargetSettings, *, now: float) -> Basis | None:
        """The basis of an outlook that is old, or of another run; None when there is nothing to compute."""
        ended = self._store.runs.last_ended((target.name,)).get(target.name)
        basis = self._basis(target, ended, now, OLDEST)
        outlook = basis.outlook
        if basis.history is None:
            return None
        if outlook is None or now - outlook.at >= OUTLOOK:
            return basis
        key = basis.measured.key if basis.measured else None
        replayed = _replay_name(self._slo(target, basis), self._policy(target), self._today(target))
        return None if (outlook.run_id, outlook.replayed) == (key, replayed) else basis

    def look_ahead(self, target: TargetSettings, basis: Basis, *, now: float) -> None:
        """Compute the outlook in a worker, and keep it for all advisors. Takes seconds."""
        if basis.history is None:
            return
        known = basis.measured
        capacity = known.answer if known and isinstance(known.answer, Capacity) else None
        policy, slo, today = self._policy(target), self._slo(target, basis), self._today(target)
        key = known.key if known else None
        found = self._workers.call(fits.outlook, capacity, slo, policy, basis.history, today, key, now)
        named = replace(found, replayed=_replay_name(slo, policy, today))
        self._store.outlooks.put(target.name, named)
        self.forget(target.name)

    def _policy(self, target: TargetSettings) -> ScalingPolicy:
        """As configured, completed by what runs in the cluster."""
        policy, running = policy_of(target, self._settings.stale_after), self._workload(target.name)
        return policy if running is None else completed(policy, running)

    def _today(self, target: TargetSettings) -> Setting | None:
        return today_of(target, self._workload(target.name))

    @staticmethod
    def _slo(target: TargetSettings, basis: Basis) -> Slo:
        """Of the measurement, where there is one: a replay is of the server as it was measured."""
        return basis.measured.slo if basis.measured else target.slo.slo()

    def forget(self, target: str) -> None:
        """Its next answer is computed anew: what it rests on has changed."""
        with self._lock:
            self._bases.pop(target, None)
            for key in [key for key in self._answers if key[0] == target]:
                del self._answers[key]

    def _basis(self, target: TargetSettings, ended: float | None, now: float, oldest: float) -> Basis:
        with self._lock:
            basis = self._bases.get(target.name)
        if basis is not None and basis.ended == ended and now - basis.at <= oldest:
            return basis
        fit = self._store.production.get(target.name)
        measured, doubts = self._measured(target, fit, now)
        same = fit is not None and measured is not None and fit.against == measured.key
        basis = Basis(
            measured,
            doubts,
            self._history(target, basis.history if basis is not None else None, now),
            self._replicas(target, now),
            self._store.outlooks.get(target.name),
            fit.drift if fit is not None and same else None,
            ended,
            now,
        )
        with self._lock:
            self._bases[target.name] = basis
        return basis

    def _measured(
        self, target: TargetSettings, fit: ProductionFit | None, now: float
    ) -> tuple[Measured | None, tuple[str, ...]]:
        """By a valid run of this version that is not stale, else by production, else by what there is."""
        version = self.version(target)
        valid = self._store.runs.newest(target.name, verdicts=(VerdictStatus.VALID,), version=version)
        if valid is not None and now - (valid.ended_at or now) <= self._settings.stale_after:
            return Measured.by_run(valid), ()
        watched = fit is not None and (fit.version, fit.slo) == (version, target.slo.slo())
        if fit is not None and watched and isinstance(fit.answer, Capacity):
            return Measured.by_production(fit), (_watched(fit, fit.answer),)
        run, doubts = self._run(target.name, version)
        if run is not None:
            return Measured.by_run(run), doubts
        if fit is None or not watched or not isinstance(fit.answer, Refusal):
            return None, ()
        if fit.answer.at_least is None and not fit.answer.infeasible:
            return None, (f"production does not tell it either: {fit.answer.reason}",)
        return Measured.by_production(fit), ()

    def _run(self, target: str, version: str | None) -> tuple[Run | None, tuple[str, ...]]:
        """The newest valid run of this version, else of another, else an inconclusive one; and the doubts."""
        newest = self._store.runs.newest
        doubts: list[str] = []
        for verdict in (VerdictStatus.VALID, VerdictStatus.INCONCLUSIVE):
            run = newest(target, verdicts=(verdict,), version=version)
            if run is None and version is not None:
                run = newest(target, verdicts=(verdict,))
                if run is not None:
                    doubts.append(
                        f"measured on version {run.version or 'unknown'}, not {version}: measure again"
                    )
            if run is None:
                continue
            if verdict is VerdictStatus.INCONCLUSIVE:
                doubts.append(_inconclusive(run))
            return run, tuple(doubts)
        return None, ()

    def _history(
        self, target: TargetSettings, before: DemandHistory | None, now: float
    ) -> DemandHistory | None:
        """Only what is newer than in `before`, with the hours that late windows may still change."""
        since = now - HISTORY if before is None else before.end - _LATE
        times, rates = self._store.windows.demand(target.name, since, now)
        if before is None:
            return on_grid(times, rates)
        return before.renewed(times, rates, since, now - HISTORY)

    def _replicas(self, target: TargetSettings, now: float) -> int | None:
        newest = self._store.windows.newest(target.name, now - FRESH)
        if newest is not None:
            return newest.replicas
        running = self._workload(target.name)
        return running.ready if running is not None else None

    def _compute(
        self, target: TargetSettings, basis: Basis, question: Question, now: float
    ) -> Recommendation:
        asked = question.slo or target.slo.slo()
        capacity = None if basis.measured is None else self._capacity(basis.measured, asked)
        demand, warnings = demand_of(target, basis.history, question.demand_rps, now)
        configured, running = self._policy(target), self._workload(target.name)
        if running is not None:
            warnings = (*warnings, *differences(configured, running))
        policy = question.amended(configured)
        found = recommend(
            target.name,
            asked,
            policy,
            capacity,
            now=now,
            demand=demand,
            history=basis.history,
            current_replicas=basis.replicas,
            forecast=basis.outlook.forecast if basis.outlook else None,
            asked_replicas=question.replicas,
            **_replayed(basis, asked, policy, self._today(target)),
        )
        if found.simulation is None and found.autoscaling is not None:
            found = replace(found, reasons=(*found.reasons, *_no_replay(basis, question)))
        found = replace(found, warnings=(*basis.doubts, *found.warnings, *warnings), drift=basis.drift)
        return _drifted(found, basis.drift) if basis.drift is not None and basis.drift.drifted else found

    def _capacity(self, known: Measured, asked: Slo) -> Capacity | Refusal | None:
        if known.slo == asked or not isinstance(known.answer, Capacity):
            return known.answer
        key = (known.key, asked)
        with self._lock:
            found = self._moved.get(key)
        if found is None:
            found = recomputed(
                known.answer,
                known.slo,
                asked,
                lambda: known.fit or self._store.runs.fit(known.key),
                self._workers.call,
            )
            with self._lock:
                self._moved[key] = found
                while len(self._moved) > _KEPT:
                    self._moved.popitem(last=False)
        return found


def _watched(fit: ProductionFit, found: Capacity) -> str:
    seen = f"{fit.requests} requests, at most {found.evidence.top_rate:.4g} req/s a replica"
    return f"read from production alone ({seen}): no load test has confirmed it"


def _drifted(advice: Recommendation, drift: Drift) -> Recommendation:
    """The advice is of a server that production no longer shows."""
    how = f"{drift.ratio:.2f} times" if drift.ratio > 1 else f"only {drift.ratio:.0%} of"
    reason = (
        f"Production's latency is {how} what the measured server would give to the same requests: the model, "
        "its requests or its machine changed since; measure again."
    )
    status = AdviceStatus.STALE if advice.status is AdviceStatus.OK else advice.status
    return replace(advice, status=status, reasons=(reason, *advice.reasons))


def _inconclusive(run: Run) -> str:
    """With the verdict's reasons, but for the one that a refusal says anyway."""
    said = run.capacity.reason if isinstance(run.capacity, Refusal) else None
    reasons = [reason for reason in (run.verdict.reasons if run.verdict else ()) if reason != said]
    text = f"no capacity run was valid yet; run {run.run_id} was inconclusive"
    return f"{text}: {'; '.join(reasons)}" if reasons else text


class _Replayed(TypedDict, total=False):
    simulation: Simulation
    behaviour: Behaviour


def _replay_name(slo: Slo, policy: ScalingPolicy, today: Setting | None) -> str:
    """Of all that a replay depends on but the capacity and the demand; a price is put on it afterwards."""
    unpriced = replace(policy, cost_per_replica_hour=None)
    return hashlib.sha256(repr((slo, unpriced, today)).encode()).hexdigest()[:16]


def _replayed(basis: Basis, asked: Slo, policy: ScalingPolicy, today: Setting | None) -> _Replayed:
    """Only where it was the same capacity, objective and settings that were replayed."""
    outlook, known = basis.outlook, basis.measured
    if outlook is None or known is None or outlook.run_id != known.key or known.slo != asked:
        return {}
    if outlook.simulation is None or outlook.behaviour is None:
        return {}
    if outlook.replayed != _replay_name(asked, policy, today):
        return {}
    simulation = priced(outlook.simulation, policy.cost_per_replica_hour)
    return {"simulation": simulation, "behaviour": outlook.behaviour}


def _no_replay(basis: Basis, question: Question) -> tuple[str, ...]:
    """Why no replay on past demand stands in the answer, where there could be one."""
    if basis.history is None or basis.history.seconds < SHORTEST:
        return ()
    if replace(question, demand_rps=None, replicas=None, cost_per_replica_hour=None) != AS_CONFIGURED:
        return ("The replay on past demand is left out: it is of the target as configured.",)
    return ("The replay on past demand is not ready yet: a running advisor computes it in the background.",)
