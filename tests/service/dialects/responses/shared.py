"""What the tests of the Responses dialect share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson

from service.dialects.received import Received
from service.dialects.responses.requests import query_of, read_request
from service.domain.basics import Json
from service.domain.query import Query

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(**body: Any) -> Query:
    """The query of a request body."""
    received = Received({}, "t", "r-1", request_id_given=True, received_at=NOW)
    return query_of(read_request(orjson.dumps({"input": "Hi", **body})), received)


def chat_of(**body: Any) -> Json:
    """The same request as one of Chat Completions."""
    return read(**body).body


def messages_of(*items: Json) -> list[Json]:
    messages: list[Json] = chat_of(input=list(items))["messages"]
    return messages


def user(*parts: Json | str) -> Json:
    content = [{"type": "input_text", "text": p} if isinstance(p, str) else p for p in parts]
    return {"type": "message", "role": "user", "content": content}


def assistant(text: str) -> Json:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [part]}


def call(call_id: str = "call_1", name: str = "weather", arguments: str = "{}", **more: Any) -> Json:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments, **more}


def result(call_id: str = "call_1", output: Any = "21 degrees") -> Json:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


WEATHER: Json = {
    "type": "function",
    "name": "weather",
    "description": "The weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
