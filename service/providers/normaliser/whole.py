"""A whole answer: what any provider sent in, an OpenAI `chat.completion` out."""

from __future__ import annotations

from collections.abc import Iterator

from service.domain.answer import Answer, Chunk
from service.domain.basics import Json
from service.domain.usage import settled, shown, text_bytes
from service.domain.usage_report import report_in, usage_from
from service.errors import ProviderBroken
from service.providers.http import parsed
from service.providers.normaliser.asked import Asked
from service.providers.normaliser.assembly import assembled
from service.providers.normaliser.characters import without_halves
from service.providers.normaliser.content import said, tidied
from service.providers.normaliser.envelope import Frame, choices_in, states_error
from service.providers.normaliser.finish import finish_reason, with_calls
from service.providers.normaliser.json_values import lenient_values
from service.providers.normaliser.stream import StreamNormaliser
from service.providers.normaliser.tool_calls import function_call, whole_calls, whole_number
from service.providers.streams import events_in

_CALLS = (("tool_calls", whole_calls), ("function_call", function_call))


def read(asked: Asked, body: bytes) -> Answer:
    """The answer for the body that a provider sent: JSON, or a stream in place of it.

    Raises:
        ProviderError: the body is an error, or no answer of a model.
    """
    if (value := parsed(body)) is not None:
        return normalised(asked, value)
    events = events_in(body)
    values = lenient_values(body) if events is None else []
    if events is not None or len(values) > 1:
        return assembled(_chunks(asked, events or [body]))
    return normalised(asked, without_halves(values[0]) if values else body)


def _chunks(asked: Asked, events: list[bytes]) -> Iterator[Chunk]:
    normaliser = StreamNormaliser(asked)
    for data in events:
        if not normaliser.is_done:
            yield from normaliser.event(data)
    yield from normaliser.end()


def normalised(asked: Asked, raw: object) -> Answer:
    """The answer for the JSON value that a provider sent.

    Raises:
        ProviderError: the value is an error, or no answer of a model.
    """
    choices = choices_in(raw) if isinstance(raw, dict) else None
    if not isinstance(raw, dict) or not choices or states_error(raw, choices):
        raise asked.refusal(raw)
    report = report_in(raw)
    notes: list[str] = []
    body = {**raw, "choices": _numbered([_choice(asked, choice, notes) for choice in choices])}
    usage = usage_from(report)
    if usage is None or not (usage.prompt_tokens and usage.completion_tokens):
        n_bytes = sum(text_bytes(said(choice["message"])) for choice in body["choices"])
        usage = settled(usage, asked.body, n_bytes)
    body["usage"] = shown(report, usage)
    return Answer(Frame("chat.completion").around(body), usage, notes=tuple(notes))


def _choice(asked: Asked, raw: Json, notes: list[str]) -> Json:
    found = raw.get("message")
    if found is None:
        found = next((raw[name] for name in ("delta", "text") if raw.get(name) is not None), None)
    if not isinstance(found, dict | str | list):
        raise asked.refusal(None)
    message = _message(found if isinstance(found, dict) else {"content": found})
    reason = finish_reason(raw.get("finish_reason"))
    if reason == "error":
        raise ProviderBroken(
            f"{asked.arm.model} broke its answer off, finish_reason {raw['finish_reason']!r}"
        )
    if reason == "unknown":
        notes.append(f"finish_reason {raw['finish_reason']!r} is unknown, and read as stop")
    if reason is None:
        notes.append("the answer has no finish reason")
    rest = {name: value for name, value in raw.items() if name not in ("delta", "text")}
    return {**rest, "message": message, "finish_reason": with_calls(reason or "stop", message)}


def _message(raw: Json) -> Json:
    message = {"role": "assistant", "content": None, **tidied(raw)}
    for name, read in _CALLS:
        if message.get(name) is not None:
            message[name] = read(message[name])
            if not message[name]:
                del message[name]
    if message["role"] is None:
        message["role"] = "assistant"
    return message


def _numbered(choices: list[Json]) -> list[Json]:
    """The choices with their own indices, or with their positions if an index is missing or occurs twice."""
    if len(choices) == 1:
        return [{**choices[0], "index": 0}]
    indices = [whole_number(choice.get("index")) for choice in choices]
    if None in indices or len(set(indices)) < len(indices):
        indices = list(range(len(choices)))
    return [{**choice, "index": index} for choice, index in zip(choices, indices, strict=True)]
