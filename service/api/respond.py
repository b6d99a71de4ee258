"""Answers a query over HTTP in any dialect, whole or as a stream of events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Protocol

from fastapi import Request
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from service.api import errors
from service.api.disconnects import UnlessDisconnected
from service.api.json_response import JsonAnswer
from service.api.rate_headers import rate_headers
from service.api.sse_response import EventStream
from service.completion.completion import Head, Streaming
from service.dialects import sse
from service.dialects.dialect import UNDECIDED, Answered, Dialect, EventWriter
from service.domain.basics import Json, plain
from service.domain.query import Query
from service.errors import ProviderError, RouterError
from service.parts import Parts

KEEPALIVE_EVERY_S = 10.0
SUBSTITUTED = "X-Router-Model-Substituted"  # the requested name, which no model has


class Ending(Protocol):
    """What is done with an answer before its last part is sent."""

    async def whole(self, query: Query, body: Json | list[Json]) -> Json | list[Json]:
        """The body to send."""
        ...

    async def streamed(self, query: Query, writer: EventWriter) -> bytes:
        """The events that end the answer."""
        ...


class OnlySent:
    """Nothing is done with the answer."""

    async def whole(self, query: Query, body: Json | list[Json]) -> Json | list[Json]:
        return body

    async def streamed(self, query: Query, writer: EventWriter) -> bytes:
        return writer.end()


ONLY_SENT = OnlySent()


async def respond(
    request: Request, parts: Parts, query: Query, dialect: Dialect, ending: Ending = ONLY_SENT
) -> Response:
    """Answer a query over HTTP; cancel the work as soon as the client disconnects."""
    query = await parts.tokens.counted(parts.catalog.resolved(query), parts.catalog.arms)
    if query.stream:
        pending_stream = asyncio.create_task(parts.completion.stream(query))
        answer = StreamedAnswer(request, query, dialect, pending_stream, ending)
        return await answer.response(parts.settings.keepalive_after_s)
    with UnlessDisconnected(request.receive):
        completed = await parts.completion.complete(query)
    head = completed.head
    stated = partial(totals, head, head.cost_usd, head.latency_s)
    answered = Answered(completed.body, completed.native, head, stated)
    sent = await ending.whole(query, dialect.answer(query, answered))
    return JsonAnswer(sent, headers=headers(head) | rate_headers(head.rates, dialect))


@dataclass(frozen=True, slots=True)
class StreamedAnswer:
    """One answer as a stream of events.

    Args:
        pending_stream: the stream, from its first content on.
    """

    request: Request
    query: Query
    dialect: Dialect
    pending_stream: asyncio.Task[Streaming]
    ending: Ending = ONLY_SENT

    async def response(self, keepalive_after_s: float) -> Response:
        """Start the response with the first content, or with keep-alive comments if that takes too long."""
        try:
            with UnlessDisconnected(self.request.receive):
                # asyncio.timeout would cancel the stream.
                await asyncio.wait({self.pending_stream}, timeout=keepalive_after_s)
        except (ClientDisconnect, asyncio.CancelledError):
            await _abandon(self.pending_stream)
            raise
        if not self.pending_stream.done():
            return EventStream(self._events_with_keepalive(), headers=sse.HEADERS, ping=self.dialect.ping)
        streaming = await self.pending_stream
        rates = rate_headers(streaming.head.rates, self.dialect)
        fields = headers(streaming.head) | rates | sse.HEADERS
        return EventStream(self._events(streaming), headers=fields, ping=self.dialect.ping)

    async def _events_with_keepalive(self) -> AsyncGenerator[bytes, None]:
        """Keep-alive comments until the stream has content, then its events.

        They are not the dialect's `ping`: clients expect no event before the first event of the answer.
        """
        try:
            while not self.pending_stream.done():
                yield self.dialect.keep_alive
                await asyncio.wait({self.pending_stream}, timeout=KEEPALIVE_EVERY_S)
        except BaseException:  # the client disconnected
            await _abandon(self.pending_stream)
            raise
        try:
            streaming = await self.pending_stream
        except RouterError as error:
            yield self._failure(self.dialect.event_writer(self.query, UNDECIDED), error)
            return
        async with aclosing(self._events(streaming)) as events:
            async for event in events:
                yield event

    async def _events(self, streaming: Streaming) -> AsyncGenerator[bytes, None]:
        head = streaming.head
        writer = self.dialect.event_writer(self.query, head)
        try:
            async for burst in streaming.bursts:
                if events := b"".join(map(writer.chunk, burst)):
                    yield events
            if self.query.options.cost:
                stated = totals(head, streaming.cost_usd(), streaming.latency_s())
                if events := writer.totals(stated):
                    yield events
            if events := await self.ending.streamed(self.query, writer):
                yield events
        except ProviderError as error:
            yield self._failure(writer, error)
        finally:
            await streaming.bursts.aclose()

    def _failure(self, writer: EventWriter, error: RouterError) -> bytes:
        return writer.failure(errors.problem(error), self.request.state.request_id)


async def _abandon(pending_stream: asyncio.Task[Streaming]) -> None:
    """Cancel the pending stream; if it has opened already, close it, which ends the model's call."""
    pending_stream.cancel()
    await asyncio.wait({pending_stream})
    if not pending_stream.cancelled() and pending_stream.exception() is None:
        await pending_stream.result().bursts.aclose()


def totals(head: Head, cost_usd: Decimal | None, latency_s: float | None) -> Json:
    """What the router states about a whole answer; a stream states it at its end if asked for its cost."""
    return {
        "model": head.arm_id,
        "decision": head.kind,
        "decision_id": str(head.decision_id),
        "request_id": head.request_id,
        "difficulty": head.difficulty,
        "cost_usd": None if cost_usd is None else float(cost_usd),
        "latency_ms": None if latency_s is None else _ms(latency_s),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def headers(head: Head) -> dict[str, str]:
    """The headers of every completion."""
    fields = {
        "X-Router-Model": head.arm_id,
        "X-Router-Decision": head.kind,
        "X-Router-Decision-Id": str(head.decision_id),
    }
    if head.side_call is not None:
        fields["X-Router-Side-Call"] = head.side_call
    if head.substituted_model is not None:
        fields[SUBSTITUTED] = head.substituted_model
    if head.cost_usd is not None:
        fields["X-Router-Cost-Usd"] = plain(head.cost_usd)
    if head.latency_s is not None:
        fields["X-Router-Latency-Ms"] = str(_ms(head.latency_s))
    if head.simulated:
        fields["X-Router-Simulated"] = "true"
    if head.degraded:
        fields["X-Router-Degraded"] = ", ".join(head.degraded)
    return fields
