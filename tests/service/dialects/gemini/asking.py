"""Gemini requests, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from service.dialects.gemini.requests import GENERATE, read_query
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

HI: Json = {"role": "user", "parts": [{"text": "Hi"}]}
ADD: Json = {"name": "add", "description": "Adds.", "parameters": {"type": "OBJECT"}}


def asking(*contents: Json, **more: object) -> Json:
    return {"contents": list(contents or [HI]), **more}


def read(
    body: object,
    *,
    model: str = "auto",
    method: str = GENERATE,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Query:
    received = Received(
        headers=headers or {},
        tenant="default",
        request_id="r-1",
        request_id_given=True,
        received_at=datetime(2026, 11, 30, tzinfo=UTC),
        path={"model": model, "method": method},
        params=params or {},
    )
    return read_query(orjson.dumps(body), received)


def chat(*contents: Json, **more: object) -> Json:
    """The same request in OpenAI's form."""
    return read(asking(*contents, **more)).body
