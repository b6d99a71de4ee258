"""The OpenAPI document: bodies are read by hand, so their schemas are put in by hand too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.types import Json

REF = "#/components/schemas/{model}"


def body_schema(name: str, *, or_list: bool = False) -> Json:
    """What an endpoint says of its JSON body."""
    one: Json = {"$ref": REF.format(model=name)}
    schema = {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]} if or_list else one
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
        _, schemas = models_json_schema([(m, "validation") for m in models], ref_template=REF)
        document.setdefault("components", {}).setdefault("schemas", {}).update(schemas["$defs"])
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend it
