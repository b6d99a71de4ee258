"""Answers to a repaired request, in the terms of the request that the client sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from service.domain.answer import Answer, Chunk
from service.domain.basics import Json
from service.providers.stop_sequences import StopCutter, cut_off, left_out
from service.providers.tool_names import own_names, with_own_names


class Restored:
    """Restores one answer.

    Args:
        asked: the request before its repairs.
        sent: the request that the server got.
    """

    def __init__(self, asked: Json, sent: Json) -> None:
        self._names = own_names(asked, sent)
        self._stops = left_out(asked, sent)
        self._cutter = StopCutter(sent, self._stops) if self._stops else None

    def answer(self, answer: Answer) -> Answer:
        """The whole answer; the same object if nothing is to be restored."""
        if self._names:
            answer = replace(answer, body=with_own_names(answer.body, self._names))
        return replace(answer, body=cut_off(answer.body, self._stops)) if self._stops else answer

    def chunks(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk; after the client's stop sequence the closing chunk, or none."""
        if self._names:
            chunk = replace(chunk, body=with_own_names(chunk.body, self._names))
        if self._cutter is None:
            yield chunk
        else:
            yield from self._cutter.chunks(chunk)

    @property
    def is_done(self) -> bool:
        """Whether the rest of the stream is not needed."""
        return self._cutter is not None and self._cutter.is_done
