"""The headers of a request, decoded once."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request


class RequestHeaders(dict[str, str]):
    """The first value of each header, by its name in small letters.

    Starlette's type compares encoded names at every access, and one request has some forty of them.
    """

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._repeated: dict[str, list[str]] = {}  # the values after the first
        for encoded, value in raw:
            name = encoded.decode("latin-1")
            if name in self:
                self._repeated.setdefault(name, []).append(value.decode("latin-1"))
            else:
                self[name] = value.decode("latin-1")

    def getlist(self, name: str) -> list[str]:
        """Every value of a header."""
        return [self[name], *self._repeated.get(name, ())] if name in self else []


def headers_of(request: Request) -> RequestHeaders:
    """The headers of a request, which `Entrance` has read."""
    headers: RequestHeaders = request.scope["state"]["headers"]
    return headers
