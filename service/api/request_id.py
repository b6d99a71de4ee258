"""The id and the arrival time that every request gets."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def new_request_id() -> str:
    return f"req_{uuid4().hex}"


class RequestContext:
    """Stamps every request with its arrival, and every response with its id."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["received_at"] = datetime.now(UTC)
        state["request_id"] = new_request_id()  # until the caller's is known to be a good one

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                request_id = state["request_id"].encode()
                named = [(b"x-request-id", request_id), (b"request-id", request_id)]  # OpenAI's, Anthropic's
                message["headers"] = [*message["headers"], *named]
            await send(message)

        await self.app(scope, receive, send_with_id)
