"""The dialect of `/v1/chat`."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects import sse
from service.dialects.chat.events import explained
from service.dialects.dialect import Answered, Decided, EventWriter, Problem, Route
from service.dialects.prompt.answers import PieceEvents, PromptError, error_body, text_answer
from service.dialects.prompt.requests import PromptRequest, read_query
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

PATH = "/v1/chat"


class Prompt:
    """One prompt in, one text out."""

    name = "prompt"
    tag = "chat"
    request_model = PromptRequest
    error_model = PromptError
    ping = sse.PING
    keep_alive = sse.PING
    routes = (Route(PATH, "Route a prompt to a model and answer with its text, its cost and its time."),)

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        return path == PATH  # below it is another dialect: /v1/chat/completions

    def read_query(self, raw: bytes, received: Received) -> Query:
        return read_query(raw, received)

    def answer(self, query: Query, answered: Answered) -> Json:
        return explained(text_answer(answered.body, answered.totals()), answered.decided.explanation)

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        return PieceEvents(decided.explanation)

    def error(self, problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
        return problem[0], error_body(problem, request_id)


PROMPT = Prompt()
