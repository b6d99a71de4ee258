"""The dialect of OpenAI's Completions API."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects import sse
from service.dialects.chat.errors import OpenAIErrors
from service.dialects.chat.events import explained
from service.dialects.completions.answers import TextEvents, text_completion
from service.dialects.completions.requests import CompletionRequest, read_query
from service.dialects.dialect import Answered, Decided, EventWriter, Route
from service.dialects.paths import is_within
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query


class Completions(OpenAIErrors):
    """OpenAI's Completions."""

    name = "completions"
    tag = "completions"
    request_model = CompletionRequest
    ping = sse.PING
    keep_alive = sse.PING
    routes = (
        Route("/v1/completions", "Route a prompt to a model and answer as OpenAI's older API does."),
        Route("/completions", "The same as /v1/completions.", is_documented=False),
    )

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        return is_within(path, (route.path for route in self.routes))

    def read_query(self, raw: bytes, received: Received) -> Query:
        return read_query(raw, received)

    def answer(self, query: Query, answered: Answered) -> Json:
        return explained(
            text_completion(answered.body, query.form.get("echo", "")), answered.decided.explanation
        )

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        include_usage = bool((query.body.get("stream_options") or {}).get("include_usage"))
        return TextEvents(query.form.get("echo", ""), decided.explanation, include_usage=include_usage)


COMPLETIONS = Completions()
