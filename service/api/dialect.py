"""Which dialect a caller speaks, where the path alone does not tell."""

from __future__ import annotations

from fastapi import Request

_MESSAGES = "/v1/messages"
_SHARED = "/v1/models"  # a path that both dialects have


def speaks_anthropic(request: Request) -> bool:
    """Whether answers to this request are in Anthropic's form, errors included."""
    path = request.url.path
    if path.startswith(_SHARED):
        return "anthropic-version" in request.headers or "x-api-key" in request.headers
    return path == _MESSAGES or path.startswith(f"{_MESSAGES}/")
