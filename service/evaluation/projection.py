"""What routing saves in a month and at round numbers of requests, projected from measured traffic alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal

from service.evaluation.savings import Assumed, HoldoutDifference

MONTH_DAYS = 30
MIN_DAYS = 7  # traffic differs by the day of the week
MIN_REQUESTS = 100
ROUND_NUMBERS = (10_000, 100_000, 1_000_000)  # of requests
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Saving:
    """Dollars saved, with a 95 % interval where one can be computed."""

    usd: float
    low_usd: float | None = None
    high_usd: float | None = None

    def of(self, n_requests: float) -> Saving:
        """The saving of so many requests, where this is that of one."""
        low, high = self.low_usd, self.high_usd
        return Saving(
            self.usd * n_requests,
            None if low is None else low * n_requests,
            None if high is None else high * n_requests,
        )


@dataclass(frozen=True, slots=True)
class Projection:
    """What so many requests in so many days saved, and what follows from it.

    Args:
        n_requests: those that the saving was measured on.
        days: how long they took, at least 0.
        per_request: None: it was not measured.
        reason: why not.
    """

    n_requests: int
    days: float
    per_request: Saving | None = None
    reason: str | None = None

    @property
    def requests_per_day(self) -> float | None:
        return self.n_requests / self.days if self.days else None

    @property
    def per_month(self) -> Saving | None:
        """The saving of MONTH_DAYS like the measured ones; None: there were too few."""
        if self.per_request is None or self.reason_of_month is not None:
            return None
        return self.per_request.of(self.n_requests / self.days * MONTH_DAYS)

    @property
    def reason_of_month(self) -> str | None:
        """Why there is no saving per month."""
        if self.reason is None and self.days < MIN_DAYS:
            return f"at least {MIN_DAYS} days of traffic are needed, got {self.days:.1f}"
        return self.reason

    @property
    def at_round_numbers(self) -> dict[int, Saving | None]:
        """The saving of these numbers of requests."""
        one = self.per_request
        return {n: None if one is None else one.of(n) for n in ROUND_NUMBERS}


def observed_days(days: Iterable[date], since: datetime, until: datetime) -> float:
    """The length of the traffic: from the first day with requests, within the window, to its end; in days."""
    first = min(days, default=None)
    if first is None:
        return 0.0
    start = max(since, datetime.combine(first, time(), UTC))
    return max(0.0, (until - start).total_seconds() / _DAY_S)


def against_baseline(n_requests: int, days: float, savings: Assumed | None, reason: str | None) -> Projection:
    """Against the same tokens at the baseline's price: arithmetic, so it has no interval.

    Args:
        savings: of these requests; None: they are not known, for this reason.
    """
    if savings is None or n_requests < MIN_REQUESTS:
        return Projection(n_requests, days, reason=reason or _too_few(n_requests))
    return Projection(n_requests, days, Saving(float(savings.saved_usd / Decimal(n_requests))))


def against_holdout(n_requests: int, days: float, found: HoldoutDifference) -> Projection:
    """Against held-out requests of the same traffic.

    Args:
        found: dollars per request, routed minus held out.
    """
    if found.difference is None or n_requests < MIN_REQUESTS:
        return Projection(n_requests, days, reason=found.reason or _too_few(n_requests))
    between = found.difference
    return Projection(n_requests, days, Saving(-between.value, -between.high, -between.low))


def _too_few(n_requests: int) -> str:
    return f"at least {MIN_REQUESTS} requests are needed, got {n_requests}"
