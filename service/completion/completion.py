"""Answer a query: decide, call models, log the outcome; streaming and not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import TypeAlias, TypeVar
from uuid import UUID

import structlog

from service.arms.catalog import Catalog
from service.background import Background
from service.cache.answer_cache import AnswerCache, Hit
from service.completion import deduplication
from service.completion.decision_write import DecisionWrite
from service.completion.deduplication import AnsweredElsewhere
from service.completion.fallback import Ask, FallbackChain
from service.completion.model_call import ModelCall
from service.completion.outcome import outcome_of, outcome_of_cached_answer
from service.completion.request_run import RequestRun
from service.completion.streaming import OpenStream, open_stream
from service.completion.untried_arms import RequestBudget
from service.conversations.portability import vendor_mark
from service.domain.answer import Answer, Burst, Outcome
from service.domain.answer_ids import answer_id_of
from service.domain.basics import AttemptStatus, DecisionKind, Json
from service.domain.chunks import as_stream
from service.domain.decision import Decision, LoggedDecision
from service.domain.explanation import explanation_for_clients
from service.domain.ports import Clock, Journal, ModelClient
from service.domain.query import Query, SideCall
from service.domain.tags import DIFFICULTY, value_of
from service.domain.value import value
from service.errors import (
    AllArmsFailed,
    ProviderError,
    Rate,
    RouterError,
    StoreUnavailable,
)
from service.routing.router import Router

log = structlog.get_logger(__name__)

T = TypeVar("T")
_Answered: TypeAlias = Callable[[RequestRun, RequestBudget], Awaitable[tuple[ModelCall, T]]]


@value
class Head:
    """What the client learns beside the answer."""

    request_id: str
    decision_id: UUID
    arm_id: str
    kind: DecisionKind
    simulated: bool  # no model was called
    degraded: tuple[str, ...]
    explanation: Json | None
    vendor_mark: str  # of the model that answers
    side_call: SideCall | None = None  # what the client asked for itself
    substituted_model: str | None = None  # the requested name, which no model has
    cost_usd: Decimal | None = None  # of all calls; None: not known, or not known yet
    difficulty: str | None = None  # as its classifier found it; None: there is none
    latency_s: float | None = None  # from the request to the whole answer; None: it is still being sent
    rates: Mapping[str, Rate] = field(default_factory=dict)  # what is left to the caller, by kind


@value
class Completed:
    """A whole answer: an OpenAI `chat.completion` object, and the native one where there is one."""

    head: Head
    body: Json
    native: Json | None = None


@value
class Streaming:
    """A streamed answer, from its first content on: OpenAI `chat.completion.chunk` objects.

    Chunks that came together are given together, for one write; none of them has a name of the provider. The
    iterator raises ProviderError when the model fails mid-stream. It ends only after the
    outcome is committed; closing it early cancels the call of the model.
    """

    head: Head
    bursts: AsyncGenerator[Burst, None]
    cost_usd: Callable[[], Decimal | None]  # once the stream has ended
    latency_s: Callable[[], float]  # from the request until now


@dataclass(frozen=True, slots=True)
class Completion:
    """Answers queries."""

    router: Router
    catalog: Catalog
    fallback: FallbackChain
    journal: Journal
    model_client: ModelClient
    background: Background
    observe: Callable[[RequestRun, Outcome], None]
    learn_implicitly: Callable[[RequestRun, Outcome], Coroutine[None, None, None] | None]
    keep_text: Callable[[Decision], None]  # for the context of a decision that was made without one
    clock: Clock
    store_texts: bool
    cache: AnswerCache | None
    allows_reused_request_ids: bool  # another body under a used id is decided under an id of its own

    async def complete(self, query: Query) -> Completed:
        """Answer a query with one whole answer.

        Raises:
            BadRequest: the query cannot be answered as it is.
            ProviderRejected: the provider rejected the client's request.
            AllArmsFailed: no arm gave an answer.
            LimitReached: a limit of the caller, or of the models, leaves too little for the query.
        """
        query, logged = await self._identified(query)
        if (hit := await self._cache_hit(query, logged)) is not None:
            head = await self._answer_from_cache(query, logged, hit)
            return Completed(replace(head, latency_s=self._latency_s(query)), hit.answer.body)
        run, call, answer = await self._answer(query, logged, self._whole)
        body = {**answer.body, "id": answer_id_of(run.decision_id), "model": call.arm.arm_id}
        may_be_shared = answer.native is None and call.fault is None and not call.arm.takes_client_key
        if self.cache is not None and may_be_shared:
            await self._keep(self.cache, run, call.arm.arm_id, body)
        head = self._head(run, cost_usd=run.cost_usd, latency_s=self._latency_s(query))
        return Completed(head, body, answer.native)

    async def stream(self, query: Query) -> Streaming:
        """Answer a query chunk by chunk; returns at the first content. Raises as `complete` does."""
        query, logged = await self._identified(query)
        if (hit := await self._cache_hit(query, logged)) is not None:
            head = await self._answer_from_cache(query, logged, hit)
            bursts = as_stream(hit.answer.body)
            return Streaming(head, bursts, lambda: Decimal(0), lambda: self._latency_s(query))
        run, call, stream = await self._answer(query, logged, self._opened)
        bursts = self._relay(run, call, stream)
        await anext(bursts)  # starts the generator: closing one that has not started would not end the call
        return Streaming(self._head(run), bursts, lambda: run.cost_usd, lambda: self._latency_s(query))

    async def _identified(self, query: Query) -> tuple[Query, LoggedDecision | None]:
        return await deduplication.identified(
            self.journal, query, allows_reuse=self.allows_reused_request_ids
        )

    async def _answer(
        self, query: Query, logged: LoggedDecision | None, answered: _Answered[T]
    ) -> tuple[RequestRun, ModelCall, T]:
        """Decide, unless the request was decided before, and call arms until one answers; log failures.

        If another decision is committed first under the request id, its arms are called instead.
        """
        self.fallback.metering.meter.check(query.caller)
        budget = self.fallback.budget(query, logged)
        run = await self._begin(query, logged)
        try:
            return run, *await answered(run, budget)
        except AnsweredElsewhere:
            try:
                first = await deduplication.first_decision(self.journal, run.query)
                second, run = run, await self._begin(run.query, first)
            except (RouterError, asyncio.CancelledError) as error:
                await self._note_unanswered(run, error)
                raise
            run.adopt(second)
            return run, *await answered(run, budget)

    async def _whole(self, run: RequestRun, budget: RequestBudget) -> tuple[ModelCall, Answer]:
        """A whole answer, with its outcome logged."""
        call, answer = await self._call(run, budget, self._complete)
        self.fallback.succeeded(run, call)
        if not await self._finish(self._log_outcome(run, "ok")):
            raise AnsweredElsewhere
        return call, answer

    async def _opened(self, run: RequestRun, budget: RequestBudget) -> tuple[ModelCall, OpenStream]:
        """A stream at its first content."""
        return await self._call(run, budget, self._open)

    async def _call(self, run: RequestRun, budget: RequestBudget, ask: Ask[T]) -> tuple[ModelCall, T]:
        try:
            return await self.fallback.call_until_answered(run, budget, ask)
        except (RouterError, asyncio.CancelledError) as error:
            await self._note_unanswered(run, error)
            raise

    async def _note_unanswered(self, run: RequestRun, error: RouterError | asyncio.CancelledError) -> None:
        """Log the run as failed, or as cancelled without waiting for it."""
        if isinstance(error, RouterError):
            await self._finish(self._log_unanswered(run, "failed"))
        else:
            self.background.spawn(self._log_unanswered(run, "cancelled"))

    async def _keep(self, cache: AnswerCache, run: RequestRun, arm_id: str, body: Json) -> None:
        """Keep an answer; for other replicas without delaying it."""
        conversation = None if run.query.turn.place is None else run.conversation_after(self.clock())
        answer = await cache.answer_to_keep(run.query, arm_id, body, conversation)
        if answer is None:
            return
        cache.keep(answer)
        if cache.store is not None:
            self.background.spawn(cache.share(answer))

    async def _cache_hit(self, query: Query, logged: LoggedDecision | None) -> Hit | None:
        """The cached answer to a new request, or to the retry of a request that the cache answered."""
        if self.cache is None or (logged is not None and logged.kind != "cache"):
            return None
        hit = await self.cache.find(query)
        return hit if hit is not None and self.fallback.any_exists([hit.answer.arm_id]) else None

    async def _answer_from_cache(self, query: Query, logged: LoggedDecision | None, hit: Hit) -> Head:
        """Log a request that the cache answers."""
        run = self._run_of(self.router.cached_decision(query, hit.answer.arm_id, hit.match), logged)
        outcome = outcome_of_cached_answer(run, hit.answer, self.clock(), store_texts=self.store_texts)
        if not await self._finish(self._log_cached(run, outcome)):
            # Raises RequestConflict unless it is the same request at the same time.
            run.decision_id = (await deduplication.first_decision(self.journal, run.query)).decision_id
        return self._head(run, cost_usd=Decimal(0))

    # --- deciding

    async def _begin(self, query: Query, logged: LoggedDecision | None) -> RequestRun:
        """A run of a new decision, or a retry of the logged one.

        If no arm of the logged decision can be called (the cache answered it, or its arms were removed), the
        arms are weighed again under its id.
        """
        if logged is None or not self.fallback.any_exists(arm_id for arm_id, _ in logged.probabilities):
            try:
                decision = await self.router.decide(query)
            except AllArmsFailed as error:
                refusal = self._run_of(self.router.refused_decision(query, error.cooling_down), logged)
                await self._finish(self._log_unanswered(refusal, "failed"))
                raise
            return self._run_of(decision, logged)
        return RequestRun.retry(query, logged)

    def _run_of(self, decision: Decision, logged: LoggedDecision | None) -> RequestRun:
        """A run of the decision: under the id of the logged one, or committed from now on."""
        if logged is not None:
            run = RequestRun.of(replace(decision, decision_id=logged.decision_id))
            run.position = logged.n_attempts
            return run
        run = RequestRun.of(decision)
        run.logging = DecisionWrite(
            lambda outcome: deduplication.log_decision(
                self.journal, run, decision, outcome, allows_reuse=self.allows_reused_request_ids
            )
        )
        self.keep_text(decision)
        return run

    # --- calling

    async def _complete(self, run: RequestRun, call: ModelCall) -> Answer:
        body, native = run.request_for(call.arm)
        arm = run.arm_to_call(call.arm)
        answer = await self.model_client.complete(arm, body, timeout_s=call.timeout_s, native=native)
        call.received(answer, self.clock())
        call.require_every_choice()
        if run.logging is not None and run.logging.has_begun:  # else it is committed with the outcome
            await self._committed(run)
        return answer

    async def _open(self, run: RequestRun, call: ModelCall) -> OpenStream:
        lookahead_s = self.fallback.escalation.lookahead_s(run.query)
        return await open_stream(self.model_client, run, call, self.clock, self._committed, lookahead_s)

    async def _committed(self, run: RequestRun) -> None:
        await deduplication.committed(self.journal, run)

    async def _relay(
        self, run: RequestRun, call: ModelCall, stream: OpenStream
    ) -> AsyncGenerator[Burst, None]:
        """The chunks, by the names that the client knows; the outcome is logged before the stream ends."""
        answer_id, arm_id = answer_id_of(run.decision_id), call.arm.arm_id
        try:
            async with aclosing(stream), aclosing(stream.bursts(call, self.clock)) as bursts:
                yield ()  # read by `stream`, never sent
                async for burst in bursts:
                    for chunk in burst:
                        chunk.body["id"], chunk.body["model"] = answer_id, arm_id
                    yield burst
        except ProviderError as error:
            self.fallback.failed(run, call, error)
            await self._finish(self._log_outcome(run, "failed"))
            raise
        except BaseException:  # the client disconnected, or a bug
            self.fallback.cancelled(run, call)
            self.background.spawn(self._log_outcome(run, "cancelled"))
            raise
        self.fallback.succeeded(run, call)
        await self._finish(self._log_outcome(run, "ok"))

    # --- logging

    async def _finish(self, work: Coroutine[None, None, T]) -> T:
        """Wait for work that continues even if the client disconnects meanwhile."""
        return await asyncio.shield(self.background.spawn(work))

    async def _log_unanswered(self, run: RequestRun, status: AttemptStatus) -> None:
        await self._log_outcome(await deduplication.settled(self.journal, run), status)

    async def _log_outcome(self, run: RequestRun, status: AttemptStatus) -> bool:
        """Log how the run ended; False: another decision was committed first under its request id."""
        outcome = outcome_of(run, status, self.clock(), store_texts=self.store_texts)
        try:
            is_written = await deduplication.committed_with(self.journal, run, outcome)
        except AnsweredElsewhere:
            return False
        self.router.settle(run.query, run.kind, outcome, reserved_usd=run.reserved_usd, cost_usd=run.cost_usd)
        await self._log(run, outcome, is_written=is_written)
        await self.fallback.metering.settle(run)
        return True

    async def _log_cached(self, run: RequestRun, outcome: Outcome) -> bool:
        """Log an answer from the cache; returns as `_log_outcome` does."""
        try:
            is_written = await deduplication.committed_with(self.journal, run, outcome)
        except AnsweredElsewhere:
            return False
        self.router.affinity.put(run.query, outcome.conversation, outcome.answer_names)
        await self._log(run, outcome, is_written=is_written)
        return True

    async def _log(self, run: RequestRun, outcome: Outcome, *, is_written: bool) -> None:
        self.observe(run, outcome)
        log.info(
            "answered" if outcome.status == "ok" else "not_answered",
            request_id=run.query.request_id,
            model=outcome.arm_id,
            decision=None if outcome.kind == "exploit" else outcome.kind,
            status=None if outcome.status == "ok" else outcome.status,
            attempts=None if len(run.attempts) == 1 else len(run.attempts),
            degraded=run.degraded,
            latency_s=outcome.latency_s,
            cost_usd=None if outcome.cost_usd is None else float(outcome.cost_usd),
        )
        if run.is_lost:
            return
        if not is_written:
            await self._write_outcome(run, outcome)
        self.background.do(partial(self.learn_implicitly, run, outcome))  # without delaying the answer

    async def _write_outcome(self, run: RequestRun, outcome: Outcome) -> None:
        try:
            await self.journal.log_outcome(outcome, run.attempts)
        except StoreUnavailable as error:
            log.error("outcome_not_logged", request_id=run.query.request_id, error=str(error))

    def _latency_s(self, query: Query) -> float:
        """Seconds since the request came in; the wall clock may have been set back meanwhile."""
        return max(0.0, (self.clock() - query.received_at).total_seconds())

    def _head(
        self, run: RequestRun, *, cost_usd: Decimal | None = None, latency_s: float | None = None
    ) -> Head:
        decision = run.decision if run.query.options.explain else None
        arm = self.catalog.known(run.answering_arm_id)
        return Head(
            request_id=run.query.request_id,
            decision_id=run.decision_id,
            arm_id=arm.arm_id,
            kind=run.answered_kind,
            simulated=arm.provider == "simulator",
            degraded=tuple(dict.fromkeys(run.degraded)),
            explanation=None if decision is None else explanation_for_clients(decision),
            vendor_mark=vendor_mark(arm),
            side_call=run.query.turn.side_call,
            substituted_model=run.query.substituted_model,
            cost_usd=cost_usd,
            difficulty=None if run.decision is None else value_of(DIFFICULTY, run.decision.tags),
            latency_s=latency_s,
            rates={} if run.hold is None else run.hold.rates,
        )
