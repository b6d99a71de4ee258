"""Decide, have the model called, log what came of it; streaming and not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar
from uuid import UUID

import structlog

from service.arms.catalog import Catalog
from service.background import Background
from service.completion import deduplication
from service.completion.answer_cache import AnswerCache, CachedAnswer
from service.completion.deduplication import AnsweredElsewhere
from service.completion.fallback import Ask, FallbackChain
from service.completion.model_call import ModelCall
from service.completion.outcome import outcome_of, outcome_of_repeat
from service.completion.request_run import RequestRun
from service.completion.streaming import OpenStream, open_stream
from service.domain.answer import Answer, Chunk, Outcome
from service.domain.basics import AttemptStatus, DecisionKind, Json
from service.domain.chunks import as_chunks
from service.domain.decision import Decision, LoggedDecision
from service.domain.explanation import explanation_for_clients
from service.domain.ports import Clock, Journal, ModelClient
from service.domain.query import Query
from service.errors import (
    AllArmsFailed,
    ProviderError,
    RouterError,
    StoreUnavailable,
)
from service.routing.router import Router

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Head:
    """What the caller is told beside the answer."""

    request_id: str
    decision_id: UUID
    arm_id: str
    kind: DecisionKind
    simulated: bool  # no model was called
    degraded: tuple[str, ...]
    explanation: Json | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole answer: an OpenAI `chat.completion` object, and the native one where there is one."""

    head: Head
    body: Json
    native: Json | None = None


