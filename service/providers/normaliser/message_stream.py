"""Answers in Anthropic's own dialect: bytes of a provider in, a message or its events out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

import orjson

from service.domain.answer import Answer, Chunk, Usage
from service.domain.basics import Json
from service.domain.usage import reported_to_anthropic, settled, text_bytes
from service.domain.usage_report import merged, usage_from
from service.errors import ProviderBroken
from service.providers.http import parsed
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.characters import HalfCharacters, without_halves
from service.providers.normaliser.json_values import DONE, lenient_values
from service.providers.normaliser.message import events_of, message_of, whole_message
from service.providers.normaliser.message_events import EventNormaliser
from service.providers.normaliser.message_terms import completion_of, delta_of, finish_reason_of
from service.providers.normaliser.stream import KEEP_ALIVE
from service.providers.refusals import is_error
from service.providers.streams import events_in


def read_message(asked: Asked, body: bytes) -> Answer:
    """The answer for the body that a provider sent: a message, or a stream in place of it.

    Raises:
        ProviderError: the body is an error, or no message.
    """
    value = parsed(body)
    if value is None and (events := events_in(body)) is not None:
        stream = MessageStream(asked)
        return _answer(asked, message_of(stream.all_events(events)), tuple(stream.notes))
    if value is None:
        value = without_halves(next(iter(lenient_values(body)), None))
    if not _is_message(value):
        raise asked.refusal(body if value is None else value)
    return _answer(asked, whole_message(value))


def _is_message(value: object) -> TypeGuard[Json]:
    """Whether this is a message: with content, or with a stop reason that says that there is none."""
    if not isinstance(value, dict) or is_error(value):
        return False
    content = value.get("content")
    is_odd = isinstance(content, str) or (content is None and bool(value.get("stop_reason")))
    return isinstance(content, list) or (is_odd and value.get("type") == "message")


def _answer(asked: Asked, message: Json, notes: tuple[str, ...] = ()) -> Answer:
    n_bytes = sum(text_bytes(delta_of(event)) for event in events_of(message))
    usage = settled(usage_from(message["usage"]), asked.body, n_bytes)
    if usage_from(message["usage"]) is None:
        message = {**message, "usage": {**message["usage"], **reported_to_anthropic(usage)}}
    return Answer(completion_of(message), usage, {**message, "model": asked.arm.arm_id}, notes)


class MessageStream:
    """Reads the events of one message: as bytes for the client, and in OpenAI's terms for the router.

    A sound event passes byte for byte, except for the name of the model in the first.
    """

    def __init__(self, asked: Asked) -> None:
        self.is_done = False  # the message has ended, or the end marker of OpenAI's streams came
        self._asked = asked
        self._events = EventNormaliser()
        self._halves = HalfCharacters()
        self._frame: Json = {"object": "chat.completion.chunk"}
        self._counts: Json = {}
        self._n_answer_bytes = 0

    @property
    def notes(self) -> list[str]:
        return self._events.notes

    @property
    def is_whole(self) -> bool:
        """Whether only the end of the message may be missing."""
        return self._events.stop_reason is not None

    def event(self, data: bytes) -> Sequence[Chunk]:
        """The chunks for the data of one event, often one.

        Raises:
            ProviderError: the event is an error, or no part of a message.
        """
        value = parsed(data)
        is_one_line = b"\n" not in data
        if (
            is_one_line
            and not self._halves.waiting
            and isinstance(value, dict)
            and self._events.continues(value)
        ):
            return (self._chunk(value, data),)  # the most frequent event
        return [
            self._chunk(event, data if raw is event and is_one_line else None)
            for raw, event in self._read(value, data)
        ]

    def all_events(self, events: list[bytes]) -> Iterator[Json]:
        """The normalised events of a whole stream."""
        for data in events:
            if not self.is_done:
                for _, event in self._read(parsed(data), data):
                    yield self._counted(event)
        for event in self._last():
            yield self._counted(event)

    def end(self) -> Iterator[Chunk]:
        """The chunks that end the stream.

        Raises:
            ProviderBroken: the stream was cut off.
        """
        for event in self._last():
            yield self._chunk(event, None)

    def _last(self) -> Iterator[Json]:
        is_marked = self.is_done and self._events.has_content
        if not (self._events.has_ended or self.is_whole or is_marked):
            model = self._asked.arm.model
            raise ProviderBroken(f"{model} stopped streaming before its answer was complete")
        yield from self._events.end()

    def _read(self, value: object, data: bytes) -> Iterator[tuple[Json, Json]]:
        """Each normalised event beside the provider's.

        Args:
            value: the data as strict JSON; None: it is not.
        """
        values, has_halves = [value], False
        if not isinstance(value, dict):
            if data.strip() in KEEP_ALIVE:
                return
            values, has_halves = lenient_values(data), True
        if not values:
            raise self._asked.refusal(None)
        for value in values:
            if value == DONE:
                self.is_done = True
            elif isinstance(value, dict) and (isinstance(value.get("type"), str) or is_error(value)):
                for raw in self._unfolded(value):
                    for event in self._events.events(raw):
                        yield from ((value, whole) for whole in self._joined(event, has_halves))
            elif value is not None and not isinstance(value, dict):
                raise self._asked.refusal(value)
        self.is_done = self.is_done or self._events.has_ended

    def _unfolded(self, value: Json) -> Iterator[Json]:
        """The events in a JSON value: one, or all of a whole message in place of a stream."""
        if value.get("type") == "error" or is_error(value):
            raise self._asked.refusal(value)
        if value["type"] != "message":
            yield value
        elif not _is_message(value):
            raise self._asked.refusal(value)
        else:
            yield from events_of(whole_message(value))

    def _joined(self, event: Json, has_halves: bool) -> Iterator[Json]:
        """The event with whole characters only."""
        if not (has_halves or self._halves.waiting):
            yield event
            return
        if event["type"] == "content_block_stop" and (rest := self._halves.flushed(event["index"])):
            yield {"type": "content_block_delta", "index": event["index"], "delta": rest}
        if event["type"] == "content_block_delta":
            event = {**event, "delta": self._halves.joined_delta(event["index"], event["delta"])}
        yield without_halves(event)

    def _counted(self, event: Json) -> Json:
        """The event with complete usage, after its counts were read; a later zero or null erases none."""
        kind = event["type"]
        if kind == "message_start":
            self._frame["id"] = event["message"]["id"]
            event = {**event, "message": {**event["message"], "model": self._asked.arm.arm_id}}
            self._count(event["message"]["usage"])
        self._n_answer_bytes += text_bytes(delta_of(event))
        if kind == "message_delta":
            self._count(event["usage"])
            if event["usage"] is None:
                event = {**event, "usage": reported_to_anthropic(self._usage())}
        return event

    def _chunk(self, event: Json, data: bytes | None) -> Chunk:
        kind = event["type"]
        counted = self._counted(event)
        if data is None or counted is not event:
            data = orjson.dumps(counted)
        delta, reason = delta_of(event), None
        if kind == "message_delta":
            reason = finish_reason_of(event["delta"].get("stop_reason"))
        choices = [{"index": 0, "delta": delta, "finish_reason": reason}] if delta or reason else []
        has_counts = kind == "message_start" or "usage" in event
        usage = self._usage() if kind == "message_stop" else usage_from(self._counts) if has_counts else None
        notes = tuple(self.notes) if kind == "message_stop" else ()
        native = b"event: %s\ndata: %s\n\n" % (kind.encode(), data)
        return Chunk({**self._frame, "choices": choices}, usage, native, notes)

    def _usage(self) -> Usage:
        return settled(usage_from(self._counts), self._asked.body, self._n_answer_bytes)

    def _count(self, usage: object) -> None:
        self._counts = merged(self._counts, usage if isinstance(usage, dict) else {}, is_final=True)
