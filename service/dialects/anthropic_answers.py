"""Writes answers in the Anthropic dialect: messages, event streams, errors, lists of models."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from service.conversations.client_ids import encoded
from service.conversations.gemini_signatures import signed_id
from service.domain.answer import Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json
from service.domain.usage import reported_to_anthropic
from service.domain.usage_report import usage_from

PING = b'event: ping\ndata: {"type": "ping"}\n\n'

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OVERLOADED = 529  # Anthropic's status for 503
UNPAID = 402  # Anthropic's status for OpenAI's 429 `insufficient_quota`


def event(type: str, **fields: Any) -> bytes:
    """One server-sent event."""
    return b"event: %s\ndata: %s\n\n" % (type.encode(), orjson.dumps({"type": type, **fields}))


def message(body: Json) -> Json:
    """Translate an OpenAI `chat.completion` into a message."""
    choice = body["choices"][0]
    answer = choice["message"]
    text = _text(answer)
    calls = [_tool_use(call) for call in _objects(answer.get("tool_calls"))]
    return {
        **_frame(body),
        "content": [*([{"type": "text", "text": text}] if text else []), *calls],
        "stop_reason": _stop_reason(
            choice.get("finish_reason"), has_tools=bool(calls), is_refusal=bool(answer.get("refusal"))
        ),
        "stop_sequence": None,
        "usage": reported_to_anthropic(usage_from(body.get("usage")) or Usage()),
    }


def _frame(body: Json) -> Json:
    message_id = str(body.get("id") or uuid4().hex)
    if not message_id.startswith("msg_"):
        message_id = f"msg_{message_id}"
    return {"id": message_id, "type": "message", "role": "assistant", "model": body["model"]}


def _tool_use(call: Json) -> Json:
    return _tool_block(call) | {"input": _input(_arguments(call))}


def _tool_block(call: Json) -> Json:
    call_id = signed_id(call)
    use_id = encoded(call_id) if call_id else f"toolu_{uuid4().hex[:24]}"
    return {"type": "tool_use", "id": use_id, "name": str(_function(call).get("name") or ""), "input": {}}


def _function(call: Json) -> Json:
    function = call.get("function")
    return function if isinstance(function, dict) else {}


def _arguments(call: Json) -> str:
    """The JSON arguments of a tool call, or a fragment of them; some servers send an object."""
    arguments = _function(call).get("arguments")
    if isinstance(arguments, dict):
        return orjson.dumps(arguments).decode()
    return arguments if isinstance(arguments, str) else ""


def _text(message: Json) -> str:
    """The text of a message or a delta, or its refusal."""
    text = message.get("content") or message.get("refusal")
    return text if isinstance(text, str) else ""


def _objects(value: object) -> list[Json]:
    """The objects of a list; some servers put other values there."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _input(arguments: str) -> Json:
    """The arguments as an object. Invalid arguments are wrapped, so that the tool sees and rejects them."""
    try:
        value = bounded_json(arguments.encode() or b"{}", ANSWER)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def _stop_reason(finish_reason: str | None, *, has_tools: bool, is_refusal: bool) -> str:
    """Anthropic's stop reason; a finish reason that it has none for stays unchanged."""
    if is_refusal:
        return "refusal"
    if has_tools and finish_reason == "stop":  # some servers do so
        return "tool_use"
    return _STOP_REASONS.get(finish_reason or "stop", finish_reason or "end_turn")


