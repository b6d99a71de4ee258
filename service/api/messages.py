"""POST /v1/messages/count_tokens and /v1/messages/chat-template: about the input of a request only."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.responses import Response

from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, dialect_failures
from service.api.token_counts import counted
from service.dialects.chat_template import rendered
from service.dialects.messages.dialect import MESSAGES
from service.dialects.messages.requests import read_input
from service.errors import BadRequest, BodyTooLarge, NotJson, UnknownModel

endpoints = APIRouter(tags=["messages"])
INPUT_FAILURES = dialect_failures(MESSAGES, BadRequest, UnknownModel, BodyTooLarge, NotJson)


@endpoints.post(
    "/v1/messages/count_tokens", openapi_extra=body_schema("CountTokensRequest"), responses=INPUT_FAILURES
)
async def count_tokens(parts: PartsDep, body: BodyDep) -> Response:
    """Count or estimate the tokens of a Messages request, without a model call, a reservation or learning."""
    read = await big_bodies.read(parts, body, read_input)
    n_tokens, headers = await counted(parts, read.model, read.translated, read.n_prompt_tokens)
    return JsonAnswer({"input_tokens": n_tokens}, headers=headers)


@endpoints.post(
    "/v1/messages/chat-template", openapi_extra=body_schema("CountTokensRequest"), responses=INPUT_FAILURES
)
async def chat_template(parts: PartsDep, body: BodyDep) -> Response:
    """Write a Messages request as the one prompt that a model reads."""
    read = await big_bodies.read(parts, body, read_input)
    arm = parts.catalog.one_arm(read.model)
    source = None if arm is None else arm.chat_template
    chat = read.translated
    prompt = await asyncio.to_thread(rendered, chat["messages"], chat.get("tools"), source)
    template = "chatml" if arm is None or source is None else arm.arm_id
    return JsonAnswer({"prompt": prompt, "template": template})
