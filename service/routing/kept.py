"""The arms weighed by their global evidence, for requests whose arm is certain; kept for a short time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bandit.arrays import Floats
from service.domain.arm import Arm
from service.domain.candidates import CandidateColumns
from service.domain.query import Query
from service.routing.selection import WeighedArms

KEPT = timedelta(seconds=1.0)
MAX_KEPT = 1_000  # tenants times sets of arms

Key = tuple[str, tuple[str, ...], tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class KeptWeighing:
    """The arms weighed without a context, and the candidates of the log.

    Its expected dollars are those of the query that it was made for.
    """

    arms: Sequence[Arm]
    made_at: datetime
    weighed: WeighedArms
    probabilities: Floats
    candidates: CandidateColumns

    def is_fresh(self, arms: Sequence[Arm], n_rated: float, now: datetime) -> bool:
        """Whether these are still the arms, and nothing was rated since."""
        is_recent = timedelta(0) <= now - self.made_at < KEPT
        return is_recent and self.weighed.n_rated == n_rated and self.arms == arms


@dataclass(slots=True)
class KeptWeighings:
    """Weighings by tenant and arms, each until the next rating, and for a second at most.

    Nothing is chosen by them: they tell the log, and the detection of changes, what was expected of the arm,
    and they order the other arms in case its call fails.
    """

    _kept: dict[Key, KeptWeighing] = field(default_factory=dict)

    def of(
        self,
        query: Query,
        arms: Sequence[Arm],
        n_rated: float,
        now: datetime,
        weigh: Callable[[Query, Sequence[Arm]], KeptWeighing],
    ) -> KeptWeighing:
        """The weighing of these arms for the query's tenant and weights; `weigh` makes a new one."""
        options = query.options
        weights = options.feedback_weight, options.latency_weight, options.cost_weight
        key = query.tenant, tuple([arm.arm_id for arm in arms]), weights
        kept = self._kept.get(key)
        if kept is not None and kept.is_fresh(arms, n_rated, now):
            return kept
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        kept = self._kept[key] = weigh(query, arms)
        return kept
