"""Reads a prompt into a Query: it becomes the one user message of a chat."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.dialects.chat.requests import BYTES_PER_TOKEN
from service.dialects.json_body import Name, read_json, validated
from service.dialects.options import RouterOptions
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query

_TO_MODEL = ("model", "stream", "max_tokens", "temperature")  # fields that a chat has too


class PromptRequest(BaseModel):
    """A prompt, with the router's own options; unknown fields are rejected."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, StringConstraints(min_length=1)]
    system: str | None = Field(None, description="instructions before the prompt")
    model: Name | None = Field(None, description="absent, auto or router/auto: the router chooses")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(None, description="absent: the model's own limit")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    stream: bool | None = Field(None, description="send the text in pieces, as server-sent events")
    session_id: Name | None = Field(None, description="id of the conversation, as in `router`")
    router: RouterOptions | None = Field(None, strict=False)


def read_query(raw: bytes, received: Received) -> Query:
    """Read a request body.

    Raises:
        BadRequest: the body is not JSON, or a field breaks its rule; the message names both.
    """
    body = read_json(raw)
    request = validated(PromptRequest, body)
    query = received.query(
        "prompt",
        body,
        _as_chat(body, request),
        model=request.model,
        stream=bool(request.stream),
        n_prompt_tokens=_n_tokens(request),
        max_output_tokens=request.max_tokens,
        router=_options(request),
    )
    # The last event of a stream states what the whole answer cost.
    return replace(query, options=replace(query.options, cost=True))


def _as_chat(body: Json, request: PromptRequest) -> Json:
    system = [{"role": "system", "content": request.system}] if request.system else []
    fields = {name: body[name] for name in _TO_MODEL if body.get(name) is not None}
    return {**fields, "messages": [*system, {"role": "user", "content": request.prompt}]}


def _n_tokens(request: PromptRequest) -> int:
    n_bytes = len(request.prompt.encode()) + len((request.system or "").encode())
    return -(-n_bytes // BYTES_PER_TOKEN)


def _options(request: PromptRequest) -> RouterOptions | None:
    """The options, with the session id of the body unless they have one themselves."""
    options = request.router
    if request.session_id is None or (options is not None and options.session_id is not None):
        return options
    given = {} if options is None else options.model_dump(exclude_unset=True)
    return RouterOptions.model_validate({**given, "session_id": request.session_id})
