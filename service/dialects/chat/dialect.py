"""The dialect of OpenAI's Chat Completions API."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects import sse
from service.dialects.chat.errors import OpenAIErrors
from service.dialects.chat.events import ChunkEvents, explained
from service.dialects.chat.requests import ChatCompletionRequest, read_query
from service.dialects.dialect import Answered, Decided, EventWriter, Route
from service.dialects.paths import is_within
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

_SUMMARY = "Route a Chat Completions request to a model and answer as OpenAI does."


class Chat(OpenAIErrors):
    """OpenAI's Chat Completions."""

    name = "openai"
    tag = "chat"
    request_model = ChatCompletionRequest
    ping = sse.PING
    keep_alive = sse.PING
    routes = (
        Route("/chat/completions", f"{_SUMMARY} `X-Request-ID` is required.", needs_request_id=True),
        Route("/v1/chat/completions", _SUMMARY),
    )

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        return is_within(path, (route.path for route in self.routes))

    def read_query(self, raw: bytes, received: Received) -> Query:
        return read_query(raw, received)

    def answer(self, query: Query, answered: Answered) -> Json:
        return explained(answered.body, answered.decided.explanation)

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        include_usage = bool((query.body.get("stream_options") or {}).get("include_usage"))
        return ChunkEvents(decided.explanation, include_usage=include_usage)


CHAT = Chat()
