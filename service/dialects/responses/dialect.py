"""The dialect of OpenAI's Responses API."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects import sse
from service.dialects.chat.errors import OpenAIErrors
from service.dialects.dialect import Answered, Decided, EventWriter, Route
from service.dialects.paths import is_within
from service.dialects.received import Received
from service.dialects.responses.answers import ResponseForm
from service.dialects.responses.body import ResponsesRequest
from service.dialects.responses.events import ResponseEvents, whole_response
from service.dialects.responses.requests import query_of, read_request
from service.domain.basics import Json
from service.domain.query import Query

_PATHS = ("/v1/responses", "/responses")


class Responses(OpenAIErrors):
    """OpenAI's Responses."""

    name = "responses"
    tag = "responses"
    request_model = ResponsesRequest
    ping = sse.PING
    keep_alive = sse.PING
    routes: tuple[Route, ...] = ()  # those of `service.api.responses`

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        return is_within(path, _PATHS)

    def read_query(self, raw: bytes, received: Received) -> Query:
        return query_of(read_request(raw), received)

    def answer(self, query: Query, answered: Answered) -> Json:
        return whole_response(answered.body, ResponseForm.of(query, answered.decided))

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        return ResponseEvents(ResponseForm.of(query, decided))


RESPONSES = Responses()
