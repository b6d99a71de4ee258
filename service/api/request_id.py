"""Gives every request an id and an arrival time."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

from starlette.types import ASGIApp, Message, Receive, Scope, Send


def new_request_id() -> str:
    return f"req_{uuid4().hex}"


class RequestContext:
    """Sets the arrival time of every request, and adds the request id to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["received_at"] = datetime.now(UTC)
        state["request_id"] = new_request_id()  # replaced by the client's id once that is validated

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                request_id = state["request_id"].encode()
                named = [(b"x-request-id", request_id), (b"request-id", request_id)]  # OpenAI's, Anthropic's
                if reused := state.get("reused_request_id"):
                    named.append((b"x-router-reused-request-id", reused.encode()))
                message["headers"] = [*message["headers"], *named]
            await send(message)

        await self.app(scope, receive, send_with_id)
