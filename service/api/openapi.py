"""Adds bodies and errors to the OpenAPI document, which FastAPI cannot see in the signatures."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import orjson
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api.errors import PROBLEMS, envelope
from service.dialects.chat.dialect import CHAT
from service.dialects.dialect import Dialect
from service.domain.basics import Json
from service.errors import (
    REJECTED_STATUSES,
    AllArmsFailed,
    AllArmsLimited,
    AllArmsUnpaid,
    ProviderRejected,
    RouterError,
)

REF = "#/components/schemas/{model}"
# FastAPI's own error schemas; the router answers errors in the envelope.
UNUSED = ("HTTPValidationError", "ValidationError")

Responses = dict[int | str, dict[str, Any]]
NO_ANSWER = (AllArmsFailed, AllArmsLimited, AllArmsUnpaid)


def failures(*kinds: type[RouterError]) -> Responses:
    """The documented errors of an endpoint: each status with its meanings."""
    return dialect_failures(CHAT, *kinds)


def dialect_failures(dialect: Dialect, *kinds: type[RouterError]) -> Responses:
    """The documented errors of an endpoint in a dialect."""
    meanings: defaultdict[int | str, list[str]] = defaultdict(list)
    for kind in kinds:
        status, error_type, code = PROBLEMS[kind]
        problem = dialect.error((status, envelope("", error_type, None, code)), None)
        for documented in REJECTED_STATUSES if kind is ProviderRejected else (problem[0],):
            meanings[documented].append((kind.__doc__ or "").partition("\n")[0])
    return {
        status: {"description": " ".join(texts), "model": dialect.error_model}
        for status, texts in meanings.items()
    }


def body_schema(*names: str, or_list: bool = False) -> Json:
    """The documented JSON body of an endpoint: one of these models."""
    refs: list[Json] = [{"$ref": REF.format(model=name)} for name in names]
    item = refs[0] if len(refs) == 1 else {"anyOf": refs}
    schema = {"anyOf": [*refs, {"type": "array", "items": item, "minItems": 1}]} if or_list else item
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def path_parameters(path: str) -> Json:
    """The documented names in the path of an endpoint that does not declare them."""
    names = re.findall(r"{(\w+)(?::path)?}", path)
    parameters = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    return {"parameters": parameters} if parameters else {}


def query_parameters(model: type[BaseModel]) -> Json:
    """The documented query parameters of an endpoint."""
    properties = model.model_json_schema()["properties"]
    return {
        "parameters": [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    }


def install(app: FastAPI, models: Sequence[type[Any]]) -> None:
    """Add the schemas of these models to the application's document."""
    generate = app.openapi

    def openapi() -> Json:
        document = generate()
        _without_unused(document)
        _, schemas = models_json_schema([(m, "validation") for m in models], ref_template=REF)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        _add_examples(document)
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents


def _add_examples(document: Json) -> None:
    """Add a request and its answer to each operation, from a router with simulated models."""
    examples = orjson.loads(files("service.api").joinpath("examples.json").read_bytes())
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            example = examples.get(f"{method.upper()} {path}", {})
            if "body" in example and "requestBody" in operation:
                operation["requestBody"]["content"]["application/json"]["example"] = example["body"]
            success = next(status for status in operation["responses"] if status.startswith("2"))
            answers = operation["responses"][success].get("content", {})
            if "answer" in example and answers:
                answers[next(iter(answers))]["example"] = example["answer"]


def _without_unused(document: Json) -> None:
    """Remove the 422 that FastAPI documents for every path or query parameter."""
    schemas = document.get("components", {}).get("schemas", {})
    for name in UNUSED:
        schemas.pop(name, None)
    for operations in document["paths"].values():
        for operation in operations.values():
            if UNUSED[0] in str(operation["responses"].get("422")):
                del operation["responses"]["422"]
