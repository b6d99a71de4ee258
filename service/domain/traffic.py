"""Totals of requests, as sums that add."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal

from service.domain.basics import DecisionKind


@dataclass(frozen=True, slots=True)
class Group:
    """The properties that requests are grouped by; every request belongs to one group."""

    day: date  # of the decision, UTC
    arm_id: str  # the arm that answered, or else the last one tried
    kind: DecisionKind  # `fallback`: another arm than the decided one answered
    holdout: bool | None
    is_priced: bool = True  # whether the cost of every call is known


@dataclass(frozen=True, slots=True)
class TrafficTotals:
    """The totals of a group of requests; exact, so that they add to the same sums in any order.

    The squares are sums of each request's squared value, for the variance.
    """

    n_requests: int = 0
    n_ok: int = 0
    n_failed: int = 0
    n_cancelled: int = 0
    n_unpriced: int = 0  # requests with a call whose cost nobody knows
    cost_usd: Decimal = Decimal(0)  # of all calls of known cost, retries included
    cost_usd_squares: Decimal = Decimal(0)
    prompt_tokens: int = 0  # of the last call of each request, as are all tokens below
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    n_timed: int = 0  # answers of a model, without those from the cache
    latency_s: Decimal = Decimal(0)
    n_streamed: int = 0  # the timed answers that have a time to first content
    ttft_s: Decimal = Decimal(0)
    n_rated: int = 0  # by a user, and not withdrawn
    reward: Decimal = Decimal(0)
    reward_squares: Decimal = Decimal(0)

    def __add__(self, other: TrafficTotals) -> TrafficTotals:
        return TrafficTotals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(TrafficTotals)))

    @property
    def n_finished(self) -> int:
        """Requests whose outcome is known."""
        return self.n_ok + self.n_failed + self.n_cancelled


def total(totals: Iterable[TrafficTotals]) -> TrafficTotals:
    return sum(totals, TrafficTotals())
