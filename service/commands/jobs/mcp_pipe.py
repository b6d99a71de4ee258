"""Serves MCP over standard input and output, for a router that runs elsewhere."""

from __future__ import annotations

import structlog

from service.commands.jobs.running_router import RunningRouter
from service.errors import StartupError

log = structlog.get_logger(__name__)


def serve_pipe(router: RunningRouter) -> None:
    """Serve until the client closes standard input.

    Without a router it serves too: the tools then say how to start one, and the client need not be restarted.
    """
    from service.mcp_server.router_api import RouterApi
    from service.mcp_server.server import build_server

    try:
        router.ask("/ready")
    except StartupError as error:
        log.warning("no_router", reason=str(error))
    build_server(lambda _: RouterApi(router.address, router.headers)).run("stdio")
