"""Call arms until one answers: the decided arm, then others if its call fails or its answer is faulty."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import structlog

from service.arms.catalog import Catalog
from service.completion.backoff import wait_before_retry_s
from service.completion.deduplication import AnsweredElsewhere
from service.completion.escalation import Escalation
from service.completion.metering import Metering
from service.completion.model_call import ModelCall
from service.completion.refusal import Refusal, most_useful
from service.completion.request_run import RequestRun
from service.completion.unanswered import unanswered
from service.completion.untried_arms import NextArm, RequestBudget, UntriedArms
from service.domain.arm import Arm
from service.domain.decision import LoggedDecision
from service.domain.ports import Clock
from service.domain.query import Query
from service.domain.weakness import Weakness
from service.errors import (
    AllArmsFailed,
    CallersKeyRefused,
    ContextTooLong,
    LimitReached,
    LocalFault,
    ProviderCutShort,
    ProviderError,
    ProviderFellShort,
    ProviderRateLimited,
    ProviderRejected,
    ProviderTimeout,
    StoreUnavailable,
)
from service.providers.fitting import may_be_left_out

log = structlog.get_logger(__name__)
T = TypeVar("T")
MOST_WITHOUT = 2  # calls of one request without fields that every arm refuses
Ask: TypeAlias = Callable[[RequestRun, ModelCall], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class FallbackChain:
    """Makes the calls of a run; records the result of each in the run and in the breaker.

    Args:
        untried: chooses the arm that is called next.
        metering: holds what each call may use of the limits of its caller and arm.
        max_attempts: most calls for one request.
        deadline_s: longest time from the request to its answer, or to the first content of a stream.
        sleep: waits before a model is called again.
        default_max_tokens: limit of answers to requests that give none; None: the model's own.
    """

    catalog: Catalog
    untried: UntriedArms
    metering: Metering
    rng: np.random.Generator
    clock: Clock
    max_attempts: int
    deadline_s: float
    escalation: Escalation
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    default_max_tokens: int | None = None

    def budget(self, query: Query, logged: LoggedDecision | None) -> RequestBudget:
        """The calls and the time that the request may use from now on.

        Earlier calls under its id, or the retries that its client reports if they are more, are subtracted;
        at least one call is left.
        """
        n_used = max(query.n_client_retries, 0 if logged is None else logged.n_attempts)
        until = self.clock() + timedelta(seconds=self.deadline_s)
        return RequestBudget(until, max(1, self.max_attempts - n_used))

    async def call_until_answered(
        self, run: RequestRun, budget: RequestBudget, ask: Ask[T]
    ) -> tuple[ModelCall, T]:
        """Call the decided arm, and on failure the next one by order or probability, or a lone arm again.

        A faulty answer is returned only if no better one comes. The returned call may still be
        streaming: report its end by `succeeded`, `failed` or `cancelled`.

        Raises:
            ProviderRejected: the provider rejected the request, and no other arm might accept it.
            AllArmsFailed: no arm, no attempt or no time is left.
            LimitReached: the limits of the caller, or of the arms, leave too little for any call.
            StoreUnavailable: nobody knows what these limits leave.
        """
        call, answer = await self._until_any(run, budget, ask, NextArm(run.arm_id, run.propensity))
        while call.fault is not None:
            self._set_aside(run, call, call.fault)
            next_arm = await self._better(run, budget, call)
            if next_arm is None:
                break
            try:
                call, answer = await self._until_any(run, budget, ask, next_arm)
            except (ProviderRejected, ContextTooLong, AllArmsFailed, LimitReached, StoreUnavailable):
                break
        run.last = call
        return call, answer

    async def _until_any(
        self, run: RequestRun, budget: RequestBudget, ask: Ask[T], next_arm: NextArm
    ) -> tuple[ModelCall, T]:
        """Call arms until one answers; the answer may be faulty."""
        while True:
            previous = run.last
            if not await self.metering.admits(run, next_arm.arm_id):
                next_arm = self._next(run, budget)
                continue
            if (call := self._begin(run, budget, next_arm)) is None:
                next_arm = self._next(run, budget)
                continue
            try:
                answer = await ask(run, call)
                call.fault = await self.escalation.fault(call)
                return call, answer
            except ProviderError as error:
                if isinstance(error, ProviderRejected) and error.is_local:
                    run.last = previous
                    next_arm = self._after_local_refusal(run, budget, call, error)
                    continue
                next_arm, wait_s = self._after_failure(run, budget, call, next_arm, error)
                if wait_s > 0:
                    await self.sleep(wait_s)
            except AnsweredElsewhere:
                if call.answered_at is None:
                    self.cancelled(run, call)
                else:
                    self.succeeded(run, call)
                raise
            except BaseException:  # the client disconnected, or a bug: release the trial
                self.cancelled(run, call)
                raise

    def _begin(self, run: RequestRun, budget: RequestBudget, next_arm: NextArm) -> ModelCall | None:
        """Begin the call of an arm; None: it cannot be called any more and is passed over."""
        arm = self.catalog.in_use(next_arm.arm_id)
        why = "no longer exists" if arm is None else self._reason_against(run, arm)
        if arm is None or why is not None:
            run.passed_over[next_arm.arm_id] = str(why)
            return None
        if arm.deployments:
            arm = self.catalog.balancer.begun(arm, run.query.turn, run.failed_at(arm.arm_id))
        entry = self.catalog.breaker.begin(arm)
        if entry == "refused" and not self._must_stay(run, budget, next_arm):
            self.catalog.balancer.ended(arm)
            run.passed_over[next_arm.arm_id] = "is cooling down"
            return None
        if (refused := self.catalog.refused.against([arm], run.query).get(arm.arm_id)) is not None:
            self._leave_out(run, arm, refused.parts)
        call = run.call(arm, next_arm.propensity, self.clock())
        self.catalog.balancer.n_called += 1
        call.timeout_s = self._share_s(run, budget, arm)
        call.default_max_tokens = arm.default_max_tokens or self.default_max_tokens
        call.gap_s = max(self.deadline_s, arm.patience_s(stream=True) or 0.0)
        call.is_trial, call.is_escalation = entry == "trial", next_arm.is_escalation
        return call

    def _reason_against(self, run: RequestRun, arm: Arm) -> str | None:
        """Why the arm may not be called; None: it may, as a new decision has just found of its arm."""
        is_just_found = run.is_just_decided and arm.arm_id == run.arm_id
        return None if is_just_found else self.catalog.reason_against(arm, run.query)

    def _must_stay(self, run: RequestRun, budget: RequestBudget, next_arm: NextArm) -> bool:
        """Whether the arm is called even while it cools down: no other arm could take its place."""
        if run.is_in_tool_loop and next_arm.arm_id == run.arm_id:
            return True
        is_alone = run.has_no_choice and self.catalog.has_no_alternative(run.query)
        return is_alone and not self.untried.in_order(run, budget)

    def _after_failure(
        self, run: RequestRun, budget: RequestBudget, call: ModelCall, failed: NextArm, error: ProviderError
    ) -> tuple[NextArm, float]:
        """Record the failure; returns the arm to call next and the wait before, or raises without one."""
        self.failed(run, call, self._blamed(call, error))
        if self._may_strip_thinking(run, call, error, budget):
            run.stripped_thinking.add(call.arm.arm_id)
            return failed, 0.0
        if isinstance(error, CallersKeyRefused | LocalFault):
            raise error
        if isinstance(error, ProviderRejected):
            features = self._note_refusal(run, call, error)
            if self._may_leave_out(run, budget, call, features):
                return failed, 0.0
            return self._next(run, budget, error), 0.0
        if self._has_another_deployment(run, call.arm) and not self.untried.is_spent(run, budget):
            return failed, 0.0
        wait_s = self._wait_before_retry_s(run, budget, error)
        return (self._next(run, budget, error), 0.0) if wait_s is None else (failed, wait_s)

    def _after_local_refusal(
        self, run: RequestRun, budget: RequestBudget, call: ModelCall, error: ProviderRejected
    ) -> NextArm:
        """The arm to call after one whose adapter refused the request: no call was made, so none counts."""
        self._ended(call)
        self.catalog.breaker.not_called(call.arm, is_trial=call.is_trial)
        run.refusals.append(Refusal(call.arm.arm_id, error, frozenset()))
        log.info("not_called", request_id=run.query.request_id, model=call.arm.arm_id, param=error.param)
        return self._next(run, budget, error)

    def _note_refusal(self, run: RequestRun, call: ModelCall, error: ProviderRejected) -> frozenset[str]:
        """Remember what the arm cannot do; raises an error if the request is faulty for every arm."""
        features = self.catalog.refused.learn(call.arm, run.query, error)
        run.refusals.append(Refusal(call.arm.arm_id, error, features))
        if not features and not error.is_limit_of_one_model:
            raise error if error.param is not None else most_useful(run.refusals)
        return features

    def _may_leave_out(
        self, run: RequestRun, budget: RequestBudget, call: ModelCall, features: frozenset[str]
    ) -> bool:
        """Whether to call the same arm once more without fields that it refuses: no other arm takes them.

        Refusals come at once and cost nothing, so a few such calls go beyond the request's.
        """
        is_spent = len(run.attempts) >= budget.n_attempts + MOST_WITHOUT or self.untried.left_s(budget) == 0
        if is_spent or self.untried.any(run, budget):
            return False
        return self._leave_out(run, call.arm, features)

    def _leave_out(self, run: RequestRun, arm: Arm, features: frozenset[str]) -> bool:
        """Leave out fields that the arm refuses, if they are a translation of what the client wrote."""
        before = run.left_out.get(arm.arm_id, frozenset[str]())
        left_out = before | may_be_left_out(features)
        if run.query.dialect == "openai" or left_out == before:
            return False
        run.left_out[arm.arm_id] = left_out
        return True

    def _wait_before_retry_s(
        self, run: RequestRun, budget: RequestBudget, error: ProviderError
    ) -> float | None:
        """The wait before the only arm that can answer is called again; None: it is not."""
        if not run.has_no_choice or self.untried.is_spent(run, budget) or self.untried.in_order(run, budget):
            return None
        wait_s = wait_before_retry_s(error, len(run.attempts), self.rng)
        return wait_s if wait_s is not None and wait_s < self.untried.left_s(budget) else None

    def succeeded(self, run: RequestRun, call: ModelCall) -> None:
        """Record that the answer is complete."""
        self._ended(call)
        self._inform_breaker(call)
        if call.arm.arm_id not in run.left_out:
            self.catalog.refused.accepted(call.arm, run.query)
        run.finished(call, self.clock())

    def failed(self, run: RequestRun, call: ModelCall, error: ProviderError) -> None:
        """Record that the call failed, before its first content or after."""
        self._ended(call)
        if isinstance(error, ProviderCutShort | LocalFault) or _is_of_callers_account(call.arm, error):
            self.catalog.breaker.released(call.arm, is_trial=call.is_trial)
        else:
            is_retry = call.arm.deployment in run.failed_at(call.arm.arm_id)
            self.catalog.breaker.failed(call.arm, error, is_trial=call.is_trial, is_retry=is_retry)
        run.failed(call, error, self.clock())
        if isinstance(error, LocalFault):
            log.error("local_fault", request_id=run.query.request_id, reason=str(error))
        recorded = run.attempt_of(call)
        log.info(
            "call_failed",
            request_id=run.query.request_id,
            model=call.arm.arm_id,
            deployment=call.arm.deployment,
            error=type(error).__name__,
            status=error.status,
            reason=None if recorded is None else recorded.error_message,
        )

    def cancelled(self, run: RequestRun, call: ModelCall) -> None:
        """Record that the router cancelled the call; this does not count against the arm."""
        self._ended(call)
        if not call.breaker_informed:
            self.catalog.breaker.released(call.arm, is_trial=call.is_trial)
        run.cancelled(call, self.clock())

    def _ended(self, call: ModelCall) -> None:
        """Record, once, that the call is no load of its deployment any more."""
        if call.is_under_way:
            call.is_under_way = False
            self.catalog.balancer.n_called -= 1
            self.catalog.balancer.ended(call.arm)

    def any_exists(self, arm_ids: Iterable[str]) -> bool:
        """Whether one of these arms is still in the catalogue."""
        return any(self.catalog.in_use(arm_id) is not None for arm_id in arm_ids)

    # --- faulty answers

    def _set_aside(self, run: RequestRun, call: ModelCall, fault: Weakness) -> None:
        """Record the answer as faulty; it is returned only if no better one comes."""
        self._ended(call)
        self._inform_breaker(call)
        run.fell_short[call.arm.arm_id] = fault
        run.failed(call, ProviderFellShort(fault), self.clock())

    def _inform_breaker(self, call: ModelCall) -> None:
        """Report a complete answer to the breaker, once: an empty one counts as a failure."""
        if call.breaker_informed:
            return
        call.breaker_informed = True
        if call.is_empty:
            empty = ProviderFellShort("empty")
            self.catalog.breaker.failed(call.arm, empty, is_trial=call.is_trial)
        else:
            self.catalog.breaker.succeeded(call.arm)

    async def _better(self, run: RequestRun, budget: RequestBudget, call: ModelCall) -> NextArm | None:
        """The next arm after a faulty answer: a stronger one or, if the answer was empty, any other.

        An arm is stronger in a higher tier, or by its expected reward.
        """
        if not self.untried.is_spent(run, budget):
            affords = partial(self.untried.may_be_called, run)
            if (decision := await self.escalation.next_tier(run, call, affords)) is not None:
                run.escalate(decision)
                return NextArm(decision.arm_id, decision.propensity, is_escalation=True)
        stronger = self.escalation.stronger_arm(run, call, self.untried.weighed(run, budget))
        if stronger is not None:
            return NextArm(stronger, propensity=1.0, is_escalation=True)
        has_others = call.is_empty and self.untried.any(run, budget)
        return self.untried.next(run, budget) if has_others else None

    # --- the arms not tried yet

    def _next(self, run: RequestRun, budget: RequestBudget, error: ProviderError | None = None) -> NextArm:
        """The next arm that may still be called, or the error if there is none."""
        if (next_arm := self.untried.next(run, budget)) is not None:
            return next_arm
        if run.over_limit is not None and not run.attempts:
            raise run.over_limit
        is_late = self.untried.left_s(budget) == 0
        raise unanswered(run, self.catalog, deadline_s=self.deadline_s if is_late else None) from error

    def _may_strip_thinking(
        self, run: RequestRun, call: ModelCall, error: ProviderError, budget: RequestBudget
    ) -> bool:
        """Whether to call the same arm once more, without earlier thinking in the history."""
        is_blamed = isinstance(error, ProviderRejected) and error.rejects_thinking
        return (
            is_blamed
            and call.arm.arm_id not in run.stripped_thinking
            and not self.untried.is_spent(run, budget)
        )

    def _has_another_deployment(self, run: RequestRun, arm: Arm) -> bool:
        """Whether the arm may be called at a deployment that has not failed for this request."""
        if not arm.deployments:
            return False
        return self.catalog.balancer.has_another(arm, {*run.failed_at(arm.arm_id), arm.deployment})

    def _blamed(self, call: ModelCall, error: ProviderError) -> ProviderError:
        """The error to record: ProviderCutShort if the deadline left the arm under half of its time."""
        patience_s = call.arm.patience_s(stream=call.query.stream) or self.deadline_s
        fair_s = min(patience_s, self.deadline_s / 2) / 2
        if isinstance(error, ProviderTimeout) and call.timeout_s < fair_s:
            return ProviderCutShort(str(error), has_begun=error.has_begun)
        return error

    def _share_s(self, run: RequestRun, budget: RequestBudget, arm: Arm) -> float:
        """The time for this call: all that is left, or half of it while another arm could still answer.

        A model whose `timeout_s` is longer than that half keeps its `timeout_s`.
        """
        left_s = self.untried.left_s(budget)
        if len(run.attempts) + 1 >= budget.n_attempts:
            return left_s
        has_others = self._has_another_deployment(run, arm) or self.untried.any(run, budget, but=arm.arm_id)
        return min(left_s, max(left_s / 2, arm.timeout_s or 0.0)) if has_others else left_s


def _is_of_callers_account(arm: Arm, error: ProviderError) -> bool:
    """Whether the error is of the caller's own account, which other callers do not share."""
    return arm.takes_client_key and isinstance(error, CallersKeyRefused | ProviderRateLimited)
