"""The dialect of Google's Gemini API."""

from __future__ import annotations

import re
from collections.abc import Mapping

from service.dialects.dialect import Answered, Decided, EventWriter, Problem, Route
from service.dialects.gemini.answers import explained, response
from service.dialects.gemini.errors import GoogleErrorEnvelope, error
from service.dialects.gemini.events import ResponseEvents
from service.dialects.gemini.requests import GENERATE, STREAM, GenerateContentRequest, read_query
from service.dialects.paths import is_within
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

BLANK = b"\n"  # Google's clients take a comment for a part of an event
VERSIONS = ("/v1beta", "/v1")
_OWN = ("/v1beta", "/v1alpha", "/upload/v1beta")  # paths of Google only, offered or not
_SHARED = ("/v1/models",)
_HEADERS = ("x-goog-api-key", "x-goog-api-client")  # sent by Google's clients
_METHOD = re.compile(r"/v1/models/.+:[A-Za-z]+")  # Google's methods follow a colon

_SUMMARIES = {
    GENERATE: "Route a Gemini request to a model and answer as Google does.",
    STREAM: "The same as a stream: server-sent events with `?alt=sse`, else a list of one answer.",
}


class Gemini:
    """Google's generateContent."""

    name = "gemini"
    tag = "gemini"
    request_model = GenerateContentRequest
    error_model = GoogleErrorEnvelope
    ping = keep_alive = BLANK
    routes = tuple(
        Route(f"{version}/models/{{model:path}}:{method}", summary, names={"method": method})
        for version in VERSIONS
        for method, summary in _SUMMARIES.items()
    )

    def owns(self, path: str, headers: Mapping[str, str]) -> bool:
        if is_within(path, _SHARED) and any(name in headers for name in _HEADERS):
            return True
        return is_within(path, _OWN) or _METHOD.fullmatch(path) is not None

    def read_query(self, raw: bytes, received: Received) -> Query:
        return read_query(raw, received)

    def answer(self, query: Query, answered: Answered) -> Json | list[Json]:
        written = response(
            answered.body,
            shows_thoughts=query.form["shows_thoughts"],
            unwrapping=query.form["unwrapping"],
        )
        body = explained(written, answered.decided.explanation)
        return [body] if query.form["is_list"] else body

    def event_writer(self, query: Query, decided: Decided) -> EventWriter:
        return ResponseEvents(
            decided.explanation,
            shows_thoughts=query.form["shows_thoughts"],
            unwrapping=query.form["unwrapping"],
        )

    def error(self, problem: Problem, request_id: str | None, wait_s: float | None = None) -> Problem:
        return error(problem, request_id, wait_s)


GEMINI = Gemini()
