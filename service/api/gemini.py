"""Google's paths that generate no answer: lists of models, counting tokens, embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, CallerDep, PartsDep, caller_at
from service.api.disconnects import unless_disconnected
from service.api.embeddings import headers_of
from service.api.json_response import JsonAnswer
from service.api.offered_models import offered_embeddings, offered_names, require_model, require_offered
from service.api.openapi import NO_ANSWER, body_schema, dialect_failures
from service.api.respond import SUBSTITUTED
from service.api.token_counts import counted
from service.dialects.gemini import embeddings, models
from service.dialects.gemini.dialect import GEMINI
from service.dialects.gemini.requests import read_input
from service.domain.basics import Json
from service.domain.caller import Caller
from service.domain.embedding import EmbeddingRequest, Embeddings
from service.errors import (
    BadRequest,
    BodyTooLarge,
    ContextTooLong,
    NotJson,
    ProviderRejected,
    UnknownModel,
)
from service.parts import Parts

endpoints = APIRouter(tags=["gemini"])
COUNTING = body_schema("GeminiCountTokensRequest")
COUNTING_FAILURES = dialect_failures(GEMINI, BadRequest, UnknownModel, BodyTooLarge, NotJson)
ONE, MANY = body_schema("EmbedContentRequest"), body_schema("BatchEmbedContentsRequest")
EMBEDDING_FAILURES = dialect_failures(
    GEMINI, BadRequest, ContextTooLong, UnknownModel, BodyTooLarge, NotJson, ProviderRejected, *NO_ANSWER
)


@endpoints.get("/v1beta/models", responses=dialect_failures(GEMINI, BadRequest))
async def list_models(
    parts: PartsDep,
    caller: CallerDep,
    page_size: Annotated[int, Query(alias="pageSize")] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
) -> Response:
    """`auto`, the router's aliases, and every model that a request can name, in Google's form."""
    return page_of_models(parts, caller, page_size, page_token)


def page_of_models(parts: Parts, caller: Caller, page_size: int, page_token: str) -> Response:
    arms = {arm.arm_id: arm for arm in parts.catalog.arms}
    chat = [models.model(name, arms.get(name)) for name in offered_names(parts, caller)]
    embedding = [models.embedding_model(model.model_id) for model in offered_embeddings(parts, caller)]
    return JsonAnswer(models.page([*chat, *embedding], page_size, page_token))


@endpoints.get("/v1beta/models/{model_id:path}", responses=dialect_failures(GEMINI, UnknownModel))
async def get_model(parts: PartsDep, caller: CallerDep, model_id: str) -> Response:
    """One model in Google's form."""
    return one_model(parts, caller, model_id)


def one_model(parts: Parts, caller: Caller, model_id: str) -> Response:
    if (embedding := parts.embeddings.named(model_id)) is not None:
        require_model(caller, embedding)
        return JsonAnswer(models.embedding_model(embedding.model_id))
    require_offered(parts, caller, model_id)
    is_substitute = parts.catalog.meaning(model_id).is_substitute
    arm = parts.catalog.one_arm(model_id)
    headers = {SUBSTITUTED: model_id} if is_substitute else {}
    return JsonAnswer(models.model(model_id if arm is None else arm.arm_id, arm), headers=headers)


@endpoints.post(
    "/v1beta/models/{model_id:path}:countTokens", openapi_extra=COUNTING, responses=COUNTING_FAILURES
)
@endpoints.post("/v1/models/{model_id:path}:countTokens", openapi_extra=COUNTING, responses=COUNTING_FAILURES)
async def count_tokens(parts: PartsDep, model_id: str, body: BodyDep) -> Response:
    """Count or estimate the tokens of a Gemini request, without a model call, a reservation or learning."""
    read = await big_bodies.read(parts, body, read_input)
    n_tokens, headers = await counted(parts, model_id, read.translated, read.n_prompt_tokens)
    details = [{"modality": "TEXT", "tokenCount": n_tokens}]
    body_of_answer = {"totalTokens": n_tokens, "promptTokensDetails": details}
    return JsonAnswer(body_of_answer, headers=headers)


@endpoints.post(
    "/v1beta/models/{model_id:path}:embedContent", openapi_extra=ONE, responses=EMBEDDING_FAILURES
)
@endpoints.post("/v1/models/{model_id:path}:embedContent", openapi_extra=ONE, responses=EMBEDDING_FAILURES)
async def embed_content(request: Request, parts: PartsDep, model_id: str, body: BodyDep) -> Response:
    """Turn one content into a vector, by the embedding model in the path."""
    wanted = await big_bodies.read(parts, body, partial(embeddings.read_one, model=model_id))
    return await _embedded(request, parts, wanted, embeddings.one_answer)


@endpoints.post(
    "/v1beta/models/{model_id:path}:batchEmbedContents", openapi_extra=MANY, responses=EMBEDDING_FAILURES
)
@endpoints.post(
    "/v1/models/{model_id:path}:batchEmbedContents", openapi_extra=MANY, responses=EMBEDDING_FAILURES
)
async def batch_embed_contents(request: Request, parts: PartsDep, model_id: str, body: BodyDep) -> Response:
    """Turn each of several contents into a vector, by the embedding model in the path."""
    wanted = await big_bodies.read(parts, body, partial(embeddings.read_many, model=model_id))
    return await _embedded(request, parts, wanted, embeddings.answer)


async def _embedded(
    request: Request, parts: Parts, wanted: EmbeddingRequest, written: Callable[[Embeddings], Json]
) -> Response:
    require_model(caller_at(request), parts.embeddings.find(wanted.model))
    answer = await unless_disconnected(request, parts.embeddings.embed(wanted, caller_at(request)))
    headers = headers_of(answer)
    # Thousands of vectors take long enough to write to be noticed on the event loop.
    return await asyncio.to_thread(JsonAnswer, written(answer.embeddings), headers=headers)
