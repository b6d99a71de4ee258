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
from service.completion.answer_cache import AnswerCache, CachedAnswer
from service.completion.fallback import AnsweredElsewhere, Ask, FallbackChain
from service.completion.model_call import ModelCall
from service.completion.readahead import LookaheadStream
from service.completion.request_run import RequestRun
from service.domain.answer import Answer, Chunk, Outcome
from service.domain.arm import Arm
from service.domain.basics import AttemptStatus, DecisionKind, Json
from service.domain.chunks import as_chunks
from service.domain.decision import Decision, LoggedDecision
from service.domain.explanation import explanation
from service.domain.ports import Clock, Journal, ModelClient
from service.domain.query import Query
from service.errors import (
    AllArmsFailed,
    ProviderBroken,
    ProviderError,
    ProviderTimeout,
    RequestConflict,
    RouterError,
    StoreUnavailable,
)
from service.routing.router import Router

log = structlog.get_logger(__name__)

T = TypeVar("T")

MAX_EMPTY_CHUNKS = 10_000  # before the first content; they are kept until then


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
class _Opened:
    """A stream that has reached its first content, and may have been held for a while since."""

    first: list[Chunk]
    rest: LookaheadStream


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
    lookahead_s: float  # so long a stream is held back after its first content, to judge it

    async def complete(self, query: Query) -> Completed:
        """Answer a query in one piece.

        Raises:
            BadRequest: the query cannot be answered as it is.
            ProviderRejected: the provider found the caller's request faulty.
            AllArmsFailed: no arm gave an answer.
        """
        logged = await self._find(query)
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
        logged = await self._find(query)
        if (seen := self._seen(query, logged)) is not None:
            return Streaming(await self._repeat(query, logged, seen), as_chunks(seen.body))
        run, call, opened = await self._answer(query, logged, self._open)
        chunks = self._chunks(run, call, opened)
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
                first = await self._first_decision(query)
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
            run.decision_id = (await self._first_decision(query)).decision_id
            return self._head(run)
        outcome = run.repeated(seen.body, self.clock(), store_texts=self.store_texts)
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

    async def _find(self, query: Query) -> LoggedDecision | None:
        """The decision that the request id stands for, when this is a retry."""
        if not query.request_id_given:
            return None
        try:
            logged = await self.journal.find(query.tenant, query.request_id)
        except StoreUnavailable:
            return None
        if logged is None:
            return None
        if logged.body_digest != query.body_digest:
            raise RequestConflict(
                f"X-Request-ID {query.request_id!r} was used before with another body; retries repeat it",
                param="X-Request-ID",
            )
        return logged

    async def _first_decision(self, query: Query) -> LoggedDecision:
        """The decision that was logged first."""
        first = await self._find(query)
        if first is None:
            raise RequestConflict(f"X-Request-ID {query.request_id!r} is in use", param="X-Request-ID")
        return first

    async def _committed(self, run: RequestRun) -> None:
        """Wait until the decision is committed: no answer begins before.

        Raises:
            AnsweredElsewhere: another decision was committed first under the same request id.
        """
        if run.logging is None:
            return
        try:
            await asyncio.shield(run.logging)  # whoever hangs up now has decided all the same
        except RequestConflict as error:
            raise AnsweredElsewhere from error
        except StoreUnavailable as error:
            run.is_lost = True
            run.degraded.append("store")
            log.error("decision_not_logged", request_id=run.query.request_id, error=str(error))
        if self.journal.is_degraded:
            run.degraded.append("store")

    # --- calling

    async def _complete(self, run: RequestRun, call: ModelCall) -> Answer:
        body, native = run.asked_of(call.arm)
        answer = await self.model_client.complete(call.arm, body, timeout_s=call.timeout_s, native=native)
        call.received(answer, self.clock())
        call.require_every_choice()
        await self._committed(run)
        return answer

    async def _open(self, run: RequestRun, call: ModelCall) -> _Opened:
        body, native = run.asked_of(call.arm)
        # The deadline ends with the first content; from then on each piece has the arm's own time.
        chunks = LookaheadStream(
            self.model_client.stream(call.arm, body, timeout_s=call.arm.timeout_s, native=native)
        )
        try:
            first = await self._until_content(call, chunks)
            await self._committed(run)
            first += await self._lookahead(call, chunks)
        except BaseException:
            await chunks.aclose()
            raise
        return _Opened(first, chunks)

    async def _until_content(self, call: ModelCall, chunks: LookaheadStream) -> list[Chunk]:
        """The pieces up to the first with content, or all of a stream without any."""
        first: list[Chunk] = []
        try:
            async with asyncio.timeout(call.timeout_s):
                async for chunk in chunks:
                    first.append(chunk)
                    if call.received_chunk(chunk, self.clock()):
                        return first
                    if len(first) > MAX_EMPTY_CHUNKS:
                        raise ProviderBroken(f"{call.arm.model} sent {len(first)} pieces without content")
        except TimeoutError:
            raise ProviderTimeout(f"{call.arm.model} gave no content within {call.timeout_s:g} s") from None
        call.ended(self.clock())
        return first

    async def _lookahead(self, call: ModelCall, chunks: LookaheadStream) -> list[Chunk]:
        """What else comes while the stream is held back: all of it, where it ends so soon."""
        if self.lookahead_s == 0 or call.is_whole:
            return []
        held = await chunks.within(min(self.lookahead_s, call.timeout_s - (call.ttft_s or 0.0)))
        for chunk in held:
            call.received_chunk(chunk, self.clock())
        if chunks.has_ended:
            call.ended(self.clock())
        return held

    async def _chunks(self, run: RequestRun, call: ModelCall, opened: _Opened) -> AsyncGenerator[Chunk, None]:
        try:
            async with aclosing(opened.rest):
                yield Chunk({})  # nobody sees it
                for chunk in opened.first:
                    yield _named(chunk, call.arm)
                async for chunk in opened.rest:
                    call.received_chunk(chunk, self.clock())
                    yield _named(chunk, call.arm)
            call.require_every_choice()
        except ProviderError as error:
            self.fallback.failed(run, call, error)
            await self._to_the_end(self._log_outcome(run, "failed"))
            raise
        except BaseException:  # the caller left, or a bug
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
        try:
            await self._committed(run)
        except AnsweredElsewhere:
            run = await self._rebased(run)
        await self._log_outcome(run, status)

    async def _rebased(self, run: RequestRun) -> RequestRun:
        """What a run did, under the decision that was logged first; lost where that is another request's."""
        try:
            first = await self._first_decision(run.query)
        except RequestConflict:
            run.is_lost = True
            return run
        moved = RequestRun.retry(run.query, first)
        moved.adopt(run)
        return moved

    async def _log_outcome(self, run: RequestRun, status: AttemptStatus) -> None:
        self.router.settle(
            run.query,
            run.kind,
            run.moved_conversation(self.clock()),
            reserved_usd=run.reserved_usd,
            cost_usd=run.cost_usd,
        )
        await self._log(run, run.outcome(status, self.clock(), store_texts=self.store_texts))

    async def _log(self, run: RequestRun, outcome: Outcome) -> None:
        self.observe(run, outcome)
        log.info(
            "answered" if outcome.status == "ok" else "not_answered",
            request_id=run.query.request_id,
            decision_id=str(run.decision_id),
            decision=outcome.kind,
            arm=outcome.arm_id,
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
            explanation=explanation(run.decision) if explained and run.decision else None,
        )


def _named(chunk: Chunk, arm: Arm) -> Chunk:
    """The piece under the arm's name, which is the one the caller knows."""
    return replace(chunk, body={**chunk.body, "model": arm.arm_id})
