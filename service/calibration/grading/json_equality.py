"""The grader of answers in JSON: their value, their schema, or both."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import orjson
from jsonschema import exceptions  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import Draft202012Validator, validator_for  # type: ignore[import-untyped]

from service.calibration.grading.code_blocks import code_blocks
from service.calibration.grading.grader import Ask, FreeGrader, NotGraded
from service.calibration.grading.sandbox import Limits, Sandbox
from service.calibration.prompts import CalibrationPrompt
from service.domain.arm import Arm
from service.domain.basics import Json

_JSON = ("json", "jsonc", "json5", "")

_VALID, _INVALID = 80, 81
# In a process of its own: a pattern of a schema may search for hours, and references may multiply. The schema
# may be that of a client, since it comes with the requests of a log. Nothing that it refers to is fetched.
_VALIDATE = f"""
import json, os
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry
with open("validate.json", encoding="utf-8") as file:
    schema, value = json.load(file)
validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())
os._exit({_VALID} if validator.is_valid(value) else {_INVALID})
"""


@dataclass(frozen=True, slots=True)
class JsonGrader(FreeGrader):
    """Gives 1 to an answer that is the expected JSON value, or is valid under the expected schema.

    The schema is an `expected` with `$schema`, or that of the prompt's `response_format`.
    """

    sandbox: Sandbox = field(default_factory=lambda: Sandbox(Limits(cpu_s=5, wall_s=20.0)))

    def reason_against(self, prompt: CalibrationPrompt) -> str | None:
        schema = schema_of(prompt)
        if schema is None:
            return (
                "expected: is required by the grader json, unless response_format has a schema"
                if (prompt.expected is None)
                else None
            )
        try:
            _validator(schema).check_schema(schema)
        except exceptions.SchemaError as error:
            field = "response_format" if _is_value(prompt.expected) else "expected"
            return f"{field}: is no valid schema: {error.message}"
        return None

    async def grade(self, prompt: CalibrationPrompt, arm: Arm, answer: str, ask: Ask) -> float:
        if not await asyncio.to_thread(_is_expected, prompt, answer):
            return 0.0
        schema = schema_of(prompt)
        return 1.0 if schema is None else float(await self._is_valid(json_text(answer), schema))

    async def _is_valid(self, value: str, schema: Json) -> bool:
        document = f"[{orjson.dumps(schema).decode()},{value}]"
        files = {"validate.json": document, "validate.py": _VALIDATE}
        status = await self.sandbox.status(files, "validate.py")
        if status not in (_VALID, _INVALID):
            raise NotGraded("the schema cannot be applied, or takes too long")
        return status == _VALID


def _is_expected(prompt: CalibrationPrompt, answer: str) -> bool:
    """Whether the answer is JSON, and the expected value if there is one."""
    try:
        value = orjson.loads(json_text(answer))
    except orjson.JSONDecodeError:
        return False
    return not _is_value(prompt.expected) or _is_same(value, prompt.expected)


def json_text(answer: str) -> str:
    """The JSON of an answer: its only code block, or all of it."""
    blocks = [text for language, text in code_blocks(answer) if language in _JSON]
    return blocks[0] if len(blocks) == 1 else answer.strip()


def schema_of(prompt: CalibrationPrompt) -> Json | None:
    """The schema of an answer; None: there is none."""
    if isinstance(prompt.expected, dict) and "$schema" in prompt.expected:
        return prompt.expected
    given = prompt.body.get("response_format")
    schema = given.get("json_schema", {}).get("schema") if isinstance(given, dict) else None
    return schema if isinstance(schema, dict) else None


def _is_value(expected: object) -> bool:
    """Whether what is expected is a value, and neither a schema nor nothing."""
    return expected is not None and not (isinstance(expected, dict) and "$schema" in expected)


def _validator(schema: Json) -> Any:
    return validator_for(schema, default=Draft202012Validator)


def _is_same(value: object, expected: object) -> bool:
    """Equality of JSON values: the order of members does not matter, and true is not 1."""
    if isinstance(value, dict) and isinstance(expected, dict):
        return value.keys() == expected.keys() and all(_is_same(value[k], expected[k]) for k in value)
    if isinstance(value, list) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(_is_same, value, expected))
    return isinstance(value, bool) == isinstance(expected, bool) and value == expected
