"""The dialect of Anthropic's Messages API."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects import sse
from service.dialects.dialect import Answered, Decided, EventWriter, Problem, Route
from service.dialects.messages.answers import explained, message
from service.dialects.messages.blocks import NO_EXTRAS, AnswerForm
from service.dialects.messages.errors import AnthropicErrorEnvelope, error
from service.dialects.messages.events import PING, MessageEvents, NativeOrWritten
from service.dialects.messages.requests import MessagesRequest, read_query
from service.dialects.paths import is_within
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

_OWN = ("/v1/messages", "/v1/complete")  # paths of Anthropic only, offered or not
_SHARED = ("/v1/models", "/models", "/v1/files")  # paths of Anthropic and OpenAI
_HEADERS = ("anthropic-version", "x-api-key")  # sent by Anthropic's clients


class Messages:
    """Anthropic's Messages."""

    name = "anthropic"
    tag = "messages"
    request_model = MessagesRequest
    error_model = AnthropicErrorEnvelope
    ping = PING
    keep_alive = sse.PING
    routes = (Route("/v1/messages", "Route a Messages request to a model and answer as Anthropic does."),)

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        if is_within(path, _SHARED):
            return any(name in headers for name in _HEADERS)
        return is_within(path, _OWN)

    def read_query(self, raw: bytes, received: Received) -> Query:
        return read_query(raw, received)

    def answer(self, query: Query, answered: Answered) -> Json:
        body = answered.native or message(answered.body, _form(query))
        return explained(body, answered.decided.explanation)

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        written = MessageEvents(query.n_prompt_tokens, decided.explanation, _form(query))
        return NativeOrWritten(written, decided.explanation)

    def error(self, problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
        return error(problem, request_id)


def _form(query: Query) -> AnswerForm:
    return NO_EXTRAS if query.native is None else AnswerForm.requested_by(query.native.body)


MESSAGES = Messages()