class MessageEvents:
    """Writes the events of one message from the chunks of an OpenAI stream.

    Only one block is open at a time, and a closed block cannot grow. Fragments of several tool calls can
    come mixed, so all calls but the first wait until the end.

    Args:
        n_prompt_tokens: an estimate for the first event; the exact count comes with the last.
        router: the explanation of the decision; None: the client did not request it.
    """

    def __init__(self, n_prompt_tokens: int, router: Json | None = None) -> None:
        self._n_prompt_tokens = n_prompt_tokens
        self._router = router
        self._is_started = False
        self._n_blocks = 0
        self._open: str | int | None = None  # "text", or a tool call's number
        self._waiting: dict[str | int, list[Json]] = {}
        self._numbers: dict[int, int] = {}  # a tool call's index -> its number; some servers repeat an index
        self._ids: list[str | None] = []  # by number
        self._finish_reason: str | None = None
        self._is_refusal = False
        self._usage = Usage()

    def take(self, chunk: Chunk) -> bytes:
        """The events of one chunk; often none."""
        events = [] if self._is_started else [self._start(chunk)]
        self._usage = usage_from(chunk.body.get("usage")) or self._usage
        for choice in chunk.body.get("choices") or []:
            self._finish_reason = choice.get("finish_reason") or self._finish_reason
            if isinstance(delta := choice.get("delta"), dict):
                events += self._delta(delta)
        return b"".join(events)

    def end(self) -> bytes:
        """The events that close the message."""
        events = self._close()
        for key, fragments in self._waiting.items():
            for fragment in fragments:
                events += self._write(key, fragment)
            events += self._close()
        stop_reason = _stop_reason(
            self._finish_reason, has_tools=bool(self._ids), is_refusal=self._is_refusal
        )
        delta = {"stop_reason": stop_reason, "stop_sequence": None}
        events.append(event("message_delta", delta=delta, usage=reported_to_anthropic(self._usage)))
        return b"".join([*events, event("message_stop")])

    def _start(self, chunk: Chunk) -> bytes:
        self._is_started = True
        usage = reported_to_anthropic(Usage(prompt_tokens=self._n_prompt_tokens))
        started = {**_frame(chunk.body), "content": [], "stop_reason": None, "stop_sequence": None}
        return event("message_start", message=explained({**started, "usage": usage}, self._router))

    def _delta(self, delta: Json) -> list[bytes]:
        events = []
        self._is_refusal |= bool(delta.get("refusal"))
        if text := _text(delta):
            events += self._fragment("text", {"text": text})
        for call in _objects(delta.get("tool_calls")):
            events += self._fragment(self._number(call), call)
        return events

    def _number(self, call: Json) -> int:
        """The number of the tool call that a fragment belongs to."""
        index, call_id = call.get("index"), call.get("id")
        index = index if isinstance(index, int) else 0
        number = self._numbers.get(index)
        if number is None or (call_id and self._ids[number] not in (None, call_id)):
            self._numbers[index] = number = len(self._ids)
            self._ids.append(call_id)
        return number

    def _fragment(self, key: str | int, fragment: Json) -> list[bytes]:
        """The events of a fragment of a block; none while another block is open."""
        closed: list[bytes] = []
        if self._open == "text" and key != "text" and not self._waiting:
            closed = self._close()  # a tool call ends the text
        if self._open in (None, key):
            return closed + self._write(key, fragment)
        self._waiting.setdefault(key, []).append(fragment)
        return []

    def _write(self, key: str | int, fragment: Json) -> list[bytes]:
        """The events that add a fragment to the open block, or open it."""
        text = fragment["text"] if key == "text" else _arguments(fragment)
        events = []
        if self._open is None:
            self._open = key
            events.append(
                event("content_block_start", index=self._n_blocks, content_block=_block(key, fragment))
            )
        if text:
            delta = (
                {"type": "text_delta", "text": text}
                if key == "text"
                else {"type": "input_json_delta", "partial_json": text}
            )
            events.append(event("content_block_delta", index=self._n_blocks, delta=delta))
        return events

    def _close(self) -> list[bytes]:
        if self._open is None:
            return []
        self._open = None
        self._n_blocks += 1
        return [event("content_block_stop", index=self._n_blocks - 1)]


def _block(key: str | int, fragment: Json) -> Json:
    """The empty block that a fragment opens."""
    if key == "text":
        return {"type": "text", "text": ""}
    return _tool_block(fragment)


def explained(body: Json, explanation: Json | None) -> Json:
    """The message, with the explanation of the decision if the client requested it."""
    return body if explanation is None else {**body, "router": explanation}


def explained_event(native: bytes, explanation: Json | None) -> bytes:
    """A native event; the first event of a message gets the explanation."""
    if explanation is None or not native.startswith(b"event: message_start\n"):
        return native
    data = orjson.loads(native.partition(b"data: ")[2])
    return event("message_start", message=explained(data["message"], explanation))


def error_event(problem: tuple[int, Json], request_id: str) -> bytes:
    """The last event of a stream that fails."""
    return event(**error(problem, request_id)[1])


def error(problem: tuple[int, Json], request_id: str | None) -> tuple[int, Json]:
    """Translate the status and envelope of an error from OpenAI's dialect."""
    fields = problem[1]["error"]
    status = error_status(problem[0], fields["code"])
    kind = _ERROR_TYPES.get(status, "invalid_request_error" if status < 500 else "api_error")
    body = {"type": "error", "error": {"type": kind, "message": fields["message"]}, "request_id": request_id}
    return status, body


def error_status(status: int, code: str | None) -> int:
    """Anthropic's status for OpenAI's status and code."""
    if code == "insufficient_quota":
        return UNPAID
    return OVERLOADED if status == 503 else status


def models(arms: Sequence[Arm], started_at: int) -> Json:
    """`auto` and every arm, on one page."""
    listed = [model("auto", None, started_at), *(model(arm.arm_id, arm, started_at) for arm in arms)]
    return {
        "data": listed,
        "has_more": False,
        "first_id": listed[0]["id"],
        "last_id": listed[-1]["id"],
    }


def model(name: str, arm: Arm | None, started_at: int) -> Json:
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": datetime.fromtimestamp(started_at, UTC).isoformat(),
        "lifecycle": "active",
        "max_input_tokens": None if arm is None else arm.context_window,
    }
