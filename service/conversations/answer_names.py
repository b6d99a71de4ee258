"""Names that answers give to a conversation without a session id.

The next request brings the newest answer back, as its client keeps it: in one string or in parts, without
thinking, trimmed, cut off, with the arguments of tool calls reformatted or their ids replaced. An answer
has several names, so that one of them is left. A few-shot example is not an answer of the router.

Pure. It reads messages in OpenAI's form.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from service.conversations.gemini_signatures import MARK
from service.domain.basics import Json
from service.domain.conversation import Place
from service.domain.query import Query

START_CHARS = 100  # of an answer; clients shorten long ones, or add a note at the end
WHOLE_CHARS = 300  # an answer this long is the same by itself, also if the client rewrote its question
MAX_CALLS = 16  # of one answer, that name the conversation
MAX_CHOICES = 8
MAX_WHOLE = 2**53  # a larger number is not exact in other languages

_THINKING = re.compile(r"<(think|thinking|thought|reasoning|details)(?: [^<>]{0,200})?>", re.IGNORECASE)
_RUN = re.compile(r"[A-Za-z0-9]{12,64}")
_ID_CHARS = 128  # of an id, that are searched for a run


def names_of_answer(place: Place, answer: Sequence[Json], *, is_cut: bool = False) -> tuple[bytes, ...]:
    """The names that an answer gives to its conversation, the surest first; none if it is empty.

    Args:
        answer: the messages of one turn of the assistant, usually one.
        is_cut: the client has only a part of it, of any length.
    """
    names = dict.fromkeys(_names(place, answer))
    if is_cut and names:
        names[_cut(place)] = None
    return tuple(names)


def names_of_messages(query: Query, choices: Sequence[Json], *, is_cut: bool = False) -> tuple[bytes, ...]:
    """The names that an answer to the query gives to its conversation.

    Args:
        choices: the message of each choice; clients continue one of them.
    """
    if query.turn.place is None:
        return ()
    started = started_answer(query.body["messages"])
    names: dict[bytes, None] = {}
    for choice in choices[:MAX_CHOICES]:
        names |= dict.fromkeys(names_of_answer(query.turn.place, [choice], is_cut=is_cut))
        if started:  # clients bring it back with its start or without
            names |= dict.fromkeys(names_of_answer(query.turn.place, [*started, choice], is_cut=is_cut))
    return tuple(names)


def started_answer(messages: Sequence[Json]) -> Sequence[Json]:
    """The assistant's messages at the end, which the answer continues."""
    start = len(messages)
    while start > 0 and messages[start - 1]["role"] == "assistant":
        start -= 1
    return messages[start:]


def names_of_result(place: Place, call_id: object) -> Iterator[bytes]:
    """The name that a tool call gives, found by the id in its result."""
    if isinstance(call_id, str) and call_id:
        plain = call_id.partition(MARK)[0]
        yield digest("call", plain) if _is_random(plain) else digest(place.opening, "call", plain)


def possible_names(place: Place, answer: Sequence[Json]) -> tuple[bytes, ...]:
    """The names that an answer has if the router gave it, be it whole or cut."""
    return (*names_of_answer(place, answer), _cut(place))


def digest(*parts: str | bytes) -> bytes:
    """One digest of all parts; different lists of parts have different digests."""
    hashed: list[bytes] = []
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass")
        hashed += (len(data).to_bytes(8, "big"), data)
    return hashlib.sha256(b"".join(hashed)).digest()


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message, whether it is one string or parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if _is_text(p))


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _names(place: Place, answer: Sequence[Json]) -> Iterator[bytes]:
    calls = [call for message in answer for call in _calls(message)][:MAX_CALLS]
    for call in calls:
        yield from names_of_result(place, call.get("id"))
    if calls:
        yield digest(place.opening, place.asked, "calls", *sorted(map(_written, calls)))
    if text := _text(answer):
        yield digest(place.opening, place.asked, "text", text[:START_CHARS])
    if len(text) >= WHOLE_CHARS:
        yield digest(place.opening, place.earlier, "text", text)


def _is_random(call_id: str) -> bool:
    """Whether no other call has the id by chance, unlike `call_1` and `functions.read:0`."""
    return any(not run.isalpha() for run in _RUN.findall(call_id[:_ID_CHARS]))


def _cut(place: Place) -> bytes:
    return digest(place.opening, place.asked, "cut")


def _text(answer: Sequence[Json]) -> str:
    """What the answer says, without thinking and white space."""
    said = "".join(f"{text_of(message)}{message.get('refusal') or ''}" for message in answer)
    return "".join(_without_thinking(said.lstrip()).split())


def _without_thinking(said: str) -> str:
    """The text without the thinking that it starts with."""
    opening = _THINKING.match(said)
    closing = f"</{opening[1]}>" if opening else ""
    end = said.find(closing) if closing else -1
    return said[end + len(closing) :] if end >= 0 else said


def _calls(message: Json) -> list[Json]:
    calls = message.get("tool_calls")
    found = [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    if isinstance(call := message.get("function_call"), dict):
        found.append({"function": call})
    return found


def _written(call: Json) -> bytes:
    """A call's name and arguments, however its client writes them; without its id."""
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return digest(str(function.get("name")), _arguments(function.get("arguments")))


def _arguments(given: Any) -> bytes:
    """Arguments in one form; those that are no JSON without their white space."""
    try:
        value = json.loads(given or "{}") if isinstance(given, str) else given
        return json.dumps(_plain(value), sort_keys=True).encode()
    except (ValueError, TypeError, RecursionError):
        return "".join(str(given).split()).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    """The value with whole numbers as integers: clients write 1.0 as 1."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    is_whole = isinstance(value, float) and abs(value) < MAX_WHOLE and value.is_integer()
    return int(value) if is_whole else value
