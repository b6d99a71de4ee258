"""A streamed answer: the events of any provider in, the chunks that the router passes on out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from service.domain.answer import Chunk
from service.domain.basics import Json
from service.domain.chunks import chunk_bodies
from service.domain.usage import settled, shown
from service.domain.usage_report import merged, report_in, usage_from
from service.errors import ProviderBroken
from service.providers.http import parsed
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.characters import without_halves
from service.providers.normaliser.choice import ChoiceNormaliser
from service.providers.normaliser.envelope import Frame, choices_in, states_error
from service.providers.normaliser.json_values import DONE, lenient_values
from service.providers.normaliser.tool_calls import whole_number

_DONE = DONE.encode()
# The fields of an event beside which there is no usage, and no error.
_PLAIN = {"id", "object", "created", "model", "choices", "service_tier", "system_fingerprint", "provider"}
_PLAIN |= {"obfuscation"}
KEEP_ALIVE = frozenset({b"", b"ping", b"PING", b"keep-alive", b"keepalive", b"heartbeat"})


class StreamNormaliser:
    """Gives the chunks of one stream the same form, and adds what is missing at their end.

    Providers report usage in a chunk of its own, with the last chunk, with every chunk, or never. The
    normalised stream has it once, in a closing chunk without choices.
    """

    def __init__(self, asked: Asked) -> None:
        self.is_done = False  # the end marker came
        self._asked = asked
        self._tools = asked.tools
        self._frame = Frame("chat.completion.chunk")
        self._last: Json = {}
        self._report: Json = {}
        self._choices: dict[int, ChoiceNormaliser] = {}
        self._only: ChoiceNormaliser | None = None  # the choice, if the provider has numbered one only, as 0
        self._numbers: dict[int, int] = {}  # the index of a choice by the provider -> for the client

    def event(self, data: bytes) -> Sequence[Chunk]:
        """The chunks for the data of one event, often none.

        Raises:
            ProviderError: the event is an error, or no part of an answer.
        """
        if data.startswith(_DONE):
            self.is_done = True
            return ()
        if isinstance(value := parsed(data), dict):
            if (text := self._plain_text(value)) is None:
                return self._chunks(value, has_halves=False)
            self._last = value
            return (Chunk(value, text=text),)
        if data.strip() in KEEP_ALIVE:
            return ()
        values = lenient_values(data)
        if not values:
            raise self._asked.refusal(None)
        return self.chunks(values, has_halves=True)

    def chunks(self, value: object, *, has_halves: bool = False) -> Sequence[Chunk]:
        """The chunks for the JSON value of one event, or for a list of them. Raises as `event` does."""
        if isinstance(value, dict):
            return self._chunks(value, has_halves=has_halves)
        if isinstance(value, list):
            return [chunk for item in value for chunk in self.chunks(item, has_halves=has_halves)]
        if value == DONE:
            self.is_done = True
        elif value is not None:
            raise self._asked.refusal(value)
        return ()

    def _plain_text(self, raw: Json) -> str | None:
        """The text of an event that is a further piece of the only choice's, in the form that clients get.

        Most events of most streams are: they need none of what `_chunks` does for the others.
        """
        only = self._only
        if only is None or not raw.keys() <= _PLAIN or not self._frame.is_around(raw):
            return None
        choices = raw.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:
            return None
        index = choices[0].get("index")
        return only.plain_text(choices[0]) if index == 0 and type(index) is int else None

    def _chunks(self, raw: Json, *, has_halves: bool) -> Sequence[Chunk]:
        choices = choices_in(raw)
        if choices is None or states_error(raw, choices):
            raise self._asked.refusal(raw)
        if (report := report_in(raw)) is not None:
            self._report = merged(self._report, report, is_final=not choices)
        if not choices:
            return ()
        if raw.get("object") == "chat.completion" and any("message" in choice for choice in choices):
            raw["choices"] = [self._unsaid(choice) for choice in choices]
            bodies = [body for body in chunk_bodies(raw) if body["choices"]]
            return [self._chunk(body, body["choices"], has_halves) for body in bodies]
        return (self._chunk(raw, choices, has_halves),)

    def _chunk(self, raw: Json, choices: list[Json], has_halves: bool) -> Chunk:
        raw["choices"] = [
            self._choice(position, choice, has_halves) for position, choice in enumerate(choices)
        ]
        raw.pop("usage", None)
        self._last = self._frame.around(without_halves(raw) if has_halves else raw)
        return Chunk(self._last)

    def _choice(self, position: int, raw: Json, has_halves: bool) -> Json:
        index = whole_number(raw.get("index"))
        index = position if index is None else index
        if self._asked.n_choices == 1:  # some servers count from 1
            index = self._numbers.setdefault(index, len(self._numbers))
        if index not in self._choices:
            self._choices[index] = ChoiceNormaliser(self._tools)
            is_only = len(self._choices) == 1 and self._numbers.get(0) == 0
            self._only = self._choices[index] if is_only else None
        return self._choices[index].choice(index, raw, has_halves=has_halves)

    def _unsaid(self, choice: Json) -> Json:
        """The choice of a whole answer at the end of a stream, without what the stream has said already."""
        index = whole_number(choice.get("index"))
        index = index or 0
        known = self._choices.get(self._numbers.get(index, index))
        message = choice.get("message")
        message = message if isinstance(message, dict) else {"content": message}
        return {**choice, "message": message if known is None else known.unsaid(message)}

    @property
    def is_whole(self) -> bool:
        """Whether every requested choice has ended, so that only usage may be missing."""
        finished = [choice.finish_reason for choice in self._choices.values()]
        return None not in finished and len(finished) >= self._asked.n_choices

    def end(self) -> Iterator[Chunk]:
        """The chunks that end the stream.

        Raises:
            ProviderBroken: the stream was cut off or is empty.
        """
        model = self._asked.arm.model
        if not self._choices:
            raise ProviderBroken(f"{model} streamed nothing")
        if not self._has_ended_well():
            raise ProviderBroken(f"{model} stopped streaming before its answer was complete")
        late = [end for index, choice in self._choices.items() if (end := choice.end(index)) is not None]
        if late:
            yield Chunk({**self._last, "choices": late})
        n_bytes = sum(choice.n_bytes for choice in self._choices.values())
        usage = settled(usage_from(self._report), self._asked.body, n_bytes)
        notes = tuple(note for choice in self._choices.values() for note in choice.notes)
        yield Chunk({**self._last, "choices": [], "usage": shown(self._report, usage)}, usage, notes=notes)

    def _has_ended_well(self) -> bool:
        """Whether every choice has a finish reason.

        Some servers send none at all; then an end marker after content says that the answer is whole.
        """
        finished = [choice.finish_reason is not None for choice in self._choices.values()]
        has_content = any(choice.has_content for choice in self._choices.values())
        return all(finished) or (self.is_done and has_content and not any(finished))
