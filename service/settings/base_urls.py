"""Base URLs in one form: an adapter calls the base URL with its own path behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from service.domain.hosts import is_loopback, parse_setting

Dialect = Literal["openai", "anthropic", "litellm", "ollama"]

# Paths that a base URL is often copied with; the adapter, or its library, appends them itself.
ENDPOINTS: Mapping[Dialect, tuple[str, ...]] = MappingProxyType(
    {
        "openai": ("/chat/completions", "/completions", "/embeddings", "/responses", "/models"),
        "anthropic": ("/v1/messages/count_tokens", "/v1/messages", "/messages", "/v1"),
        "litellm": ("/chat/completions",),
        "ollama": ("/api/chat", "/api/generate", "/api/tags", "/api/embed", "/api", "/chat/completions"),
    }
)
# Where these hosts speak OpenAI's API; everywhere else it is /v1.
OPENAI_PATHS: Mapping[str, str] = MappingProxyType(
    {
        "openrouter.ai": "/api/v1",
        "api.groq.com": "/openai/v1",
        "generativelanguage.googleapis.com": "/v1beta/openai",
        "api.fireworks.ai": "/inference/v1",
        "api.deepinfra.com": "/v1/openai",
        "api.cohere.com": "/compatibility/v1",
        "api.cohere.ai": "/compatibility/v1",
        "api.perplexity.ai": "",
    }
)
ROOT_ENDPOINTS = ("/chat/completions", "/embeddings")
QUOTES = "\"'"
DEFAULT_PORTS = {"http": 80, "https": 443}


def base_url(text: str, dialect: Dialect) -> str:
    """The base URL that was meant: without the paths that adapters append, with `/v1` where it belongs.

    A URL in this form stays as it is. A server that answers OpenAI's API at its root is given with its
    endpoint, `http://host/chat/completions`, and keeps it: without a path, `/v1` is meant.

    Raises:
        ValueError: the text is no http(s) URL, or it has a query or a fragment.
    """
    parts = http_url(text)
    host = parts.hostname or ""
    path = _without_endpoint(parts.path, dialect)
    if dialect == "ollama" and not path:
        path = "/v1"
    if dialect == "openai":
        path = _openai_path(host, path, parts.path)
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def http_url(text: str) -> SplitResult:
    """The parts of an http(s) URL: scheme and host in lower case, no default port, no superfluous slash.

    An address on loopback needs no scheme.

    Raises:
        ValueError: the text is no http(s) URL, or it has a query or a fragment.
    """
    text = text.strip().strip(QUOTES).strip()
    if re.search(r"[\s\x00-\x1f\\]", text):
        raise ValueError("must be a URL without spaces")
    if "://" not in text:
        if not is_loopback_host(_host_of(f"http://{text}")):
            raise ValueError("must begin with https:// or http://")
        text = f"http://{text}"
    if not _host_of(text) and text.lower().startswith(("http://", "https://")):
        raise ValueError("must name a host")
    parts = urlsplit(text)
    if parts.scheme not in DEFAULT_PORTS:
        raise ValueError("must begin with https:// or http://")
    if parts.query or parts.fragment or text.endswith(("?", "#")):
        raise ValueError("must have no query (?) and no fragment (#)")
    path = re.sub("/{2,}", "/", parts.path).rstrip("/")
    return SplitResult(parts.scheme, _netloc(parts), path, "", "")


def without_login(url: str) -> str:
    """The URL as it may be shown."""
    scheme, _, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}://{authority.rpartition('@')[2]}{slash}{path}"


def is_loopback_host(host: str) -> bool:
    """Whether the name or address of a host, as a URL has it, is always this machine."""
    try:
        return is_loopback(parse_setting(host))
    except ValueError:
        return False


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _netloc(parts: SplitResult) -> str:
    """Login, host and port; the port is left out where it is the scheme's."""
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("must have a port from 1 to 65535, or none")
    host = parts.hostname or ""
    login = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    shown = f"[{host}]" if ":" in host else host
    return f"{login}{shown}" if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{login}{shown}:{port}"


def _without_endpoint(path: str, dialect: Dialect) -> str:
    while (ending := next(filter(path.endswith, ENDPOINTS[dialect]), None)) is not None:
        path = path.removesuffix(ending).rstrip("/")
    while path.endswith("/v1/v1"):
        path = path.removesuffix("/v1")
    return path


def _openai_path(host: str, path: str, given: str) -> str:
    known = OPENAI_PATHS.get(host)
    if known is not None:
        return known if path == "/v1" or known.startswith(path) else path
    return path or next(filter(given.endswith, ROOT_ENDPOINTS), "/v1")
