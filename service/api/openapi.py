"""The OpenAPI document: bodies are read and errors raised by hand, so both are put in by hand too."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.errors import PROBLEMS
from service.dialects.anthropic_answers import error_status
from service.domain.basics import Json
from service.errors import (
    REJECTING_STATUSES,
    AllArmsFailed,
    AllArmsLimited,
    AllArmsUnpaid,
    ProviderRejected,
    RouterError,
)

REF = "#/components/schemas/{model}"
UNUSED = ("HTTPValidationError", "ValidationError")  # FastAPI's own; ours come in the envelope

Responses = dict[int | str, dict[str, Any]]
NO_ANSWER = (AllArmsFailed, AllArmsLimited, AllArmsUnpaid)


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(BaseModel):
    """What every error comes in."""

    error: ErrorBody


class AnthropicErrorBody(BaseModel):
    type: str
    message: str


class AnthropicErrorEnvelope(BaseModel):
    """What every error comes in where Anthropic's dialect is spoken."""

    type: Literal["error"]
    error: AnthropicErrorBody
    request_id: str | None


def failures(*kinds: type[RouterError]) -> Responses:
    """What an endpoint says of its errors: under each status, what it means."""
    return _failures(kinds, ErrorEnvelope, lambda status, code: status)


def anthropic_failures(*kinds: type[RouterError]) -> Responses:
    """The same of an endpoint that speaks Anthropic's dialect."""
    return _failures(kinds, AnthropicErrorEnvelope, error_status)


def _failures(
    kinds: Sequence[type[RouterError]],
    envelope: type[BaseModel],
    status_of: Callable[[int, str | None], int],
) -> Responses:
    meanings: defaultdict[int | str, list[str]] = defaultdict(list)
    for kind in kinds:
        status, _, code = PROBLEMS[kind]
        for one in REJECTING_STATUSES if kind is ProviderRejected else (status_of(status, code),):
            meanings[one].append((kind.__doc__ or "").partition("\n")[0])
    return {status: {"description": " ".join(said), "model": envelope} for status, said in meanings.items()}


def body_schema(*names: str, or_list: bool = False) -> Json:
    """What an endpoint says of its JSON body: one of these models."""
    known: list[Json] = [{"$ref": REF.format(model=name)} for name in names]
    one = known[0] if len(known) == 1 else {"anyOf": known}
    schema = {"anyOf": [*known, {"type": "array", "items": one, "minItems": 1}]} if or_list else one
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def query_parameters(model: type[BaseModel]) -> Json:
    """What an endpoint says of its query string."""
    properties = model.model_json_schema()["properties"]
    return {"parameters": [{"name": name, "in": "query", "schema": of} for name, of in properties.items()]}


def install(app: FastAPI, models: Sequence[type[Any]]) -> None:
    """Add the schemas of these models to the application's document."""
    generate = app.openapi

    def openapi() -> Json:
        document = generate()
        _without_unused(document)
        _, schemas = models_json_schema([(m, "validation") for m in models], ref_template=REF)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _without_unused(document: Json) -> None:
    """Take out the 422 that FastAPI promises wherever a path or query has a parameter."""
    schemas = document.get("components", {}).get("schemas", {})
    for name in UNUSED:
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if UNUSED[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
