"""Which dialect a caller speaks, where the path alone does not tell."""

from __future__ import annotations

from fastapi import Request

_OWN = ("/v1/messages", "/v1/complete")  # paths that only Anthropic has, offered or not
_SHARED = ("/v1/models", "/v1/files")  # that both dialects have


def speaks_anthropic(request: Request) -> bool:
    """Whether answers to this request are in Anthropic's form, errors included."""
    if _is_within(request.url.path, _SHARED):
        return "anthropic-version" in request.headers or "x-api-key" in request.headers
    return _is_within(request.url.path, _OWN)


def _is_within(path: str, places: tuple[str, ...]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)
