"""Writes answers, whole and streamed, as one text with what the router knows about it."""

from __future__ import annotations

from pydantic import BaseModel

from service.dialects import sse
from service.dialects.chat.events import explained
from service.dialects.dialect import Problem
from service.domain.answer import Chunk
from service.domain.basics import Json


class PromptError(BaseModel):
    """The body of every error: a sentence, and the field that it is about."""

    error: str
    field: str | None
    code: str | None
    request_id: str | None


def text_answer(body: Json, totals: Json) -> Json:
    """A `chat.completion` as a text, with what the router states about it."""
    choices = body.get("choices") or [{}]
    return {"response": _text(choices[0].get("message") or {}), **stated(totals)}


def stated(totals: Json) -> Json:
    """What the router states about an answer; null where nobody knows it."""
    return {
        "model_used": totals["model"],
        "difficulty_tag": totals["difficulty"],
        "cost_usd": totals["cost_usd"],
        "latency_ms": totals["latency_ms"],
        "escalated": totals["decision"] == "escalated",
        "request_id": totals["request_id"],
    }


def error_body(problem: Problem, request_id: str | None) -> Json:
    """An error of OpenAI's form in the short form."""
    fault = problem[1]["error"]
    return PromptError(
        error=fault["message"],
        field=fault.get("param"),
        code=fault.get("code") or fault.get("type"),
        request_id=request_id,
    ).model_dump()


class PieceEvents:
    """Writes the pieces of a text, and at the end what a whole answer states beside its text."""

    def __init__(self, explanation: Json | None) -> None:
        self._explanation = explanation

    def chunk(self, chunk: Chunk) -> bytes:
        pieces = [_text(choice.get("delta") or {}) for choice in chunk.body.get("choices") or []]
        text = "".join(pieces)
        return sse.event({"response": text}) if text else b""

    def totals(self, router: Json) -> bytes:
        return sse.event(explained(stated(router), self._explanation))

    def end(self) -> bytes:
        return sse.DONE

    def failure(self, problem: Problem, request_id: str) -> bytes:
        return sse.event(error_body(problem, request_id))


def _text(message: Json) -> str:
    return str(message.get("content") or message.get("refusal") or "")
