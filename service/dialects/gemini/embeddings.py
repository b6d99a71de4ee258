"""Reads Google's requests for embeddings, and writes their answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from service.dialects.embeddings import MAX_INPUTS
from service.dialects.gemini.contents import Instruction
from service.dialects.gemini.fields import Many, Message
from service.dialects.json_body import items, read_json, validated
from service.domain.basics import Json
from service.domain.embedding import EmbeddingRequest, Embeddings
from service.errors import BadRequest


class EmbedContentRequest(Message):
    """One content to turn into a vector; models of other vendors have no task types."""

    content: Instruction
    output_dimensionality: Annotated[int, Field(ge=1, le=100_000)] | None = None
    task_type: Any = Field(None, description="ignored")
    title: Any = Field(None, description="ignored")


class BatchEmbedContentsRequest(Message):
    requests: Many[Annotated[list[EmbedContentRequest], items(MAX_INPUTS, least=1)]]


def read_one(raw: bytes, model: str) -> EmbeddingRequest:
    """The request for one vector. Raises BadRequest."""
    return _request(model, [validated(EmbedContentRequest, read_json(raw))], [""])


def read_many(raw: bytes, model: str) -> EmbeddingRequest:
    """The request for a vector of each content. Raises BadRequest."""
    requests = validated(BatchEmbedContentsRequest, read_json(raw)).requests
    return _request(model, requests, [f"requests[{index}]." for index in range(len(requests))])


def _request(model: str, wanted: Sequence[EmbedContentRequest], places: Sequence[str]) -> EmbeddingRequest:
    dimensions = {one.output_dimensionality for one in wanted}
    if len(dimensions) > 1:
        place = f"{places[0]}outputDimensionality"
        raise BadRequest(f"{place}: must be the same in all requests of a batch", param=place)
    texts = tuple(_text(one, place) for one, place in zip(wanted, places, strict=True))
    return EmbeddingRequest(model, texts, dimensions=dimensions.pop())


def _text(wanted: EmbedContentRequest, place: str) -> str:
    parts = wanted.content.parts
    for position, part in enumerate(parts):
        if part.text is None:
            where = f"{place}content.parts[{position}]"
            raise BadRequest(f"{where}: only text can be embedded", param=where)
    if text := "\n".join(part.text for part in parts if part.text):
        return text
    raise BadRequest(f"{place}content: must not be empty", param=f"{place}content")


def one_answer(embeddings: Embeddings) -> Json:
    return {"embedding": {"values": embeddings.rows[0]}}


def answer(embeddings: Embeddings) -> Json:
    return {"embeddings": [{"values": row} for row in embeddings.rows]}
