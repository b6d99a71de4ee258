"""What requests came to, as sums that add."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import date
from decimal import Decimal

from service.domain.basics import DecisionKind


@dataclass(frozen=True, slots=True)
class Group:
    """Requests that are alike; every request belongs to one group."""

    day: date  # of the decision, UTC
    arm_id: str  # that answered, or was tried last
    kind: DecisionKind  # `fallback` when another arm than the decided one answered
    holdout: bool | None


@dataclass(frozen=True, slots=True)
class TrafficTotals:
    """What a group of requests came to; exact, so that tallies add to the same in any order.

    The squares are of each request's own number: they tell its spread.
    """

    n_requests: int = 0
    n_ok: int = 0
    n_failed: int = 0
    n_cancelled: int = 0
    cost_usd: Decimal = Decimal(0)  # of all calls, retries included
    cost_usd_squares: Decimal = Decimal(0)
    prompt_tokens: int = 0  # of the last call of each request, as are the others
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    n_timed: int = 0  # answers that a model gave now: not those from the cache
    latency_s: Decimal = Decimal(0)
    n_streamed: int = 0  # of them, those whose first content was timed
    ttft_s: Decimal = Decimal(0)
    n_rated: int = 0  # by somebody, and not withdrawn
    reward: Decimal = Decimal(0)
    reward_squares: Decimal = Decimal(0)

    def __add__(self, other: TrafficTotals) -> TrafficTotals:
        return TrafficTotals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(TrafficTotals)))

    @property
    def n_finished(self) -> int:
        """Requests whose outcome is known."""
        return self.n_ok + self.n_failed + self.n_cancelled


def total(tallies: Iterable[TrafficTotals]) -> TrafficTotals:
    return sum(tallies, TrafficTotals())
