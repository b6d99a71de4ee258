"""The official MCP client, connected to a served world by each transport that HTTP has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from service.domain.basics import Json
from tests.service.served import serving
from tests.service.world import World

# streamable HTTP as clients speak it today, the same with the handshake of older clients, and SSE
Transport = Literal["http", "http with a handshake", "sse"]
TRANSPORTS: tuple[Transport, ...] = ("http", "http with a handshake", "sse")


@asynccontextmanager
async def connected(
    world: World, transport: Transport = "http", headers: dict[str, str] | None = None
) -> AsyncIterator[Client]:
    async with serving(world) as port:
        url = f"http://127.0.0.1:{port}"
        if transport == "sse":
            async with Client(sse_client(f"{url}/sse", headers=headers)) as client:
                yield client
            return
        async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=60) as http:
            way = streamable_http_client(f"{url}/mcp", http_client=http)
            async with Client(way, mode="auto" if transport == "http" else "legacy") as client:
                yield client


async def called(client: Client, tool: str, **arguments: object) -> Json:
    """The structured result of a tool that succeeds."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structured: Json | None = result.structured_content
    assert structured is not None
    return structured


async def refused(client: Client, tool: str, **arguments: object) -> str:
    """The message of a tool that fails."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    (content,) = result.content
    assert content.type == "text"
    return content.text
