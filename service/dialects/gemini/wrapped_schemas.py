"""Schemas of answers that are no objects, which other vendors' models do not take: the answer as a property.

Google's SDK asks for lists and for one of several words in this way.
"""

from __future__ import annotations

from typing import Literal

import orjson

from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json

NAME = "answer"  # of the property
Unwrapping = Literal["json", "text"]  # how the answer is written: as JSON, or a string without quotes


def is_object(schema: Json) -> bool:
    return schema.get("type") == "object" or "properties" in schema or "$ref" in schema


def wrapped(schema: Json) -> Json:
    """The schema of an object with the answer as its property."""
    inner = {name: value for name, value in schema.items() if name != "$defs"}
    definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
    return {
        "type": "object",
        "properties": {NAME: inner},
        "required": [NAME],
        "additionalProperties": False,
        **definitions,
    }


def unwrapped(text: str, unwrapping: Unwrapping | None) -> str:
    """The text that the client asked for; unchanged if the model did not follow the schema."""
    if unwrapping is None:
        return text
    try:
        value = bounded_json(text.encode(), ANSWER)
    except ValueError:
        return text
    if not isinstance(value, dict) or NAME not in value:
        return text
    answer = value[NAME]
    return answer if unwrapping == "text" and isinstance(answer, str) else orjson.dumps(answer).decode()
