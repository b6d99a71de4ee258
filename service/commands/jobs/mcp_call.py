"""Calls one tool of a router by the official MCP client."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from service.commands.jobs.running_router import RunningRouter
from service.domain.basics import Json
from service.errors import RouterError

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult

TIMEOUT_S = 3_700.0  # longer than the deadline of any router


class ToolFailed(RouterError):
    """The tool answers with an error."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to reach the MCP server of a router."""

    transport: Literal["http", "sse", "stdio"]
    address: str
    headers: Mapping[str, str]

    @classmethod
    def to(cls, router: RunningRouter, transport: Literal["http", "sse", "stdio"]) -> Way:
        """The way to a running router. Raises StartupError: none answers."""
        router.ask("/ready")
        return cls(transport, router.address, router.headers)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        import httpx2
        from mcp import Client, StdioServerParameters
        from mcp.client.sse import sse_client
        from mcp.client.streamable_http import streamable_http_client

        async with AsyncExitStack() as stack:
            if self.transport == "stdio":
                command = ["-m", "service.cli", "mcp", "--url", self.address]
                way: Any = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))
            elif self.transport == "sse":
                way = sse_client(
                    f"{self.address}/sse", headers=dict(self.headers), sse_read_timeout=TIMEOUT_S
                )
            else:
                http = httpx2.AsyncClient(headers=self.headers, timeout=TIMEOUT_S, trust_env=False)
                way = streamable_http_client(
                    f"{self.address}/mcp", http_client=await stack.enter_async_context(http)
                )
            yield await stack.enter_async_context(Client(way))


def call_tool(way: Way, tool: str, arguments: Json) -> Json:
    """The structured result of the tool. Raises ToolFailed."""

    async def call() -> CallToolResult:
        async with way.client() as client:
            return await client.call_tool(tool, arguments)

    result = asyncio.run(call())
    if result.is_error:
        raise ToolFailed(" ".join(part.text for part in result.content if part.type == "text"))
    structured: Json = result.structured_content or {}
    return structured


def list_tools(way: Way) -> list[tuple[str, str, list[str]]]:
    """Name, description and arguments of every tool."""

    async def list_all() -> list[tuple[str, str, list[str]]]:
        async with way.client() as client:
            tools = (await client.list_tools()).tools
        return [(t.name, t.description or "", list(t.input_schema.get("properties", {}))) for t in tools]

    return asyncio.run(list_all())
