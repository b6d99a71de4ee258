"""Call arms until one answers: the decided one, and those that remain where it fails or falls short."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias, TypeVar

import numpy as np

from bandit.policy import draw, without
from service.arms.catalog import Catalog, list_cost_usd
from service.completion.deduplication import AnsweredElsewhere
from service.completion.escalation import Escalation
from service.completion.model_call import ModelCall
from service.completion.request_run import RequestRun
from service.domain.arm import Arm
from service.domain.decision import LoggedDecision
from service.domain.feedback import Signal
from service.domain.ports import Clock
from service.domain.query import Query
from service.errors import (
    AllArmsFailed,
    ProviderCutShort,
    ProviderError,
    ProviderFellShort,
    ProviderOutOfCredit,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    no_answer,
)

T = TypeVar("T")
LIMITS = {kind.__name__: kind for kind in (ProviderRateLimited, ProviderOutOfCredit)}
Ask: TypeAlias = Callable[[RequestRun, ModelCall], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class RequestBudget:
    """What may be spent on answering one request."""

    until: datetime
    n_attempts: int


@dataclass(frozen=True, slots=True)
class NextArm:
    """The arm to be called next."""

    arm_id: str
    propensity: float
    is_escalation: bool = False


@dataclass(frozen=True, slots=True)
class FallbackChain:
    """Makes the calls of a run; what comes of each is noted in the run and told to the breaker.

    Args:
        max_attempts: calls for one request at the most.
        deadline_s: from the request to its answer, or to the first content of a stream.
    """

    catalog: Catalog
    rng: np.random.Generator
    clock: Clock
    max_attempts: int
    deadline_s: float
    escalation: Escalation

    def budget(self, query: Query, logged: LoggedDecision | None) -> RequestBudget:
        """What the request may spend from now on.

        Each earlier call under its id, or else each retry its client says it made, leaves one call less;
        one is always left.
        """
        n_before = max(query.n_client_retries, 0 if logged is None else logged.n_attempts)
        until = self.clock() + timedelta(seconds=self.deadline_s)
        return RequestBudget(until, max(1, self.max_attempts - n_before))

    async def call_until_answered(
        self, run: RequestRun, budget: RequestBudget, ask: Ask[T]
    ) -> tuple[ModelCall, T]:
        """Call the decided arm, and on failure the next one by probability.

        An answer that falls short is the caller's only when no better one comes. The call that is
        returned may still go on: say how it ended by `succeeded`, `failed` or `cancelled`.

        Raises:
            ProviderRejected: the provider found the request faulty, and no other arm may accept it.
            AllArmsFailed: none is left, or enough were tried, or the time is over.
        """
        call, answer = await self._until_any(run, budget, ask, NextArm(run.arm_id, run.propensity))
        while call.fault is not None:
            self._set_aside(run, call, call.fault)
            next_arm = self._better(run, budget, call)
            if next_arm is None:
                break
            try:
                call, answer = await self._until_any(run, budget, ask, next_arm)
            except (ProviderRejected, AllArmsFailed):
                break
        run.last = call
        return call, answer

    async def _until_any(
        self, run: RequestRun, budget: RequestBudget, ask: Ask[T], next_arm: NextArm
    ) -> tuple[ModelCall, T]:
        """Call until an answer comes, whatever it is worth."""
        while True:
            arm = self._find(next_arm.arm_id)
            why = "no longer exists" if arm is None else self.catalog.reason_against(arm, run.query)
            entry = "refused" if arm is None or why is not None else self.catalog.breaker.begin(arm)
            is_kept = run.is_in_tool_loop and next_arm.arm_id == run.arm_id
            if why is None and entry == "refused" and not is_kept:
                why = "is cooling down"
            if arm is None or why is not None:  # which was not so when it was drawn
                run.passed_over[next_arm.arm_id] = str(why)
                next_arm = self._next(run, budget)
                continue
            call = run.call(arm, next_arm.propensity, self.clock())
            call.timeout_s = min(arm.timeout_s, self._left_s(budget))
            call.is_trial, call.is_escalation = entry == "trial", next_arm.is_escalation
            try:
                answer = await ask(run, call)
                call.fault = await self.escalation.fault(call)
                return call, answer
            except ProviderError as error:
                self.failed(run, call, self._seen_fairly(call, error))
                if self._may_strip_thinking(run, call, error, budget):
                    run.stripped_thinking.add(arm.arm_id)
                    continue
                if isinstance(error, ProviderRejected) and not (
                    error.another_may_accept and self._left(run, budget)
                ):
                    raise
                next_arm = self._next(run, budget, error)
            except AnsweredElsewhere:
                if call.answered_at is None:
                    self.cancelled(run, call)
                else:
                    self.succeeded(run, call)
                raise
            except BaseException:  # the caller left, or a bug: a trial's place is free again all the same
                self.cancelled(run, call)
                raise

    def succeeded(self, run: RequestRun, call: ModelCall) -> None:
        """The answer is whole."""
        self._inform_breaker(call)
        run.finished(call, self.clock())

    def failed(self, run: RequestRun, call: ModelCall, error: ProviderError) -> None:
        """The call broke off, before its first content or after."""
        if isinstance(error, ProviderCutShort):
            self.catalog.breaker.released(call.arm, is_trial=call.is_trial)
        else:
            self.catalog.breaker.failed(call.arm, error, is_trial=call.is_trial)
        run.failed(call, error, self.clock())

    def cancelled(self, run: RequestRun, call: ModelCall) -> None:
        """We gave the call up, which says nothing about the arm."""
        if not call.breaker_informed:
            self.catalog.breaker.released(call.arm, is_trial=call.is_trial)
        run.cancelled(call, self.clock())

    def any_exists(self, arm_ids: Iterable[str]) -> bool:
        """Whether one of these arms is still in the catalogue."""
        return any(self._find(arm_id) is not None for arm_id in arm_ids)

    # --- answers that fall short

    def _set_aside(self, run: RequestRun, call: ModelCall, fault: Signal) -> None:
        """Keep the answer until a better one comes."""
        self._inform_breaker(call)
        run.fell_short[call.arm.arm_id] = fault
        run.failed(call, ProviderFellShort(fault), self.clock())

    def _inform_breaker(self, call: ModelCall) -> None:
        """Report a whole answer to the breaker, once: an empty one counts as a failure."""
        if call.breaker_informed:
            return
        call.breaker_informed = True
        if call.is_empty:
            empty = ProviderFellShort("empty")
            self.catalog.breaker.failed(call.arm, empty, is_trial=call.is_trial)
        else:
            self.catalog.breaker.succeeded(call.arm)

    def _better(self, run: RequestRun, budget: RequestBudget, call: ModelCall) -> NextArm | None:
        """Who may answer better: a stronger arm, or, where the answer was empty, any other."""
        left = self._left(run, budget)
        stronger = self.escalation.stronger_arm(run, call, left)
        if stronger is not None:
            return NextArm(stronger, propensity=1.0, is_escalation=True)
        return self._drawn(run, left) if call.is_empty and left else None

    # --- arms that remain

    def _next(self, run: RequestRun, budget: RequestBudget, error: ProviderError | None = None) -> NextArm:
        """Draw among the arms that remain, by their probability."""
        left = self._left(run, budget)
        if not left:
            raise self._all_failed(run, budget) from error
        return self._drawn(run, left)

    def _drawn(self, run: RequestRun, left: set[str]) -> NextArm:
        arm_ids = list(run.probabilities)
        tried_or_cooling_down = [i for i, arm_id in enumerate(arm_ids) if arm_id not in left]
        probabilities = without(np.array(list(run.probabilities.values())), tried_or_cooling_down)
        choice = draw(probabilities, self.rng)
        return NextArm(arm_ids[choice.index], choice.propensity)

    def _all_failed(self, run: RequestRun, budget: RequestBudget) -> AllArmsFailed:
        tried = [f"{a.arm_id}: {a.error_message}" for a in run.attempts if a.status == "failed"]
        tried += [f"{arm_id}: {why}" for arm_id, why in run.passed_over.items()]
        if self._left_s(budget) == 0:
            tried.append(f"the time for a request is over ({self.deadline_s:g} s)")
        arms = [arm for arm_id in run.probabilities if (arm := self._find(arm_id)) is not None]
        wait_s = min((self.catalog.breaker.reopens_in_s(arm) for arm in arms), default=0.0)
        message = f"no model answered: {'; '.join(tried)}"
        return no_answer(self._causes(run), message, retry_after_s=wait_s or None)

    def _causes(self, run: RequestRun) -> list[type[ProviderError]]:
        """What the arms whose turn came failed of, or rest of."""
        of_calls = [
            LIMITS.get(str(a.error_type), ProviderError) for a in run.attempts if a.status == "failed"
        ]
        passed_over = [self._find(arm_id) for arm_id in run.passed_over]
        of_cooling_down = [
            ProviderError if arm is None else self.catalog.breaker.open_cause(arm) for arm in passed_over
        ]
        return [*of_calls, *of_cooling_down]

    def _may_strip_thinking(
        self, run: RequestRun, call: ModelCall, error: ProviderError, budget: RequestBudget
    ) -> bool:
        """Whether the same arm is to be asked again, once, without what was thought before."""
        is_blamed = isinstance(error, ProviderRejected) and error.blames_thinking
        return is_blamed and call.arm.arm_id not in run.stripped_thinking and not self._is_spent(run, budget)

    def _left(self, run: RequestRun, budget: RequestBudget) -> set[str]:
        """The arms that may still be tried."""
        if self._is_spent(run, budget):
            return set()
        return {arm_id for arm_id in run.untried if self._may_be_called(run, arm_id)}

    def _is_spent(self, run: RequestRun, budget: RequestBudget) -> bool:
        return len(run.attempts) >= budget.n_attempts or self._left_s(budget) == 0

    def _left_s(self, budget: RequestBudget) -> float:
        return max(0.0, (budget.until - self.clock()).total_seconds())

    def _seen_fairly(self, call: ModelCall, error: ProviderError) -> ProviderError:
        """The error, unless the deadline left the arm less than half of the time it should have."""
        fair_s = min(call.arm.timeout_s, self.deadline_s) / 2
        if isinstance(error, ProviderTimeout) and call.timeout_s < fair_s:
            return ProviderCutShort(str(error))
        return error

    def _may_be_called(self, run: RequestRun, arm_id: str) -> bool:
        arm = self._find(arm_id)
        if arm is None or self.catalog.breaker.open_reason(arm) is not None:
            return False
        if self.catalog.reason_against(arm, run.query) is not None:
            return False
        dearest = run.query.options.max_cost_usd
        return dearest is None or run.cost_usd + list_cost_usd(arm, run.query) <= dearest

    def _find(self, arm_id: str) -> Arm | None:
        """The arm of exactly this id; a retry may know one that has left the catalogue since."""
        return next((arm for arm in self.catalog.arms if arm.arm_id == arm_id), None)
