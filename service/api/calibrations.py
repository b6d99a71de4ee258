"""/admin/calibrations: has every model answer the same prompts, and learns from the scores."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated
from uuid import UUID

import orjson
from fastapi import APIRouter
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from starlette.responses import Response

from embeddings.encoder import EncoderError
from service.api import big_bodies
from service.api.dependencies import BodyDep, PartsDep, TenantDep
from service.api.json_response import JsonAnswer
from service.api.openapi import body_schema, failures
from service.calibration.calls import MAX_ANSWER_TOKENS
from service.calibration.estimate import ArmEstimate
from service.calibration.grading.named import JudgeOptions
from service.calibration.prompts import CalibrationPrompt, prompt_of
from service.calibration.wish import Wish
from service.dialects.json_body import Name, items, read_json, validated
from service.domain.basics import Json
from service.domain.calibration import Calibration
from service.domain.moments import parse_moment
from service.errors import (
    AdminClosed,
    BadRequest,
    BodyTooLarge,
    CalibrationConflict,
    KeyRequired,
    NotJson,
    Unavailable,
    UnknownCalibration,
    UnknownModel,
)
from service.parts import Parts

MAX_PROMPTS = 3_000
MAX_SAMPLE = 1_000
MOST_USD = Decimal(100_000)


def _all_is_none(value: object) -> object:
    if value == "all":
        return None
    if not isinstance(value, list):
        raise ValueError("must be `all`, or a list of ids and aliases of models")
    return value


Models = Annotated[
    Annotated[list[Name], items(1_000, least=1)] | None,
    BeforeValidator(_all_is_none),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]
Dollars = Annotated[
    Decimal, Field(ge=0, le=MOST_USD, description="highest cost, US dollars; 0: models that cost nothing")
]


class NewCalibration(BaseModel):
    """What to ask which models, and how to grade their answers."""

    model_config = ConfigDict(extra="forbid")

    models: Models = Field(
        None,
        description="ids or aliases of models, or `all`: those that are active or in shadow",
    )
    grader: Annotated[str, StringConstraints(min_length=1, max_length=1_000)] = Field(
        description="`exact`, `contains`, `regex`, `numeric`, `json` or `judge:MODEL`; with ADMIN_RUNS_CODE "
        "also `unit-tests` and `python:module:function`"
    )
    max_usd: Dollars
    prompts: Annotated[list[object], items(MAX_PROMPTS, least=1)] | None = Field(
        None, description="prompts as in a file of `router calibrate`"
    )
    from_log: str | None = Field(
        None,
        max_length=40,
        description="instead of prompts: requests of the log since an ISO 8601 time, or an age such as 7d",
    )
    sample: int = Field(
        100,
        ge=1,
        le=MAX_SAMPLE,
        strict=True,
        description="with from_log: requests that stand for all of them",
    )
    learn: bool = Field(True, alias="import", strict=True, description="learn from the scores")
    rubric: Annotated[str, StringConstraints(min_length=1, max_length=20_000)] | None = Field(
        None, description="with a judge: what makes an answer good"
    )
    baseline: Name | None = Field(
        None, description="with a judge: the model whose answers others are compared with, in both orders"
    )
    judge_own_family: bool = Field(
        False, strict=True, description="a judge may grade models of its own family"
    )
    dry_run: bool = Field(False, strict=True, description="only check everything, and estimate the dollars")
    max_answer_tokens: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        strict=True,
        description="limit of answers to prompts that set none; absent: LLM_MAX_TOKENS, or 8192",
    )
    concurrency: int = Field(
        4, ge=1, le=1_000, strict=True, description="calls at the same time to one provider"
    )

    @model_validator(mode="after")
    def _has_prompts(self) -> NewCalibration:
        if (self.prompts is None) == (self.from_log is None):
            raise ValueError("exactly one of prompts and from_log is required")
        return self


class ResumedCalibration(BaseModel):
    """How to go on with a calibration that is not done."""

    model_config = ConfigDict(extra="forbid")

    max_usd: Dollars | None = Field(
        None, description="highest cost with what is spent already, US dollars; absent: as before"
    )


endpoints = APIRouter(
    prefix="/admin/calibrations",
    tags=["admin"],
    responses=failures(KeyRequired, AdminClosed, Unavailable),
)


@endpoints.get("")
async def newest(parts: PartsDep, tenant: TenantDep) -> Response:
    """The newest calibrations, without their reports."""
    return JsonAnswer({"data": [_as_json(found) for found in await parts.calibrations.newest(tenant)]})


@endpoints.post(
    "",
    status_code=202,
    openapi_extra=body_schema("NewCalibration"),
    responses={
        200: {"description": "The estimate of a dry run."},
        **failures(BadRequest, UnknownModel, CalibrationConflict, BodyTooLarge, NotJson),
    },
)
async def start(parts: PartsDep, tenant: TenantDep, body: BodyDep) -> Response:
    """Start a calibration, or go on with one of the same options that is not done; a dry run estimates it."""
    is_dry, wish = await big_bodies.read(parts, body, partial(_wish, parts))
    try:
        if is_dry:
            return JsonAnswer(_estimate_as_json(await parts.calibrations.estimate(tenant, wish)))
        return JsonAnswer(_as_json(await parts.calibrations.start(tenant, wish)), 202)
    except EncoderError as error:
        raise Unavailable(f"the encoder failed: {error}") from error


@endpoints.get("/{calibration_id}", responses=failures(UnknownCalibration))
async def show(parts: PartsDep, tenant: TenantDep, calibration_id: str) -> Response:
    """A calibration: its state, its progress, what it cost, and at its end the report."""
    return JsonAnswer(_as_json(await parts.calibrations.find(tenant, _id(calibration_id))))


@endpoints.post(
    "/{calibration_id}",
    status_code=202,
    openapi_extra=body_schema("ResumedCalibration"),
    responses=failures(BadRequest, UnknownCalibration, CalibrationConflict, BodyTooLarge, NotJson),
)
async def resume(parts: PartsDep, tenant: TenantDep, calibration_id: str, body: BodyDep) -> Response:
    """Go on with a calibration that is not done. No answer is paid for again."""
    wanted = validated(ResumedCalibration, read_json(body) if body.strip() else {})
    resumed = await parts.calibrations.resume(tenant, _id(calibration_id), wanted.max_usd)
    return JsonAnswer(_as_json(resumed), 202)


@endpoints.delete("/{calibration_id}", responses=failures(UnknownCalibration))
async def stop(parts: PartsDep, tenant: TenantDep, calibration_id: str) -> Response:
    """Stop a calibration that runs, or delete one that does not."""
    return JsonAnswer(_as_json(await parts.calibrations.stop(tenant, _id(calibration_id))))


def _id(text: str) -> UUID:
    if not re.fullmatch(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", text):
        raise UnknownCalibration("ids of calibrations are UUIDs in lower case", param="calibration_id")
    return UUID(text)


def _wish(parts: Parts, body: bytes) -> tuple[bool, Wish]:
    """Whether to estimate only, and what is wanted."""
    wanted = validated(NewCalibration, read_json(body))
    try:
        since = None if wanted.from_log is None else parse_moment(wanted.from_log, parts.calibrations.clock())
    except ValueError as error:
        raise BadRequest(f"from_log: {error}", param="from_log") from error
    return wanted.dry_run, Wish(
        models=tuple(wanted.models or ()),
        grader=wanted.grader,
        judge=JudgeOptions(wanted.rubric, wanted.baseline, wanted.judge_own_family),
        max_usd=wanted.max_usd,
        prompts=_prompts(wanted.prompts or []),
        from_log=wanted.from_log,
        since=since,
        sample=wanted.sample,
        is_imported=wanted.learn,
        max_answer_tokens=wanted.max_answer_tokens or parts.settings.llm_max_tokens or MAX_ANSWER_TOKENS,
        concurrency=wanted.concurrency,
    )


def _prompts(records: list[object]) -> list[CalibrationPrompt]:
    """The prompts; one that repeats another is left out."""
    prompts: dict[bytes, tuple[int, CalibrationPrompt]] = {}
    for i, record in enumerate(records):
        try:
            prompt = prompt_of(record)
        except BadRequest as error:
            place = f"prompts[{i}]"
            param = place if error.param is None else f"{place}.{error.param}"
            raise BadRequest(f"{place}: {error}", param=param) from error
        request = orjson.dumps([prompt.body, prompt.task], option=orjson.OPT_SORT_KEYS)
        first, same = prompts.setdefault(request, (i, prompt))
        if same.key != prompt.key:
            message = f"prompts[{i}]: is graded otherwise than the same prompt at prompts[{first}]"
            raise BadRequest(message, param=f"prompts[{i}]")
    return [prompt for _, prompt in prompts.values()]


def _estimate_as_json(estimates: Sequence[ArmEstimate]) -> Json:
    return {
        "models": [estimate.as_json() for estimate in estimates],
        "expected_usd": sum((e.expected_usd for e in estimates), Decimal(0)),
        "worst_usd": sum((e.worst_usd for e in estimates), Decimal(0)),
    }


def _as_json(calibration: Calibration) -> Json:
    return {
        "id": str(calibration.calibration_id),
        "state": calibration.state,
        "options": calibration.options,
        "progress": {
            "answers": calibration.n_done,
            "of": calibration.n_total,
            "without_score": calibration.n_problems,
        },
        "spent_usd": calibration.spent_usd,
        "max_usd": calibration.max_usd,
        "rows": calibration.rows,
        "error": calibration.error,
        "started_at": calibration.started_at.isoformat(),
        "updated_at": calibration.updated_at.isoformat(),
        "ended_at": None if calibration.ended_at is None else calibration.ended_at.isoformat(),
        "report": calibration.report,
    }
