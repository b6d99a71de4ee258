"""Asks a running router over HTTP, for the commands that show what it knows."""

from __future__ import annotations

import httpx

from service.domain.basics import Json
from service.errors import StartupError
from service.settings.settings import Settings

TIMEOUT_S = 30.0
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where a router listens, and where it answers


def ask(settings: Settings, url: str | None, path: str, **parameters: object) -> Json:
    """The JSON answer of a router.

    Args:
        url: its address; None: the address that the settings tell a router to listen on.

    Raises:
        StartupError: no router answers, or it answers with an error.
    """
    address = address_of(settings, url)
    key = settings.admin_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    shown = {name: str(value) for name, value in parameters.items() if value is not None}
    try:
        with httpx.Client(trust_env=False, timeout=TIMEOUT_S, headers=headers) as client:
            response = client.get(f"{address}{path}", params=shown)
        answer: Json = response.json()
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise no_router(address, error) from error
    if response.is_error:
        raise StartupError(f"{address}: {answer['error']['message']}")
    return answer


def address_of(settings: Settings, url: str | None) -> str:
    """The address of a router; `url=None`: where the settings tell one to listen."""
    return (url or _address(settings)).rstrip("/")


def no_router(address: str, error: Exception) -> StartupError:
    """The error of a command that finds no router."""
    reason = str(error) or type(error).__name__
    return StartupError(
        f"no router answers at {address} ({reason}): start it with `router serve`, or name it with --url"
    )


def _address(settings: Settings) -> str:
    host = settings.host.strip("[]")
    host = _ANY_ADDRESS.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