@dataclass(frozen=True, slots=True)
class Streaming:
    """An answer under way, from its first content on: OpenAI `chat.completion.chunk` objects.

    The iterator raises ProviderError when the model fails in the middle. It ends only after the
    outcome was committed; closing it early cancels the model's call.
    """

    head: Head
    chunks: AsyncGenerator[Chunk, None]


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
    learn_implicitly: Callable[[RequestRun, Outcome], Coroutine[None, None, None]]
    clock: Clock
    store_texts: bool
    cache: AnswerCache | None
    lookahead_s: float  # how long a stream is read ahead after its first content, to judge it

    async def complete(self, query: Query) -> Completed:
        """Answer a query in one piece.

        Raises:
            BadRequest: the query cannot be answered as it is.
            ProviderRejected: the provider found the caller's request faulty.
            AllArmsFailed: no arm gave an answer.
        """
        logged = await deduplication.find(self.journal, query)
        if (seen := self._seen(query, logged)) is not None:
            return Completed(await self._repeat(query, logged, seen), seen.body)
        run, call, answer = await self._answer(query, logged, self._complete)
        self.fallback.succeeded(run, call)
        await self._to_the_end(self._log_outcome(run, "ok"))
        body = {**answer.body, "model": call.arm.arm_id}
        if self.cache is not None and answer.native is None and call.fault is None:
            self.cache.keep(query, call.arm.arm_id, body)
        return Completed(self._head(run), body, answer.native)

    async def stream(self, query: Query) -> Streaming:
        """Answer a query piece by piece; returns at the first content. Raises as `complete` does."""
        logged = await deduplication.find(self.journal, query)
        if (seen := self._seen(query, logged)) is not None:
            return Streaming(await self._repeat(query, logged, seen), as_chunks(seen.body))
        run, call, stream = await self._answer(query, logged, self._open)
        chunks = self._relay(run, call, stream)
        await anext(chunks)  # begun: to close what has not begun would do nothing
        return Streaming(self._head(run), chunks)

    async def _answer(
        self, query: Query, logged: LoggedDecision | None, ask: Ask[T]
    ) -> tuple[RequestRun, ModelCall, T]:
        """Decide, unless that was done before, and call until answered; failures are logged."""
        budget = self.fallback.budget(query, logged)
        run = await self._begin(query, logged)
        try:
            try:
                call, answered = await self.fallback.call_until_answered(run, budget, ask)
            except AnsweredElsewhere:
                first = await deduplication.first_decision(self.journal, query)
                second, run = run, await self._begin(query, first)
                run.adopt(second)
                call, answered = await self.fallback.call_until_answered(run, budget, ask)
        except RouterError:
            await self._to_the_end(self._log_given_up(run, "failed"))
            raise
        except asyncio.CancelledError:
            self.background.spawn(self._log_given_up(run, "cancelled"))
            raise
        return run, call, answered

    def _seen(self, query: Query, logged: LoggedDecision | None) -> CachedAnswer | None:
        """The cached answer for a new request, or for the retry of one that was answered so."""
        if self.cache is None or (logged is not None and logged.kind != "cache"):
            return None
        seen = self.cache.find(query)
        return seen if seen is not None and self.fallback.any_exists([seen.arm_id]) else None

    async def _repeat(self, query: Query, logged: LoggedDecision | None, seen: CachedAnswer) -> Head:
        """Log a request that is answered from the cache."""
        run = self._decided(self.router.repeat(query, seen.arm_id), logged)
        try:
            await self._committed(run)
        except AnsweredElsewhere:
            # A conflict, unless it is the same request at the same time.
            run.decision_id = (await deduplication.first_decision(self.journal, query)).decision_id
            return self._head(run)
        outcome = outcome_of_repeat(run, seen.body, self.clock(), store_texts=self.store_texts)
        await self._to_the_end(self._log(run, outcome))
        return self._head(run)

    # --- beginning

    async def _begin(self, query: Query, logged: LoggedDecision | None) -> RequestRun:
        """A new decision, or a further attempt of the logged one.

        Where that left no arm to call (it was answered from the cache, or its arms have gone since), the arms
        are weighed anew.
        """
        if logged is None or not self.fallback.any_exists(arm_id for arm_id, _ in logged.probabilities):
            try:
                decision = await self.router.decide(query)
            except AllArmsFailed as error:
                refusal = self._decided(self.router.refuse(query, error.cooling_down), logged)
                await self._to_the_end(self._log_given_up(refusal, "failed"))
                raise
            return self._decided(decision, logged)
        return RequestRun.retry(query, logged)

    def _decided(self, decision: Decision, logged: LoggedDecision | None) -> RequestRun:
        """A run whose decision is being committed, or stands in for the one that was."""
        if logged is not None:
            run = RequestRun.of(replace(decision, decision_id=logged.decision_id))
            run.position = logged.n_attempts
            return run
        run = RequestRun.of(decision)
        run.logging = asyncio.create_task(self.journal.log_decision(decision))
        return run

    # --- calling

    async def _complete(self, run: RequestRun, call: ModelCall) -> Answer:
        body, native = run.asked_of(call.arm)
        answer = await self.model_client.complete(call.arm, body, timeout_s=call.timeout_s, native=native)
        call.received(answer, self.clock())
        call.require_every_choice()
        await self._committed(run)
        return answer

    async def _open(self, run: RequestRun, call: ModelCall) -> OpenStream:
        return await open_stream(self.model_client, run, call, self.clock, self._committed, self.lookahead_s)

    async def _committed(self, run: RequestRun) -> None:
        await deduplication.committed(self.journal, run)

    async def _relay(
        self, run: RequestRun, call: ModelCall, stream: OpenStream
    ) -> AsyncGenerator[Chunk, None]:
        """The chunks of a stream; how it ended is logged before its end is passed on."""
        try:
            async with aclosing(stream), aclosing(stream.chunks(call, self.clock)) as chunks:
                yield Chunk({})  # nobody sees it
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            self.fallback.failed(run, call, error)
            await self._to_the_end(self._log_outcome(run, "failed"))
            raise
        except BaseException:  # the client left, or a bug
            self.fallback.cancelled(run, call)
            self.background.spawn(self._log_outcome(run, "cancelled"))
            raise
        self.fallback.succeeded(run, call)
        await self._to_the_end(self._log_outcome(run, "ok"))

    # --- ending

    async def _to_the_end(self, work: Coroutine[None, None, None]) -> None:
        """Wait for work that goes on when the caller hangs up meanwhile."""
        await asyncio.shield(self.background.spawn(work))

    async def _log_given_up(self, run: RequestRun, status: AttemptStatus) -> None:
        await self._log_outcome(await deduplication.settled(self.journal, run), status)

    async def _log_outcome(self, run: RequestRun, status: AttemptStatus) -> None:
        self.router.settle(
            run.query,
            run.kind,
            run.moved_conversation(self.clock()),
            reserved_usd=run.reserved_usd,
            cost_usd=run.cost_usd,
        )
        await self._log(run, outcome_of(run, status, self.clock(), store_texts=self.store_texts))

    async def _log(self, run: RequestRun, outcome: Outcome) -> None:
        self.observe(run, outcome)
        log.info(
            "answered" if outcome.status == "ok" else "not_answered",
            request_id=run.query.request_id,
            decision_id=str(run.decision_id),
            decision=outcome.kind,
            model=outcome.arm_id,
            propensity=run.propensity,
            status=outcome.status,
            attempts=len(run.attempts),
            degraded=run.degraded,
            latency_s=outcome.latency_s,
            overhead_s=outcome.overhead_s,
            cost_usd=float(outcome.cost_usd),
        )
        if run.is_lost:
            return
        try:
            await self.journal.log_outcome(outcome, run.attempts)
        except StoreUnavailable as error:
            log.error("outcome_not_logged", request_id=run.query.request_id, error=str(error))
        self.background.spawn(self.learn_implicitly(run, outcome))  # the answer does not wait for it

    def _head(self, run: RequestRun) -> Head:
        explained = run.query.options.explain and run.decision is not None
        return Head(
            request_id=run.query.request_id,
            decision_id=run.decision_id,
            arm_id=run.answering_arm_id,
            kind=run.answered_kind,
            simulated=self.catalog.known(run.answering_arm_id).provider == "simulator",
            degraded=tuple(dict.fromkeys(run.degraded)),
            explanation=explanation_for_clients(run.decision) if explained and run.decision else None,
        )
