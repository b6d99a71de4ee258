"""GET /v1/models and /v1/models/{model_id}, also without /v1: the names of models that requests may use."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from service.api.dependencies import CallerDep, PartsDep
from service.api.gemini import one_model, page_of_models
from service.api.json_response import JsonAnswer
from service.api.offered_models import offered_embeddings, offered_names, require_model, require_offered
from service.api.openapi import failures
from service.api.respond import SUBSTITUTED
from service.dialects.gemini.dialect import GEMINI
from service.dialects.messages import answers as anthropic_answers
from service.dialects.messages.dialect import MESSAGES
from service.domain.basics import Json
from service.errors import BadRequest, UnknownModel

endpoints = APIRouter(tags=["operations"])


@endpoints.get("/v1/models", responses=failures(BadRequest))
@endpoints.get("/models", include_in_schema=False)
async def models(
    request: Request,
    parts: PartsDep,
    caller: CallerDep,
    page_size: Annotated[int, Query(alias="pageSize")] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
) -> Response:
    """`auto`, the router's aliases, and every model that a request can name.

    Embedding models have the type `embedding`. Only Google's clients get pages.
    """
    if GEMINI.owns(request.scope["path"], request.headers):
        return page_of_models(parts, caller, page_size, page_token)
    arms = {arm.arm_id: arm for arm in parts.catalog.arms}
    names = offered_names(parts, caller)
    if _is_anthropics(request):
        named = [(name, arms.get(name)) for name in names]
        return JsonAnswer(anthropic_answers.models(named, parts.started_at))
    chat = [_model(name, parts.started_at) for name in names]
    embedding = [
        _embedding_model(model.model_id, parts.started_at) for model in offered_embeddings(parts, caller)
    ]
    return JsonAnswer({"object": "list", "data": [*chat, *embedding]})


@endpoints.get("/v1/models/{model_id:path}", responses=failures(UnknownModel))
@endpoints.get("/models/{model_id:path}", include_in_schema=False)
async def model(request: Request, parts: PartsDep, caller: CallerDep, model_id: str) -> Response:
    """One model, by any name that a request may use for it."""
    if GEMINI.owns(request.scope["path"], request.headers):
        return one_model(parts, caller, model_id)
    embedding = None if _is_anthropics(request) else parts.embeddings.named(model_id)
    if embedding is not None:
        require_model(caller, embedding)
        return JsonAnswer(_embedding_model(embedding.model_id, parts.started_at))
    require_offered(parts, caller, model_id)
    meaning = parts.catalog.meaning(model_id)
    arm = parts.catalog.one_arm(model_id)
    name = model_id if arm is None else arm.arm_id
    headers = {SUBSTITUTED: model_id} if meaning.is_substitute else {}
    if _is_anthropics(request):
        return JsonAnswer(anthropic_answers.model(name, arm, parts.started_at), headers=headers)
    return JsonAnswer(_model(name, parts.started_at), headers=headers)


def _is_anthropics(request: Request) -> bool:
    return MESSAGES.owns(request.scope["path"], request.headers)


def _model(name: str, created: int) -> Json:
    return {"id": name, "object": "model", "created": created, "owned_by": "llm-router"}


def _embedding_model(name: str, created: int) -> Json:
    return {**_model(name, created), "type": "embedding"}
