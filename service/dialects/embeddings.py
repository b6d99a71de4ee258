"""Reads requests for embeddings in OpenAI's form, and writes their answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from service.dialects.json_body import Name, Open, read_json, shown, validated
from service.domain.basics import Json
from service.domain.embedding import EmbeddingRequest, Embeddings, Tokens
from service.errors import BadRequest

MAX_INPUTS = 2_048  # as at OpenAI


class EmbeddingsBody(Open):
    """A request for embeddings."""

    model: Name = Field(description="id or alias of an embedding model; never chosen by the router")
    input: str | list[Any] = Field(
        description=f"a text, a list of up to {MAX_INPUTS} texts, a list of tokens, or a list of such lists"
    )
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1, le=100_000)] | None = None


def read_request(raw: bytes) -> EmbeddingRequest:
    """The request. Raises BadRequest."""
    body = read_json(raw)
    request = validated(EmbeddingsBody, body)
    return EmbeddingRequest(
        request.model,
        _inputs(request.input),
        request.encoding_format or "float",
        request.dimensions,
        others={name: value for name, value in body.items() if name not in EmbeddingsBody.model_fields},
    )


def answer(model_id: str, embeddings: Embeddings) -> Json:
    """The answer in OpenAI's form."""
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": row}
            for index, row in enumerate(embeddings.rows)
        ],
        "model": model_id,
        "usage": {"prompt_tokens": embeddings.prompt_tokens, "total_tokens": embeddings.prompt_tokens},
    }


def _inputs(given: str | list[Any]) -> tuple[str | Tokens, ...]:
    if isinstance(given, str):
        return (_input(given, "input"),)
    if not given:
        raise BadRequest("input: must have at least 1 item, got a list of 0", param="input")
    if _is_token(given[0]):
        return (_input(given, "input"),)
    if len(given) > MAX_INPUTS:
        raise BadRequest(f"input: must have at most {MAX_INPUTS} items, got {len(given)}", param="input")
    return tuple(_input(item, f"input[{index}]") for index, item in enumerate(given))


def _input(item: object, param: str) -> str | Tokens:
    if isinstance(item, str) and item:
        return item
    if isinstance(item, list) and item and all(map(_is_token, item)):
        return tuple(item)
    if item in ("", []):
        raise BadRequest(f"{param}: must not be empty", param=param)
    got = next((each for each in item if not _is_token(each)), item) if isinstance(item, list) else item
    raise BadRequest(f"{param}: must be a text or a list of tokens, got {shown(got)}", param=param)


def _is_token(value: object) -> bool:
    return type(value) is int and value >= 0
