"""The headers of a request, decoded once."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.requests import Request
from starlette.types import Scope

from service.errors import BadRequest, HeadersTooLarge

MAX_HEAD_BYTES = 65_536
MAX_HEADERS = 200


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


def check_head(scope: Scope, headers: RequestHeaders) -> None:
    """Check the size of the headers, and that they say how the body is framed.

    Raises:
        HeadersTooLarge: too many bytes or headers.
        BadRequest: the body has a coding that the server does not undo, or a client of HTTP/1.0 has one, or
            it may be of another protocol.
    """
    raw = scope["headers"]
    if len(raw) > MAX_HEADERS:
        raise HeadersTooLarge(f"a request must have at most {MAX_HEADERS} headers, got {len(raw)}")
    n_bytes = sum([len(name) + len(value) for name, value in raw])
    if n_bytes > MAX_HEAD_BYTES:
        raise HeadersTooLarge(f"the headers must have at most {MAX_HEAD_BYTES} bytes, got {n_bytes}")
    if "upgrade" in headers.get("connection", "").lower() and headers.get("content-length", "0") != "0":
        raise BadRequest("Upgrade: not offered for a request with a body", param="Upgrade")
    coding = headers.get("transfer-encoding", "chunked")
    if coding.lower() != "chunked" or (scope["http_version"] == "1.0" and "transfer-encoding" in headers):
        raise BadRequest("Transfer-Encoding: must be chunked, of HTTP/1.1", param="Transfer-Encoding")
