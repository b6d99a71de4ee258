"""From the reads of a stream to the chunks of its answer: those that one read brings go on together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Protocol

from service.domain.answer import Burst, Chunk
from service.errors import ProviderError
from service.providers.http import drain


class Normaliser(Protocol):
    """Makes the chunks of one stream."""

    is_done: bool  # the end marker came

    @property
    def is_whole(self) -> bool:
        """Whether the answer is complete, so that only usage may be missing."""
        ...

    def event(self, data: bytes) -> Iterable[Chunk]:
        """The chunks for the data of one event, often none. Raises ProviderError."""
        ...

    def end(self) -> Iterable[Chunk]:
        """The chunks that end the stream. Raises ProviderError."""
        ...


async def bursts(
    reads: AsyncGenerator[list[bytes], None],
    normaliser: Normaliser,
    finished: Callable[[Chunk], Chunk] = lambda chunk: chunk,
) -> AsyncGenerator[Burst, None]:
    """The chunks of each read, and those that end the stream.

    What came before a faulty event goes on before the error is raised. A connection that is lost after the
    whole answer is no error.

    Args:
        reads: the data of the events of each read.
        finished: does the rest for each chunk.
    """
    async with aclosing(reads):
        while not normaliser.is_done:
            try:
                events = await anext(reads)
            except StopAsyncIteration:
                break
            except ProviderError:
                if not normaliser.is_whole:
                    raise
                break
            burst: list[Chunk] = []
            try:
                for data in events:
                    for chunk in normaliser.event(data):
                        burst.append(finished(chunk))
                    if normaliser.is_done:
                        break
            except ProviderError:
                if burst:
                    yield burst
                raise
            if burst:
                yield burst
        if normaliser.is_done:
            await drain(reads)
    yield [finished(chunk) for chunk in normaliser.end()]
