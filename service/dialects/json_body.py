"""Reads JSON bodies within bounds, and reports what is wrong with them in one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from service.domain.basics import Json
from service.domain.bounded_json import FORM, REQUEST, OutOfBounds, bounded_json, check_bounds
from service.errors import BadRequest

T = TypeVar("T", bound=BaseModel)
Location = tuple[int | str, ...]
Name = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def items(most: int, *, least: int | None = None) -> Any:
    """The limits of a list, and that its check ends at the first fault: each fault takes 2 kB and 5 µs."""
    return Field(min_length=least, max_length=most, fail_fast=True)


class Open(BaseModel):
    """Checks its fields and keeps all other fields of the request."""

    model_config = ConfigDict(extra="allow", strict=True)


def read_json(raw: bytes) -> Json:
    """A JSON object.

    Raises:
        BadRequest: not UTF-8, not JSON, not an object, or larger than the bounds of a request.
    """
    try:
        body = bounded_json(raw, REQUEST)
    except OutOfBounds as error:
        raise BadRequest(f"body {error}") from error
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error
    if not isinstance(body, dict):
        raise BadRequest(f"body must be a JSON object, got {type(body).__name__}")
    return body


def read_form(raw: bytes) -> object:
    """A JSON value of a few fields.

    The standard library's parser reads NaN, so that the error can name the field that must be finite.

    Raises:
        BadRequest: not UTF-8, not JSON, or larger than the bounds of such a request.
    """
    try:
        text = raw.decode("utf-8-sig")
        check_bounds(raw, FORM)
        return json.loads(text)
    except OutOfBounds as error:
        raise BadRequest(f"body {error}") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"body must be JSON in UTF-8: {error}") from error


def validated(model: type[T], body: object) -> T:
    """The body, validated as `model`.

    Raises:
        BadRequest: a field breaks its rule; the message names it.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error) from error


def invalid(error: ValidationError, name: Callable[[Location], str] | None = None) -> BadRequest:
    """A validation error as one sentence.

    Args:
        name: gives the client's name of the faulty field; None: its path in the body.
    """
    # The deepest error is the most precise: it names the faulty item instead of the type of its list.
    faults = error.errors(include_url=False, include_context=False)
    deepest = max(faults, key=lambda fault: len(fault["loc"]))
    # A list that is too long is no string either.
    others = [fault for fault in faults if field_path(fault["loc"]) == field_path(deepest["loc"])]
    fault = next((other for other in others if not other["type"].endswith("_type")), deepest)
    param = (name or field_path)(fault["loc"])
    message = fault["msg"].removeprefix("Value error, ")
    got = shown(fault["input"])
    if fault["type"] == "missing":
        return BadRequest(f"{param}: field is required", param=param)
    return BadRequest(f"{param or 'body'}: {message}, got {got}", param=param or None)


def field_path(location: Location) -> str:
    """`messages[0].role`; the names that pydantic gives to union members are left out."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif not part.startswith("list[") and part not in {"str", "constrained-str", "int", "float"}:
            path += f".{part}" if path else part
    return path


def shown(value: Any) -> str:
    """A value as an error message shows it: short, and never a whole prompt."""
    if isinstance(value, str):
        return repr(value) if len(value) <= 40 else f"a string of {len(value)} characters"
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    return repr(value)
