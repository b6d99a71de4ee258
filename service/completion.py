"""Decide, call the model (the next arm on failure), log what came of it; streaming and not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import structlog

from bandit.policy import draw
from service.background import Background
from service.cache.exact import CachedAnswer, ExactCache
from service.catalog import Catalog
from service.errors import (
    AllArmsFailed,
    ProviderBroken,
    ProviderError,
    ProviderRejected,
    RequestConflict,
    RouterError,
    StoreUnavailable,
)
from service.explanation import explanation
from service.pieces import in_pieces
from service.ports import Clock, Journal, ModelCaller
from service.routing import Router
from service.run import Call, Run
from service.types import Answer, Arm, AttemptStatus, Chunk, Decision, DecisionKind, Json, Outcome, Query

log = structlog.get_logger(__name__)

T = TypeVar("T")
_Ask: TypeAlias = Callable[[Run, Call], Awaitable[T]]


@dataclass(frozen=True, slots=True)
class Head:
    """What the caller is told beside the answer."""

    request_id: str
    arm_id: str
    kind: DecisionKind
    simulated: bool  # no model was called
    degraded: tuple[str, ...]
    explanation: Json | None


@dataclass(frozen=True, slots=True)
class Completed:
    """A whole answer: an OpenAI `chat.completion` object."""

    head: Head
    body: Json


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
    """A stream that has reached its first content."""

    first: list[Chunk]
    rest: AsyncGenerator[Chunk, None]


@dataclass(frozen=True, slots=True)
class Completion:
    """Answers queries."""

    router: Router
    catalog: Catalog
    journal: Journal
    caller: ModelCaller
    background: Background
    observe: Callable[[Run, Outcome], None]
    rng: np.random.Generator
    clock: Clock
    max_attempts: int
    store_texts: bool
    cache: ExactCache | None

    async def complete(self, query: Query) -> Completed:
        """Answer a query in one piece.

        Raises:
            BadRequest: the query cannot be answered as it is.
            ProviderRejected: the provider found the caller's request faulty.
            AllArmsFailed: no arm gave an answer.
        """
        retry = await self._find(query)
        if retry is None and self.cache is not None and (seen := self.cache.find(query)) is not None:
            return Completed(await self._repeat(query, seen), seen.body)
        run, call, answer = await self._answer(query, retry, self._complete)
        run.finished(call, self.clock())
        await self._to_the_end(self._log_outcome(run, "ok"))
        body = {**answer.body, "model": call.arm.arm_id}
        if self.cache is not None:
            self.cache.keep(query, call.arm.arm_id, body)
        return Completed(self._head(run), body)

    async def stream(self, query: Query) -> Streaming:
        """Answer a query piece by piece; returns at the first content. Raises as `complete` does."""
        retry = await self._find(query)
        if retry is None and self.cache is not None and (seen := self.cache.find(query)) is not None:
            return Streaming(await self._repeat(query, seen), in_pieces(seen.body))
        run, call, opened = await self._answer(query, retry, self._open)
        return Streaming(self._head(run), self._chunks(run, call, opened))

    async def _answer(self, query: Query, retry: Run | None, ask: _Ask[T]) -> tuple[Run, Call, T]:
        """Decide, unless that was done before, and call until answered; failures are logged."""
        run = self._logged(await self.router.decide(query)) if retry is None else retry
        try:
            try:
                call, answered = await self._call_until_answered(run, ask)
            except _AnsweredElsewhere:
                run = await self._again(query)
                call, answered = await self._call_until_answered(run, ask)
        except RouterError:
            await self._to_the_end(self._log_given_up(run, "failed"))
            raise
        except asyncio.CancelledError:
            self.background.spawn(self._log_given_up(run, "cancelled"))
            raise
        return run, call, answered

    async def _repeat(self, query: Query, seen: CachedAnswer) -> Head:
        """Log a request that is answered from the cache."""
        run = self._logged(self.router.repeat(query, seen.arm_id))
        try:
            await self._committed(run)
        except _AnsweredElsewhere:
            await self._again(query)  # a conflict, unless it is the same request at the same time
            return self._head(run)
        outcome = run.repeated(seen.body, self.clock(), store_texts=self.store_texts)
        await self._to_the_end(self._log(run, outcome))
        return self._head(run)

    # --- beginning

    def _logged(self, decision: Decision) -> Run:
        """A run whose decision is being committed."""
        run = Run.of(decision)
        run.logging = asyncio.create_task(self.journal.log_decision(decision))
        return run

    async def _find(self, query: Query) -> Run | None:
        """The run of a retry: a further attempt of the decision that the request id stands for."""
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
        return Run.retry(query, logged)

    async def _again(self, query: Query) -> Run:
        again = await self._find(query)
        if again is None:
            raise RequestConflict(f"X-Request-ID {query.request_id!r} is in use", param="X-Request-ID")
        return again

    async def _committed(self, run: Run) -> None:
        """Wait until the decision is committed: no answer begins before.

        Raises:
            _AnsweredElsewhere: another decision was committed first under the same request id.
        """
        if run.logging is None:
            return
        try:
            await asyncio.shield(run.logging)  # whoever hangs up now has decided all the same
        except RequestConflict as error:
            raise _AnsweredElsewhere from error
        except StoreUnavailable as error:
            run.is_lost = True
            run.degraded.append("store")
            log.error("decision_not_logged", request_id=run.query.request_id, error=str(error))
        if self.journal.is_degraded:
            run.degraded.append("store")

    # --- calling

    async def _call_until_answered(self, run: Run, ask: _Ask[T]) -> tuple[Call, T]:
        """Call the decided arm, and on failure the next one by probability.

        Raises:
            ProviderRejected: the provider found the request faulty, and no other arm may accept it.
            AllArmsFailed: none is left, or enough were tried.
        """
        arm_id, propensity = run.arm_id, run.propensity
        while True:
            arm = self.catalog.find(arm_id)
            if not self.catalog.breaker.begin(arm):  # it has begun to rest since it was drawn
                run.passed_over.add(arm_id)
                arm_id, propensity = self._next(run)
                continue
            call = run.call(arm, propensity, self.clock())
            try:
                answered = await ask(run, call)
            except ProviderRejected as error:
                self.catalog.breaker.released(arm)
                run.failed(call, error, self.clock())
                if not error.another_may_accept or not self._left(run):
                    raise
                arm_id, propensity = self._next(run, error)
            except ProviderError as error:
                self.catalog.breaker.failed(arm, error)
                run.failed(call, error, self.clock())
                arm_id, propensity = self._next(run, error)
            except asyncio.CancelledError:
                self.catalog.breaker.released(arm)
                run.cancelled(call, self.clock())
                raise
            except _AnsweredElsewhere:
                self.catalog.breaker.succeeded(arm)
                raise
            else:
                self.catalog.breaker.succeeded(arm)
                return call, answered

    def _next(self, run: Run, error: ProviderError | None = None) -> tuple[str, float]:
        """Draw among the arms that remain, by their probability."""
        left = self._left(run)
        if not left:
            tried = [f"{a.arm_id}: {a.error_message}" for a in run.attempts]
            tried += [f"{arm_id}: is resting" for arm_id in run.passed_over]
            wait_s = None if error is None else error.retry_after_s
            raise AllArmsFailed(f"no model answered: {'; '.join(tried)}", retry_after_s=wait_s) from error
        probabilities = np.array(list(left.values()))
        choice = draw(probabilities / probabilities.sum(), self.rng)
        return list(left)[choice.index], choice.propensity

    def _left(self, run: Run) -> dict[str, float]:
        """The arms that may still be tried, with their probability."""
        if len(run.attempts) >= self.max_attempts:
            return {}
        return {
            arm_id: probability
            for arm_id, probability in run.untried.items()
            if self.catalog.breaker.is_resting(self.catalog.find(arm_id)) is None
        }

    async def _complete(self, run: Run, call: Call) -> Answer:
        answer = await self.caller.complete(call.arm, call.query.body, timeout_s=call.arm.timeout_s)
        call.received(answer, self.clock())
        await self._committed(run)
        return answer

    async def _open(self, run: Run, call: Call) -> _Opened:
        chunks = self.caller.stream(call.arm, call.query.body, timeout_s=call.arm.timeout_s)
        first: list[Chunk] = []
        try:
            async for chunk in chunks:
                first.append(chunk)
                if call.received_chunk(chunk, self.clock()):
                    await self._committed(run)
                    return _Opened(first, chunks)
            raise ProviderBroken("the stream ended without content")
        except BaseException:
            await chunks.aclose()
            raise

    async def _chunks(self, run: Run, call: Call, opened: _Opened) -> AsyncGenerator[Chunk, None]:
        try:
            async with aclosing(opened.rest):
                for chunk in opened.first:
                    yield _named(chunk, call.arm)
                async for chunk in opened.rest:
                    call.received_chunk(chunk, self.clock())
                    yield _named(chunk, call.arm)
        except ProviderError as error:
            self.catalog.breaker.failed(call.arm, error)
            run.failed(call, error, self.clock())
            await self._to_the_end(self._log_outcome(run, "failed"))
            raise
        except (asyncio.CancelledError, GeneratorExit):
            run.cancelled(call, self.clock())
            self.background.spawn(self._log_outcome(run, "cancelled"))
            raise
        run.finished(call, self.clock())
        await self._to_the_end(self._log_outcome(run, "ok"))

    # --- ending

    async def _to_the_end(self, work: Coroutine[None, None, None]) -> None:
        """Wait for work that goes on when the caller hangs up meanwhile."""
        await asyncio.shield(self.background.spawn(work))

    async def _log_given_up(self, run: Run, status: AttemptStatus) -> None:
        try:
            await self._committed(run)
        except _AnsweredElsewhere:
            return
        await self._log_outcome(run, status)

    async def _log_outcome(self, run: Run, status: AttemptStatus) -> None:
        outcome = run.outcome(status, self.clock(), store_texts=self.store_texts)
        if outcome is not None:
            await self._log(run, outcome)

    async def _log(self, run: Run, outcome: Outcome) -> None:
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

    def _head(self, run: Run) -> Head:
        explained = run.query.options.explain and run.decision is not None
        return Head(
            request_id=run.query.request_id,
            arm_id=run.answering_arm_id,
            kind=run.answered_kind,
            simulated=self.catalog.find(run.answering_arm_id).provider == "simulator",
            degraded=tuple(dict.fromkeys(run.degraded)),
            explanation=explanation(run.decision) if explained and run.decision else None,
        )


class _AnsweredElsewhere(Exception):
    """The same request id is being answered at the same time, and its decision was logged first."""


def _named(chunk: Chunk, arm: Arm) -> Chunk:
    """The piece under the arm's name, which is the one the caller knows."""
    return Chunk({**chunk.body, "model": arm.arm_id}, chunk.usage)
