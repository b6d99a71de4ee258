"""POST /v1/moderations and /moderations."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, GivenRequestId, PartsDep, caller_at
from service.api.disconnects import unless_disconnected
from service.api.json_response import JsonAnswer
from service.api.offered_models import require_model
from service.api.openapi import NO_ANSWER, Responses, body_schema, failures
from service.api.rate_headers import openais_rates
from service.dialects import moderations
from service.errors import BadRequest, BodyTooLarge, NotConfigured, NotJson, ProviderRejected, UnknownModel

endpoints = APIRouter(tags=["moderations"])
ANSWERS: Responses = {
    200: {"content": {"application/json": {}}},
    **failures(BadRequest, UnknownModel, BodyTooLarge, NotConfigured, NotJson, ProviderRejected, *NO_ANSWER),
}


@endpoints.post("/v1/moderations", openapi_extra=body_schema("ModerationBody"), responses=ANSWERS)
@endpoints.post("/moderations", include_in_schema=False)
async def v1_moderations(
    request: Request, parts: PartsDep, request_id: GivenRequestId, body: BodyDep
) -> Response:
    """Pass a text or an image to a moderation model of the configuration, and its answer back."""
    wanted = await big_bodies.read(parts, body, moderations.read_request)
    require_model(caller_at(request), parts.moderations.find(wanted.model))
    answer = await unless_disconnected(request, parts.moderations.moderate(wanted, caller_at(request)))
    return JsonAnswer(answer.body, headers={"X-Router-Model": answer.model_id, **openais_rates(answer.rates)})
