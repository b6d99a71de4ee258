"""Reports for tests, counted from a FakeStore."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from service.domain.answer import Outcome
from service.domain.decision import Decision
from service.domain.traffic import Group, TrafficTotals
from service.store.evidence.sums import nine_places_or_zero, six_places
from tests.fakes_store import FakeStore


@dataclass(frozen=True, slots=True)
class FakeReports:
    """A Reports in memory."""

    store: FakeStore

    async def traffic(self, tenant: str, since: datetime, until: datetime) -> dict[Group, TrafficTotals]:
        self.store.check()
        groups: defaultdict[Group, TrafficTotals] = defaultdict(TrafficTotals)
        for decision in self.store.decisions.values():
            query = decision.query
            if query.dialect == "import" or query.tenant != tenant:
                continue
            if since <= decision.decided_at < until:
                groups[self._group(decision)] += self._totals(decision)
        return dict(groups)

    def _group(self, decision: Decision) -> Group:
        last = self.store.outcomes.get(decision.decision_id, decision)
        is_priced = all(a.cost_usd is not None for a in self.store.attempts_of(decision.decision_id))
        day = decision.decided_at.astimezone(UTC).date()
        return Group(day, last.arm_id, last.kind, decision.holdout, is_priced)

    def _totals(self, decision: Decision) -> TrafficTotals:
        attempts = self.store.attempts_of(decision.decision_id)
        calls = [nine_places_or_zero(a.cost_usd) for a in attempts]
        spent = TrafficTotals(
            n_requests=1,
            n_unpriced=int(any(a.cost_usd is None for a in attempts)),
            cost_usd=sum(calls, Decimal(0)),
            cost_usd_squares=sum(calls, Decimal(0)) ** 2,
        )
        return spent + self._answered(decision) + self._rated(decision)

    def _answered(self, decision: Decision) -> TrafficTotals:
        outcome = self.store.outcomes.get(decision.decision_id)
        if outcome is None:
            return TrafficTotals()
        counted = TrafficTotals(
            n_ok=int(outcome.status == "ok"),
            n_failed=int(outcome.status == "failed"),
            n_cancelled=int(outcome.status == "cancelled"),
            prompt_tokens=outcome.usage.prompt_tokens,
            cached_tokens=outcome.usage.cached_tokens,
            cache_write_tokens=outcome.usage.cache_write_tokens,
            completion_tokens=outcome.usage.completion_tokens,
            reasoning_tokens=outcome.usage.reasoning_tokens,
        )
        return counted + _timed(outcome)

    def _rated(self, decision: Decision) -> TrafficTotals:
        rewards = [stored.event.reward for stored in self.store.feedback(decision.decision_id)]
        if not rewards or rewards[-1] is None:
            return TrafficTotals()
        reward = rewards[-1].value
        return TrafficTotals(n_rated=1, reward=reward, reward_squares=reward**2)


def _timed(outcome: Outcome) -> TrafficTotals:
    if outcome.status != "ok" or outcome.kind == "cache":
        return TrafficTotals()
    latency = TrafficTotals(n_timed=1, latency_s=six_places(outcome.latency_s))
    if outcome.ttft_s is None:
        return latency
    return latency + TrafficTotals(n_streamed=1, ttft_s=six_places(outcome.ttft_s))
