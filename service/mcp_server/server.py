"""The MCP server: the tools, the resources, and how their faults are reported."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import CallToolResult, InputRequiredResult, Resource, ToolAnnotations
from pydantic import ValidationError

from service.dialects.json_body import invalid
from service.domain.basics import Json
from service.mcp_server.router_api import Refused, RouterApi
from service.mcp_server.tools import Tools

NAME = "llm-router"
INSTRUCTIONS = (
    "`complete` has a language model answer; the router chooses it and learns from `feedback` which model is "
    "worth its price. After using an answer, rate it with `feedback`. `explain` says why a model was chosen."
)
RECENT = "router://decisions/recent"
JSON = "application/json"
Api = Callable[[Any], RouterApi]
READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
# Answers cost money and differ; a rating can be repeated and replaced.
ANNOTATIONS = {
    "complete": ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=True),
    "feedback": ToolAnnotations(
        read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False
    ),
}


class RouterServer(MCPServer):
    """An MCP server whose errors name the field and its rule, and nothing else."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context | None = None
    ) -> CallToolResult | InputRequiredResult:
        tool = next((tool for tool in await self.list_tools() if tool.name == name), None)
        known = {} if tool is None else tool.input_schema.get("properties", {})
        if tool is not None and (unknown := sorted(arguments.keys() - known.keys())):
            raise ToolError(f"{unknown[0]}: is no argument of {name}, which has {', '.join(known)}")
        try:
            return await super().call_tool(name, arguments, context)
        except ToolError as error:
            raise _in_one_sentence(error) from error

    async def list_resources(self) -> list[Resource]:
        """The newest decisions too: a template, because only templates know who reads them."""
        recent = Resource(
            uri=RECENT, name="decisions/recent", description="the newest decisions", mime_type=JSON
        )
        return [*await super().list_resources(), recent]


def unchecked() -> TransportSecuritySettings:
    """No checks of hosts and origins, for an application that makes them itself."""
    return TransportSecuritySettings(enable_dns_rebinding_protection=False)


def build_server(api: Api) -> RouterServer:
    """The MCP server.

    Args:
        api: the router, for the HTTP request that an MCP message came in; None: it came by a pipe.
    """

    def router(ctx: Context) -> RouterApi:
        return api(ctx.request_context.request)

    server = RouterServer(
        NAME,
        title="LLM Router",
        instructions=INSTRUCTIONS,
        version=importlib.metadata.version("llm-router"),
        log_level="WARNING",
        subscriptions=False,
    )
    tools = Tools(router)
    for tool in (tools.complete, tools.route, tools.feedback, tools.explain, tools.stats, tools.models):
        server.add_tool(tool, annotations=ANNOTATIONS.get(tool.__name__, READS))

    @server.resource(
        "router://requests/{request_id}",
        name="requests",
        description="everything about one request: decision, attempts, outcome, feedback",
        mime_type=JSON,
    )
    async def request(request_id: str, ctx: Context) -> str:
        return await _read(router(ctx), f"/requests/{quote(request_id, safe='')}")

    @server.resource(
        f"{RECENT}{{?limit}}",
        name="decisions/recent",
        description="the newest decisions, 50 unless `limit` says otherwise (up to 200)",
        mime_type=JSON,
    )
    async def recent(ctx: Context, limit: str = "50") -> str:
        return await _read(router(ctx), "/requests", limit=limit)

    return server


async def _read(api: RouterApi, path: str, **parameters: object) -> str:
    """The answer of a path as JSON. Raises ResourceError."""
    try:
        answer: Json = await api.get(path, **parameters)
    except Refused as error:
        kind = ResourceNotFoundError if error.status == 404 else ResourceError
        raise kind(str(error)) from error
    except ToolError as error:
        raise ResourceError(str(error)) from error
    return orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()


def _in_one_sentence(error: ToolError) -> ToolError:
    """The error without what the package puts before it."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        return ToolError(str(invalid(cause)))
    return cause if isinstance(cause, ToolError) else error
