"""Asks a running router over HTTP, for the commands that show what it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from service.domain.basics import Json
from service.errors import StartupError
from service.settings.settings import Settings

TIMEOUT_S = 30.0
KEY = "ROUTER_API_KEY"  # a secret, and so not an option
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # where a router listens, and where it answers


@dataclass(frozen=True, slots=True)
class RunningRouter:
    """Where a router answers, and what it wants to see there.

    Args:
        headers: with the key, if there is one.
    """

    address: str
    headers: Mapping[str, str]

    @classmethod
    def at(cls, url: str | None, settings: Settings, environ: Mapping[str, str]) -> RunningRouter:
        """The router at a URL, to be asked with ROUTER_API_KEY, or else with the ADMIN_KEY.

        Args:
            url: None: the address that the settings tell a router to listen on.
        """
        admin_key = settings.admin_key
        key = environ.get(KEY) or (None if admin_key is None else admin_key.get_secret_value())
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return cls((url or _address(settings)).rstrip("/"), headers)

    def ask(self, path: str, **parameters: object) -> Json:
        """Its JSON answer. Raises StartupError: no router answers, or it answers with an error."""
        shown = {name: str(value) for name, value in parameters.items() if value is not None}
        try:
            with httpx.Client(trust_env=False, timeout=TIMEOUT_S, headers=self.headers) as client:
                response = client.get(f"{self.address}{path}", params=shown)
            answer: Json = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise no_router(self.address, error) from error
        if response.is_error:
            raise StartupError(f"{self.address}: {answer['error']['message']}")
        return answer


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
