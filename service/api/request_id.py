"""The id of a request, which every response carries."""

from __future__ import annotations

from collections.abc import Awaitable
from os import urandom
from typing import Any

from starlette.types import Message, Send


def new_request_id() -> str:
    return f"req_{urandom(16).hex()}"


def sending_id(send: Send, state: dict[str, Any]) -> Send:
    """The same `send`, which adds the request's id, as it is by then, to the headers of the response.

    It sets the state `has_begun`.
    """

    def send_with_id(message: Message) -> Awaitable[None]:
        if message["type"] == "http.response.start":
            state["has_begun"] = True
            request_id = state["request_id"].encode()
            named = [(b"x-request-id", request_id), (b"request-id", request_id)]  # OpenAI's, Anthropic's
            if reused := state.get("reused_request_id"):
                named.append((b"x-router-reused-request-id", reused.encode()))
            message["headers"] = [*message["headers"], *named]
        return send(message)

    return send_with_id
