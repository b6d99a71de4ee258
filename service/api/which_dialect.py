"""Tells which dialect a request uses, by its path and headers."""

from __future__ import annotations

from fastapi import Request

_OWN = ("/v1/messages", "/v1/complete")  # paths of Anthropic only, offered or not
_SHARED = ("/v1/models", "/v1/files")  # paths of both dialects


def uses_anthropic(request: Request) -> bool:
    """Whether this request is answered in Anthropic's dialect, errors included."""
    path: str = request.scope["path"]  # that of `request.url` contains what the client sent as Host
    if _is_within(path, _SHARED):
        return "anthropic-version" in request.headers or "x-api-key" in request.headers
    return _is_within(path, _OWN)


def _is_within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
