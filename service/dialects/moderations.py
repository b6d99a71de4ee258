"""Reads requests for moderations in OpenAI's form."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from service.dialects.json_body import Name, Open, items, read_json, validated
from service.domain.moderation import ModerationRequest
from service.errors import BadRequest

MAX_INPUTS = 2_048


class ModerationBody(Open):
    """A request for moderations."""

    model: Name | None = Field(None, description="id or alias of a moderation model; absent: the first one")
    input: str | Annotated[list[Any], items(MAX_INPUTS, least=1)] = Field(
        description="a text, a list of texts, or a list of parts with texts and images"
    )


def read_request(raw: bytes) -> ModerationRequest:
    """The request. Raises BadRequest."""
    request = validated(ModerationBody, read_json(raw))
    if isinstance(request.input, list):
        kinds = {type(item) for item in request.input}
        if kinds not in ({str}, {dict}):
            raise BadRequest("input: must be a text, a list of texts or a list of parts", param="input")
    return ModerationRequest(request.model, request.input)
