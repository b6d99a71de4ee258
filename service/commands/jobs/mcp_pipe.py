"""Serves MCP over standard input and output, for a router that runs elsewhere."""

from __future__ import annotations

import structlog

from service.commands.jobs.running_router import address_of, ask
from service.errors import StartupError
from service.settings.settings import Settings

log = structlog.get_logger(__name__)


def serve_pipe(settings: Settings, url: str | None, key: str | None) -> None:
    """Serve until the client closes standard input.

    Without a router it serves too: the tools then say how to start one, and the client need not be restarted.

    Args:
        url: the address of the router; None: where the settings tell one to listen.
        key: the client's key for it.
    """
    from service.mcp_server.router_api import RouterApi
    from service.mcp_server.server import build_server

    address = address_of(settings, url)
    try:
        ask(settings, url, "/ready")
    except StartupError as error:
        log.warning("no_router", reason=str(error))
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    build_server(lambda _: RouterApi(address, headers)).run("stdio")
