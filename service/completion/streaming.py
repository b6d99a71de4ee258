"""A model's stream: read up to its first content, then passed on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from service.completion.model_call import ModelCall
from service.completion.readahead import LookaheadStream
from service.completion.request_run import RequestRun
from service.domain.answer import Burst, Chunk
from service.domain.patience import Patience
from service.domain.ports import Clock, ModelClient
from service.errors import ProviderBroken, ProviderTimeout

Commit: TypeAlias = Callable[[RequestRun], Awaitable[None]]

MAX_EMPTY_CHUNKS = 10_000  # before the first content; they are kept until then


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A stream that has reached its first content, and the chunks read so far."""

    first: list[Chunk]
    rest: LookaheadStream

    async def bursts(self, call: ModelCall, clock: Clock) -> AsyncGenerator[Burst, None]:
        """Every chunk.

        The time between two pieces of content is limited, without that in which nobody waited for the model:
        pings show that it works, but not forever.

        Raises:
            ProviderError: the model failed, or gave fewer choices than requested.
        """
        yield self.first
        gap = Patience(call.gap_s, partial(_silent, call, f"for {call.gap_s:g} s"))
        try:
            while not self.rest.has_ended:
                with gap:
                    burst = await self.rest.next()
                if call.received_burst(burst, clock()):
                    gap.renew()
                if burst:
                    yield burst
        finally:
            gap.end()
        call.require_every_choice()

    async def aclose(self) -> None:
        """End the call of the model."""
        await self.rest.aclose()


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
    deadline = Patience(call.timeout_s, partial(_silent, call, f"within {call.timeout_s:g} s"))
    try:
        with deadline:
            while not stream.has_ended:
                first += (burst := await stream.next())
                if call.received_burst(burst, clock()):
                    return first
                if len(first) > MAX_EMPTY_CHUNKS:
                    raise ProviderBroken(f"{call.arm.model} sent {len(first)} chunks without content")
    finally:
        deadline.end()
    call.ended(clock())
    return first


async def _lookahead(
    call: ModelCall, stream: LookaheadStream, clock: Clock, lookahead_s: float
) -> list[Chunk]:
    """The chunks read ahead after the first content: all of them if the stream ends in time."""
    if lookahead_s == 0 or call.is_whole:
        return []
    ahead = await stream.within(min(lookahead_s, call.timeout_s - (call.ttft_s or 0.0)))
    call.received_burst(ahead, clock())
    if stream.has_ended:
        call.ended(clock())
    return ahead


def _silent(call: ModelCall, how_long: str) -> ProviderTimeout:
    return ProviderTimeout(f"{call.arm.model} gave no content {how_long}", has_begun=True)
