"""Notice implicit signals when a request has ended, and learn from them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import structlog

from service.completion.faults import failed_arms, fault_of
from service.completion.request_run import RequestRun
from service.domain.answer import Outcome
from service.domain.feedback import ImplicitSignal, Signal
from service.errors import StoreUnavailable, UnknownRequest
from service.learning.learner import Learner
from service.learning.repeats import AnsweredQuestion, RecentQuestions, words_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ImplicitFeedback:
    """Looks at requests that have ended.

    Args:
        weights: of the signals that are switched on.
        on_learned: called with the signals that were learned.
        on_dropped: called with the number of signals lost because PostgreSQL was away.
    """

    learner: Learner
    weights: Mapping[Signal, Decimal]
    questions: RecentQuestions
    on_learned: Callable[[Sequence[ImplicitSignal]], None]
    on_dropped: Callable[[int], None]

    async def learn(self, run: RequestRun, outcome: Outcome) -> None:
        """Learn from what this request shows of its arms, and of the answer that it asks for again."""
        if outcome.kind == "cache" or not run.query.options.learn:
            return
        earlier = self._earlier(run, outcome)
        await self._learn(run.query.tenant, run.decision_id, await self._shown(run, outcome), outcome)
        if earlier is not None:
            again = self._weighed("reask", earlier.arm_id)
            await self._learn(run.query.tenant, earlier.decision_id, again, outcome)

    def _earlier(self, run: RequestRun, outcome: Outcome) -> AnsweredQuestion | None:
        """The question asked again; this one takes its place. A retry under the same id is none."""
        if "reask" not in self.weights or run.decision is None or run.decision.context is None:
            return None
        context = run.decision.context
        earlier = self.questions.again(run.query, context, run.decision.decided_at)
        if outcome.status == "ok":
            question = AnsweredQuestion(
                run.decision_id, outcome.arm_id, context, outcome.completed_at, words_of(run.query)
            )
            self.questions.remember(run.query, question)
        return earlier

    async def _shown(self, run: RequestRun, outcome: Outcome) -> list[ImplicitSignal]:
        """What the calls of this request show."""
        shown = [
            one for arm_id in failed_arms(run.attempts) for one in self._weighed("provider_error", arm_id)
        ]
        for arm_id, fault in run.fell_short.items():
            if arm_id != outcome.arm_id:  # whose answer is looked at below
                shown += self._weighed(fault, arm_id)
        if outcome.status == "ok" and run.last is not None:
            answered = await asyncio.to_thread(fault_of, run.last)  # a schema may take its time
            shown += self._weighed(answered, outcome.arm_id) if answered else []
        return shown

    def _weighed(self, signal: Signal, arm_id: str) -> list[ImplicitSignal]:
        """Nothing where the signal is switched off."""
        weight = self.weights.get(signal)
        return [] if weight is None else [ImplicitSignal(signal, arm_id, weight)]

    async def _learn(
        self, tenant: str, decision_id: UUID, shown: Sequence[ImplicitSignal], outcome: Outcome
    ) -> None:
        if not shown:
            return
        try:
            self.on_learned(
                await self.learner.learn_signals(tenant, decision_id, shown, outcome.completed_at)
            )
        except (StoreUnavailable, UnknownRequest) as error:  # unknown: it waits in the spool
            self.on_dropped(len(shown))
            log.info("signals_dropped", decision_id=str(decision_id), n=len(shown), error=str(error))
