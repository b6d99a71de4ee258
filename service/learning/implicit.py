"""Implicit feedback: detect signals when a request has ended, and learn from them."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from service.completion.faults import failed_arms, fault_of, is_judged_at_once, judged
from service.completion.model_call import ModelCall
from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.domain.feedback import ImplicitSignal, Signal
from service.domain.weakness import is_signal
from service.errors import StoreUnavailable, UnknownRequest
from service.learning.complaints import AnsweredTurn, RecentAnswers
from service.learning.learner import Learner
from service.learning.repeats import AnsweredQuestion, RecentQuestions, words_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ImplicitFeedback:
    """Learns from the signals of requests that have ended.

    Args:
        weights: weight of each signal that is switched on.
        on_learned: called with the signals that were learned.
        on_dropped: called with the number of signals lost because PostgreSQL was unreachable.
    """

    learner: Learner
    weights: Mapping[Signal, Decimal]
    questions: RecentQuestions
    answers: RecentAnswers
    on_learned: Callable[[Sequence[ImplicitSignal]], None]
    on_dropped: Callable[[int], None]

    def learn(self, run: RequestRun, outcome: Outcome) -> Coroutine[None, None, None] | None:
        """Learn the signals of this request, and of an earlier one that it repeats or complains of.

        Returns:
            What is left to be done in the background; None for most requests: they have no signal.
        """
        if outcome.kind == "cache" or not run.query.options.learn:
            return None
        repeated = self._repeated_question(run, outcome)
        criticised = self._criticised_answer(run, outcome)
        signals, call = self._signals_of_calls(run, outcome), run.last if outcome.status == "ok" else None
        if call is not None and is_judged_at_once(call):
            signals, call = [*signals, *self._weighed(fault_of(call), outcome.arm_id)], None
        if not (signals or call or repeated or criticised):
            return None
        return self._learn_all(run, outcome, signals, call, repeated, criticised)

    async def _learn_all(
        self,
        run: RequestRun,
        outcome: Outcome,
        signals: Sequence[ImplicitSignal],
        unjudged: ModelCall | None,
        repeated: AnsweredQuestion | None,
        criticised: AnsweredTurn | None,
    ) -> None:
        if unjudged is not None:
            signals = [*signals, *self._weighed(await judged(unjudged), outcome.arm_id)]
        await self._learn(run.query.tenant, run.decision_id, signals, outcome)
        if repeated is not None:
            reask = self._weighed("reask", repeated.arm_id)
            await self._learn(run.query.tenant, repeated.decision_id, reask, outcome)
        elif criticised is not None:
            complaint = self._weighed("complaint", criticised.arm_id)
            await self._learn(run.query.tenant, criticised.decision_id, complaint, outcome)

    def _repeated_question(self, run: RequestRun, outcome: Outcome) -> AnsweredQuestion | None:
        """The earlier question that this request repeats, if any; then remember this request instead.

        A retry under the same id is no repeat. Without a context only the same body is.
        """
        if "reask" not in self.weights or run.decision is None or "encoder" in run.decision.degraded:
            return None
        context = run.decision.context
        repeated = self.questions.repeated(run.query, context, run.decision.decided_at)
        if outcome.status == "ok":
            # Only questions of one session are compared by their words.
            words = array("I") if run.query.options.session_id is None else words_of(run.query)
            question = AnsweredQuestion(run.decision_id, outcome.arm_id, context, outcome.completed_at, words)
            self.questions.remember(run.query, question)
        return repeated

    def _criticised_answer(self, run: RequestRun, outcome: Outcome) -> AnsweredTurn | None:
        """The earlier answer that this turn says did not work, if any; then remember this answer instead."""
        if "complaint" not in self.weights or run.decision is None:
            return None
        criticised = self.answers.criticised(run.query, run.decision.decided_at)
        if outcome.status == "ok":
            self.answers.remember(run.query, outcome)
        return criticised

    def _signals_of_calls(self, run: RequestRun, outcome: Outcome) -> list[ImplicitSignal]:
        """The signals of the calls of this request, but for that of its answer."""
        signals = [
            signal
            for arm_id in failed_arms(run.attempts)
            for signal in self._weighed("provider_error", arm_id)
        ]
        for arm_id, fault in run.fell_short.items():
            if arm_id != outcome.arm_id and is_signal(fault):  # the answer of this arm is judged apart
                signals += self._weighed(fault, arm_id)
        return signals

    def _weighed(self, signal: Signal | None, arm_id: str) -> list[ImplicitSignal]:
        """The signal with its weight; empty if there is none, or it is switched off."""
        weight = None if signal is None else self.weights.get(signal)
        return [] if signal is None or weight is None else [ImplicitSignal(signal, arm_id, weight)]

    async def _learn(
        self, tenant: str, decision_id: UUID, signals: Sequence[ImplicitSignal], outcome: Outcome
    ) -> None:
        if not signals:
            return
        try:
            self.on_learned(
                await self.learner.learn_signals(tenant, decision_id, signals, outcome.completed_at)
            )
        except (StoreUnavailable, UnknownRequest) as error:  # unknown: the decision waits in the spool
            self.on_dropped(len(signals))
            log.info("signals_dropped", decision_id=str(decision_id), n=len(signals), error=str(error))
