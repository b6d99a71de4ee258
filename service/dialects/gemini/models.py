"""Writes lists of models as Google's Gemini API does."""

from __future__ import annotations

from collections.abc import Sequence

from service.domain.arm import Arm
from service.domain.basics import Json
from service.errors import BadRequest

PREFIX = "models/"
METHODS = ("generateContent", "streamGenerateContent", "countTokens")
EMBEDDING_METHODS = ("embedContent", "batchEmbedContents")
DEFAULT_PAGE, LARGEST_PAGE = 50, 1_000


def page(models: Sequence[Json], page_size: int, page_token: str) -> Json:
    """One page of the models.

    Args:
        page_size: 0: the usual one.
        page_token: the place of the page's first model; empty: the first page.

    Raises:
        BadRequest: a parameter breaks its rule.
    """
    if page_size < 0:
        raise BadRequest(f"pageSize: must be at least 0, got {page_size}", param="pageSize")
    if page_token and not (page_token.isascii() and page_token.isdigit() and len(page_token) < 10):
        raise BadRequest(f"pageToken: is not one of the router's, got {page_token[:40]!r}", param="pageToken")
    start = int(page_token or 0)
    end = start + (min(page_size, LARGEST_PAGE) or DEFAULT_PAGE)
    found: Json = {"models": list(models[start:end])}
    return found if end >= len(models) else {**found, "nextPageToken": str(end)}


def model(name: str, arm: Arm | None) -> Json:
    limits = {
        "inputTokenLimit": None if arm is None else arm.context_window,
        "outputTokenLimit": None if arm is None else arm.max_output_tokens,
    }
    return _named(name, METHODS) | {field: value for field, value in limits.items() if value is not None}


def embedding_model(name: str) -> Json:
    return _named(name, EMBEDDING_METHODS)


def _named(name: str, methods: Sequence[str]) -> Json:
    return {
        "name": f"{PREFIX}{name}",
        "baseModelId": name,
        "version": "1",
        "displayName": name,
        "supportedGenerationMethods": list(methods),
    }
