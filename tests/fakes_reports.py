"""Reports for tests, counted from a FakeStore."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from service.domain.answer import Outcome
from service.domain.decision import Decision
from service.domain.logged_requests import Place, RequestFilter, RequestSummary
from service.domain.traffic import Group, TrafficTotals
from service.store.connection.values import storable
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

    async def requests(
        self, tenant: str, wanted: RequestFilter, limit: int, after: Place | None = None
    ) -> list[RequestSummary]:
        self.store.check()
        ours = [d for d in self.store.decisions.values() if d.query.tenant == tenant]
        ours = [d for d in ours if d.query.dialect != "import"]
        summaries = sorted(map(self._summary, ours), key=lambda s: _order(s.place), reverse=True)
        return [s for s in summaries if matches(s, wanted) and _is_behind(s.place, after)][:limit]

    def _summary(self, decision: Decision) -> RequestSummary:
        outcome = self.store.outcomes.get(decision.decision_id)
        last, query = outcome or decision, decision.query
        costs = [attempt.cost_usd for attempt in self.store.attempts_of(decision.decision_id)]
        is_known = outcome is not None and None not in costs
        stored = self.store.events.get(decision.decision_id, [])
        scores = [event.event.reward for event in stored if event.event.signal is None]
        return RequestSummary(
            Place(decision.decided_at, decision.decision_id),
            query.request_id,
            query.dialect,
            query.stream,
            query.requested_model,
            last.arm_id,
            last.kind,
            "pending" if outcome is None else outcome.status,
            query.options.task,
            storable(query.options.session_id),
            None if outcome is None else outcome.latency_s,
            None if outcome is None else outcome.ttft_s,
            None if outcome is None else outcome.usage.prompt_tokens,
            None if outcome is None else outcome.usage.completion_tokens,
            float(sum(cost or 0 for cost in costs)) if is_known else None,
            float(scores[-1].value) if scores and scores[-1] is not None else None,
            tuple(event.event.signal for event in stored if event.event.signal is not None),
            decision.rule,
            {tag.name: tag.value for tag in decision.tags},
        )

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


def matches(summary: RequestSummary, wanted: RequestFilter) -> bool:
    """Whether a list with this filter has the request."""
    decided_at = summary.place.decided_at
    return (
        (wanted.since is None or decided_at >= wanted.since)
        and (wanted.until is None or decided_at < wanted.until)
        and wanted.arm_id in {None, summary.arm_id}
        and wanted.kind in {None, summary.kind}
        and wanted.task in {None, summary.task}
        and wanted.status in {None, summary.status}
        and wanted.rated in {None, summary.reward is not None}
        and storable(wanted.session_id) in {None, summary.session_id}
        and wanted.rule in {None, summary.rule}
        and (wanted.tag is None or wanted.tag in summary.tags.items())
    )


def _order(place: Place) -> tuple[datetime, UUID]:
    return place.decided_at, place.decision_id


def _is_behind(place: Place, after: Place | None) -> bool:
    return after is None or _order(place) < _order(after)


def _timed(outcome: Outcome) -> TrafficTotals:
    if outcome.status != "ok" or outcome.kind == "cache":
        return TrafficTotals()
    latency = TrafficTotals(n_timed=1, latency_s=six_places(outcome.latency_s))
    if outcome.ttft_s is None:
        return latency
    return latency + TrafficTotals(n_streamed=1, ttft_s=six_places(outcome.ttft_s))
