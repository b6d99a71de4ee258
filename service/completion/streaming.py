"""A model's stream: read up to its first content, then passed on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

from service.completion.model_call import ModelCall
from service.completion.readahead import LookaheadStream
from service.completion.request_run import RequestRun
from service.domain.answer import Chunk
from service.domain.arm import Arm
from service.domain.ports import Clock, ModelClient
from service.errors import ProviderBroken, ProviderTimeout

Commit: TypeAlias = Callable[[RequestRun], Awaitable[None]]

MAX_EMPTY_CHUNKS = 10_000  # before the first content; they are kept until then


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that has reached its first content, and the chunks read so far."""

    first: list[Chunk]
    rest: LookaheadStream

    async def chunks(self, call: ModelCall, clock: Clock) -> AsyncGenerator[Chunk, None]:
        """Every chunk, with the arm's id as its model: the name that the client knows.

        Raises:
            ProviderError: the model failed, or gave fewer choices than requested.
        """
        for chunk in self.first:
            yield _named(chunk, call.arm)
        gap = _Gap(call)
        while (late := await gap.next(self.rest)) is not None:
            if call.received_chunk(late, clock()):
                gap.closed()
            yield _named(late, call.arm)
        call.require_every_choice()

    async def aclose(self) -> None:
        """End the call of the model."""
        await self.rest.aclose()


class _Gap:
    """The time since the last content of a stream, without that in which nobody waited for the model.

    Pings show that the model works, but not forever.
    """

    def __init__(self, call: ModelCall) -> None:
        self._call = call
        self._waited_s = 0.0

    def closed(self) -> None:
        self._waited_s = 0.0

    async def next(self, stream: LookaheadStream) -> Chunk | None:
        """The next chunk; None: the stream ended."""
        limit_s, loop = self._call.gap_s, asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(max(0.0, limit_s - self._waited_s) if limit_s < math.inf else None):
                return await anext(stream, None)
        except TimeoutError:
            message = f"{self._call.arm.model} gave no content for {limit_s:g} s"
            raise ProviderTimeout(message, has_begun=True) from None
        finally:
            self._waited_s += loop.time() - started


async def open_stream(
    model_client: ModelClient,
    run: RequestRun,
    call: ModelCall,
    clock: Clock,
    commit: Commit,
    lookahead_s: float,
) -> OpenStream:
    """Call the arm; returns at the first content. Raises ProviderError and the errors of `commit`.

    Args:
        commit: awaited at the first content, so that the decision is committed before anything is sent.
        lookahead_s: how long the stream is read ahead after its first content, to judge it.
    """
    body, native = run.request_for(call.arm)
    # The deadline covers the first content; after it, only the time between two pieces is bounded.
    arm = run.arm_to_call(call.arm)
    stream = LookaheadStream(model_client.stream(arm, body, timeout_s=call.gap_s, native=native))
    try:
        first = await _until_content(call, stream, clock)
        await commit(run)
        first += await _lookahead(call, stream, clock, lookahead_s)
    except BaseException:
        await stream.aclose()
        raise
    return OpenStream(first, stream)


async def _until_content(call: ModelCall, stream: LookaheadStream, clock: Clock) -> list[Chunk]:
    """The chunks up to the first with content; all chunks of a stream without content."""
    first: list[Chunk] = []
    try:
        async with asyncio.timeout(call.timeout_s):
            async for chunk in stream:
                first.append(chunk)
                if call.received_chunk(chunk, clock()):
                    return first
                if len(first) > MAX_EMPTY_CHUNKS:
                    raise ProviderBroken(f"{call.arm.model} sent {len(first)} chunks without content")
    except TimeoutError:
        message = f"{call.arm.model} gave no content within {call.timeout_s:g} s"
        raise ProviderTimeout(message, has_begun=True) from None
    call.ended(clock())
    return first


async def _lookahead(
    call: ModelCall, stream: LookaheadStream, clock: Clock, lookahead_s: float
) -> list[Chunk]:
    """The chunks read ahead after the first content: all of them if the stream ends in time."""
    if lookahead_s == 0 or call.is_whole:
        return []
    ahead = await stream.within(min(lookahead_s, call.timeout_s - (call.ttft_s or 0.0)))
    for chunk in ahead:
        call.received_chunk(chunk, clock())
    if stream.has_ended:
        call.ended(clock())
    return ahead


def _named(chunk: Chunk, arm: Arm) -> Chunk:
    return replace(chunk, body={**chunk.body, "model": arm.arm_id})
