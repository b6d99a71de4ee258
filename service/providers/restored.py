"""Answers to a repaired request, in the terms of the request that the client sent."""

from __future__ import annotations

from dataclasses import replace

from service.domain.answer import Answer, Burst, Chunk
from service.domain.basics import Json
from service.providers.stop_sequences import StopCutter, cut_off, left_out
from service.providers.tool_names import own_names, with_own_names


class Restored:
    """Restores one answer.

    Args:
        asked: the request before its repairs.
        sent: the request that the server got.
        notes: on what was changed in it.
    """

    def __init__(self, asked: Json, sent: Json, notes: tuple[str, ...] = ()) -> None:
        self._notes = notes  # until the first chunk has them
        self._names = own_names(asked, sent)
        self._stops = left_out(asked, sent)
        self._cutter = StopCutter(sent, self._stops) if self._stops else None

    def answer(self, answer: Answer) -> Answer:
        """The whole answer; the same object if nothing is to be restored."""
        if self._names:
            answer = replace(answer, body=with_own_names(answer.body, self._names))
        if self._stops:
            answer = replace(answer, body=cut_off(answer.body, self._stops))
        return replace(answer, notes=(*self._notes, *answer.notes)) if self._notes else answer

    def burst(self, burst: Burst) -> Burst:
        """The chunks; after the client's stop sequence the closing chunk, or none."""
        for chunk in burst if self._names else ():
            chunk.body = with_own_names(chunk.body, self._names)
        if self._cutter is not None:
            burst = _ended(self._cutter, burst)
        if self._notes and burst:
            burst[0].notes, self._notes = (*self._notes, *burst[0].notes), ()
        return burst

    @property
    def is_done(self) -> bool:
        """Whether the rest of the stream is not needed."""
        return self._cutter is not None and self._cutter.is_done


def _ended(cutter: StopCutter, burst: Burst) -> Burst:
    """The chunks up to the stop sequence that ends the last choice."""
    ended: list[Chunk] = []
    for chunk in burst:
        ended += cutter.chunks(chunk)
        if cutter.is_done:
            break
    return ended
