"""Writes streamed answers as OpenAI's Chat Completions does."""

from __future__ import annotations

from service.dialects import sse
from service.dialects.dialect import Problem
from service.domain.answer import Chunk
from service.domain.basics import Json

_FRAME = ("id", "object", "created", "model")


def explained(body: Json, explanation: Json | None) -> Json:
    """The body, with the explanation of the decision if the client requested it."""
    return body if explanation is None else {**body, "router": explanation}


class DataEvents:
    """The parts that the streams of OpenAI's completions APIs share: the explanation, once, and the end."""

    def __init__(self, explanation: Json | None) -> None:
        self._explanation = explanation
        self._frame: Json = {}

    def totals(self, router: Json) -> bytes:
        return sse.event({**self._frame, "choices": [], "router": router})

    def end(self) -> bytes:
        return sse.DONE

    def failure(self, problem: Problem, request_id: str) -> bytes:
        return sse.event(problem[1])

    def _written(self, body: Json) -> bytes:
        if self._explanation is not None:
            body, self._explanation = explained(body, self._explanation), None
        return sse.event(body)


class ChunkEvents(DataEvents):
    """Writes the chunks of a stream.

    Args:
        include_usage: whether the client requested the usage; the router always requests it.
    """

    def __init__(self, explanation: Json | None, *, include_usage: bool) -> None:
        super().__init__(explanation)
        self._include_usage = include_usage

    def chunk(self, chunk: Chunk) -> bytes:
        body = chunk.body
        if not self._frame:
            self._frame = {name: body[name] for name in _FRAME if name in body}
        if self._include_usage:
            return self._written({"usage": None, **body})
        if chunk.usage is not None and not body.get("choices"):
            return b""
        if "usage" in body:
            body = {name: value for name, value in body.items() if name != "usage"}
        return self._written(body)
