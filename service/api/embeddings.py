"""POST /v1/embeddings and /embeddings."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, GivenRequestId, PartsDep, caller_at
from service.api.disconnects import unless_disconnected
from service.api.json_response import JsonAnswer
from service.api.offered_models import require_model
from service.api.openapi import NO_ANSWER, Responses, body_schema, failures
from service.api.rate_headers import openais_rates
from service.dialects import embeddings
from service.domain.basics import plain
from service.errors import (
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    NotJson,
    ProviderRejected,
    UnknownModel,
)
from service.relay.embeddings import EmbeddingAnswer

endpoints = APIRouter(tags=["embeddings"])
ANSWERS: Responses = {
    200: {"content": {"application/json": {}}},
    **failures(BadRequest, ContextTooLong, UnknownModel, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER),
}


@endpoints.post("/v1/embeddings", openapi_extra=body_schema("EmbeddingsBody"), responses=ANSWERS)
@endpoints.post("/embeddings", include_in_schema=False)
async def v1_embeddings(
    request: Request, parts: PartsDep, request_id: GivenRequestId, body: BodyDep
) -> Response:
    """Turn texts into vectors, by the embedding model that the request names."""
    wanted = await big_bodies.read(parts, body, embeddings.read_request)
    require_model(caller_at(request), parts.embeddings.find(wanted.model))
    answer = await unless_disconnected(request, parts.embeddings.embed(wanted, caller_at(request)))
    headers = headers_of(answer)
    # Thousands of vectors take long enough to write to be noticed on the event loop.
    return await asyncio.to_thread(
        JsonAnswer, embeddings.answer(answer.model_id, answer.embeddings), headers=headers
    )


def headers_of(answer: EmbeddingAnswer) -> dict[str, str]:
    """The model that answered, and its cost where that is known."""
    headers = {"X-Router-Model": answer.model_id, **openais_rates(answer.rates)}
    if answer.cost_usd is not None:
        headers["X-Router-Cost-Usd"] = plain(answer.cost_usd)
    return headers
