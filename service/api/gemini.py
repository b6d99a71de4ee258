"""Google's paths that generate no answer: lists of models, and counting tokens."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, dialect_failures
from service.api.token_counts import counted
from service.dialects.gemini.dialect import GEMINI
from service.dialects.gemini.models import model, models
from service.dialects.gemini.requests import read_input
from service.errors import BadRequest, BodyTooLarge, NotJson, UnknownModel

endpoints = APIRouter(tags=["gemini"])
COUNTING = body_schema("GeminiCountTokensRequest")
COUNTING_FAILURES = dialect_failures(GEMINI, BadRequest, UnknownModel, BodyTooLarge, NotJson)


@endpoints.get("/v1beta/models", responses=dialect_failures(GEMINI, BadRequest))
async def list_models(
    parts: PartsDep,
    page_size: Annotated[int, Query(alias="pageSize")] = 0,
    page_token: Annotated[str, Query(alias="pageToken")] = "",
) -> Response:
    """`auto`, and every model that a request can name, in Google's form."""
    return JsonAnswer(models(parts.catalog.arms, page_size, page_token))


@endpoints.get("/v1beta/models/{model_id:path}", responses=dialect_failures(GEMINI, UnknownModel))
async def get_model(parts: PartsDep, model_id: str) -> Response:
    """One model in Google's form."""
    arm = parts.catalog.one_arm(model_id)
    return JsonAnswer(model(model_id if arm is None else arm.arm_id, arm))


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
