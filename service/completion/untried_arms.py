"""Which arm is called next: by the operator's order, or by the probabilities of the decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from bandit.policy import draw, without
from service.arms.catalog import Catalog
from service.arms.eligibility import list_cost_usd
from service.completion.request_run import RequestRun
from service.domain.arm import Arm
from service.domain.ports import Clock
from service.domain.query import Query
from service.domain.value import value


@value
class RequestBudget:
    """The calls and the time that one request may use."""

    until: datetime
    n_attempts: int


@value
class NextArm:
    """The arm to call next."""

    arm_id: str
    propensity: float
    is_escalation: bool = False


@dataclass(frozen=True, slots=True)
class UntriedArms:
    """The arms that may still be called for a run."""

    catalog: Catalog
    rng: np.random.Generator
    clock: Clock

    def next(self, run: RequestRun, budget: RequestBudget) -> NextArm | None:
        """The next arm of the operator's order, else one drawn by probability, else the last resort."""
        if listed := self.in_order(run, budget):
            return NextArm(listed[0], propensity=1.0)
        if weighed := self.weighed(run, budget):
            return self._drawn(run, weighed)
        last_resort = self._last_resort(run, budget)
        return None if last_resort is None else NextArm(last_resort, propensity=1.0)

    def any(self, run: RequestRun, budget: RequestBudget, *, but: str | None = None) -> bool:
        """Whether an arm other than this one may still be called."""
        if self.is_spent(run, budget):
            return False
        listed = self.in_order(run, budget)
        if run.is_just_decided and run.query.options.max_cost_usd is None:  # whose rest tags may have used up
            return any(arm_id != but for arm_id in (*run.probabilities, *listed))
        if any(arm_id != but for arm_id in listed):
            return True
        return any(self.may_be_called(run, arm_id, run.query) for arm_id in run.untried - {but})

    def weighed(self, run: RequestRun, budget: RequestBudget) -> set[str]:
        """The arms of the decision that may still be called."""
        if self.is_spent(run, budget):
            return set()
        return {arm_id for arm_id in run.untried if self.may_be_called(run, arm_id, run.query)}

    def in_order(self, run: RequestRun, budget: RequestBudget) -> list[str]:
        """The arms that may still be called of those that the operator lists after the decided one.

        They are arms of the decision, unless the client named its model: then no other was weighed, and the
        caller's own key goes to no other.
        """
        order = self.catalog.fallback_order.after(run.arm_id)
        if not order or self.is_spent(run, budget):
            return []
        if run.query.requested_model is None:
            order = tuple(arm_id for arm_id in order if arm_id in run.probabilities)
        else:
            order = tuple(arm_id for arm_id in order if self.catalog.may_replace(arm_id))
        untried = [arm_id for arm_id in order if arm_id not in run.tried]
        refused = self.catalog.refused.against(self._arms(untried), run.query)
        return [a for a in untried if a not in refused and self.may_be_called(run, a, run.query)]

    def is_spent(self, run: RequestRun, budget: RequestBudget) -> bool:
        """Whether the request may make no more calls."""
        return len(run.attempts) >= budget.n_attempts or self.left_s(budget) == 0

    def left_s(self, budget: RequestBudget) -> float:
        """Seconds that the request has left."""
        return max(0.0, (budget.until - self.clock()).total_seconds())

    def _arms(self, arm_ids: list[str]) -> list[Arm]:
        return [arm for arm_id in arm_ids if (arm := self.catalog.in_use(arm_id)) is not None]

    def _drawn(self, run: RequestRun, callable_ids: set[str]) -> NextArm:
        refused = self.catalog.refused.against(
            [a for a in self.catalog.arms if a.arm_id in callable_ids], run.query
        )
        callable_ids = callable_ids - refused.keys() or callable_ids
        arm_ids = list(run.probabilities)
        excluded = [i for i, arm_id in enumerate(arm_ids) if arm_id not in callable_ids]
        probabilities = without(np.array(list(run.probabilities.values())), excluded)
        choice = draw(probabilities, self.rng)
        return NextArm(arm_ids[choice.index], choice.propensity)

    def _last_resort(self, run: RequestRun, budget: RequestBudget) -> str | None:
        """The arm that was left out for a refused feature, the least recently refused one of several."""
        if self.is_spent(run, budget):
            return None
        tried = run.tried | run.probabilities.keys()
        others = [arm for arm in self.catalog.arms if arm.arm_id not in tried]
        refused = self.catalog.refused.against(others, run.query)
        callable_ids = [arm_id for arm_id in refused if self.may_be_called(run, arm_id, run.query)]
        return min(callable_ids, key=lambda arm_id: refused[arm_id].until, default=None)

    def may_be_called(self, run: RequestRun, arm_id: str, query: Query) -> bool:
        """Whether the arm may be called for this form of the run's query, and the client can afford it."""
        arm = self.catalog.in_use(arm_id)
        if arm is None or self.catalog.breaker.open_reason(arm) is not None:
            return False
        if self.catalog.reason_against(arm, query) is not None:
            return False
        max_cost_usd = query.options.max_cost_usd
        if max_cost_usd is None:
            return True
        spent = run.cost_usd
        return spent is not None and spent + list_cost_usd(arm, query) <= max_cost_usd
