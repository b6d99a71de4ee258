"""`router mcp` and `router mcp client`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from service.commands.options import RouterUrl, read_settings
from service.commands.output import print_report

mcp = typer.Typer(rich_markup_mode=None)


@mcp.callback(invoke_without_command=True)
def serve(context: typer.Context, url: RouterUrl = None) -> None:
    """Offer a running router to an MCP client, over standard input and output.

    The client starts this command. Its key for the router, if the router wants one, is ROUTER_API_KEY.
    """
    if context.invoked_subcommand is not None:
        return
    from service.commands.jobs.mcp_pipe import serve_pipe
    from service.commands.jobs.running_router import RunningRouter

    serve_pipe(RunningRouter.at(url, *read_settings()))


@mcp.command()
def client(
    tool: Annotated[
        str | None, typer.Argument(metavar="TOOL", help="Tool to call; without one, the tools are listed.")
    ] = None,
    arguments: Annotated[str, typer.Option("--json", metavar="OBJECT", help="Arguments of the tool.")] = "{}",
    transport: Annotated[
        Literal["http", "sse", "stdio"],
        typer.Option(help="How to reach the router; stdio runs `router mcp`."),
    ] = "http",
    url: RouterUrl = None,
) -> None:
    """Call one tool of a running router, as an MCP client does, and print its result as JSON."""
    given = _read(arguments)
    from service.commands.jobs.mcp_call import Way, call_tool, list_tools
    from service.commands.jobs.running_router import RunningRouter

    way = Way.to(RunningRouter.at(url, *read_settings()), transport)
    if tool is not None:
        print_report(call_tool(way, tool, given), "", as_json=True)
        return
    for name, description, names in list_tools(way):
        typer.echo(f"{name}({', '.join(names)})\n    {description}")


def _read(arguments: str) -> dict[str, Any]:
    import orjson

    try:
        given = orjson.loads(arguments)
    except orjson.JSONDecodeError as error:
        raise typer.BadParameter(f"must be a JSON object: {error}", param_hint="--json") from error
    if not isinstance(given, dict):
        raise typer.BadParameter(f"must be a JSON object, got {arguments[:40]}", param_hint="--json")
    return given
