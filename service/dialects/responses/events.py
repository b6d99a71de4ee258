"""Writes answers, streamed and whole, as OpenAI's Responses API does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from service.dialects.dialect import Problem
from service.dialects.responses.annotations import logprobs_in
from service.dialects.responses.answers import ResponseForm, failure_of, status_of
from service.dialects.responses.output import Output
from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.domain.chunks import chunk_bodies
from service.domain.usage_report import usage_from


class ResponseEvents:
    """Writes the events of one response from the chunks of an OpenAI stream."""

    def __init__(self, form: ResponseForm) -> None:
        self._form = form
        self._output = Output(form.stem, form.toolbox(), form.vendor_mark)
        self._model = ""
        self._n_events = 0
        self._usage = Usage()
        self._finish_reason: str | None = None
        self._is_ended = False
        self._totals: Json = {}
        self._unsent: list[Json] = []  # events before the last one

    def chunk(self, chunk: Chunk) -> bytes:
        return b"".join(map(event, self.events_of(chunk.body)))

    def totals(self, router: Json) -> bytes:
        """They are in the last event, as `router` of the response."""
        self._totals = router
        return b""

    def end(self, *, stored: bool | None = None) -> bytes:
        """The last events.

        Args:
            stored: whether the response is stored; None: as the first event said.
        """
        response = self.ended()
        if stored is not None:
            response = {**response, "store": stored}
        last = {"type": f"response.{response['status']}", "response": response}
        return b"".join(map(event, [*self._unsent, *self._numbered([last])]))

    def failure(self, problem: Problem, request_id: str) -> bytes:
        """An `error`, at which OpenAI's own clients raise, and the failed response, for all others."""
        fields = problem[1]["error"]
        flat = {name: fields[name] for name in ("code", "message", "param")}
        error = {"type": "error", **flat, "error": fields}
        response = self._form.response(
            "failed", model=self._model, output=self._output.items, error=failure_of(problem)
        )
        failed = {"type": "response.failed", "response": response}
        return b"".join(map(event, self._numbered([*self._started({}), error, failed])))

    def events_of(self, body: Json) -> Iterator[Json]:
        """The events of one `chat.completion.chunk`; often none."""
        return self._numbered([*self._started(body), *self._grown(body)])

    def ended(self) -> Json:
        """The response as it is at its end."""
        if not self._is_ended:
            self._is_ended = True
            status = status_of(self._finish_reason)
            self._unsent += self._numbered([*self._started({}), *self._output.ended(status)])
        response = self._form.response(
            status_of(self._finish_reason),
            model=self._model,
            output=self._output.items,
            usage=self._usage,
            finish_reason=self._finish_reason,
        )
        return response | {"router": response.get("router", {}) | self._totals} if self._totals else response

    def _started(self, body: Json) -> Iterator[Json]:
        if self._n_events:
            return
        self._model = str(body.get("model") or self._form.body.get("model") or "auto")
        for kind in ("response.created", "response.in_progress"):
            yield {"type": kind, "response": self._form.response("in_progress", model=self._model)}

    def _grown(self, body: Json) -> Iterator[Json]:
        self._usage = usage_from(body.get("usage")) or self._usage
        for choice in body.get("choices") or []:
            if choice.get("finish_reason"):
                self._finish_reason = choice["finish_reason"]
            if isinstance(delta := choice.get("delta"), dict):
                yield from self._output.grown({**delta, "logprobs": logprobs_in(choice)})

    def _numbered(self, events: Iterable[Json]) -> Iterator[Json]:
        for fields in events:
            yield {**fields, "sequence_number": self._n_events}
            self._n_events += 1


def whole_response(body: Json, form: ResponseForm) -> Json:
    """The response for an OpenAI `chat.completion`."""
    events = ResponseEvents(form)
    for chunk in chunk_bodies(body):
        for _ in events.events_of(chunk):
            pass
    return events.ended()


def event(fields: Json) -> bytes:
    """One server-sent event, named by its type."""
    return b"event: %s\ndata: %s\n\n" % (fields["type"].encode(), orjson.dumps(fields))
