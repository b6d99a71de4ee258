from __future__ import annotations

import pytest

from service.calibration.grading.grader import NotGraded
from service.calibration.grading.json_equality import JsonGrader
from service.calibration.grading.sandbox import Limits, Sandbox
from tests.service.calibration.grading.grading import prompt, score

SCHEMA = {
    "type": "object",
    "properties": {"age": {"type": "integer"}},
    "required": ["age"],
}


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        ({"a": 1, "b": [1, 2]}, '{"b": [1, 2.0], "a": 1}', True),
        ({"a": 1}, '```json\n{"a": 1}\n```', True),
        ({"a": 1}, 'Here it is:\n```\n{"a": 1}\n```\nAnything else?', True),
        ({"a": 1}, '{"a": 1, "b": 2}', False),
        ({"a": 1}, "{'a': 1}", False),
        ({"a": 1}, '{"a": 1', False),
        ({"a": 1}, '{"a": true}', False),
        ([1, 2], "[2, 1]", False),
        ([1, 2], "[1, 2, 3]", False),
        (True, "1", False),
        ("x", '"x"', True),
        (False, "false", True),
        ([], "[]", True),
        (0, "0.0", True),
        ({"a": None}, "{}", False),
    ],
)
async def test_a_value_is_compared_as_json(expected: object, answer: str, is_right: bool) -> None:
    assert await score(JsonGrader(), answer, expected=expected) == is_right


@pytest.mark.parametrize(
    ("answer", "is_right"), [('{"age": 3}', True), ('{"age": "3"}', False), ("{}", False)]
)
async def test_a_schema_is_in_expected_or_in_the_request(answer: str, is_right: bool) -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SCHEMA}
    response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}

    assert await score(JsonGrader(), answer, expected=schema) == is_right
    assert await score(JsonGrader(), answer, response_format=response_format) == is_right


async def test_a_value_must_fit_the_schema_of_its_request_too() -> None:
    response_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}

    assert await score(JsonGrader(), '{"age": 3}', expected={"age": 3}, response_format=response_format) == 1
    assert await score(JsonGrader(), '{"age": 4}', expected={"age": 3}, response_format=response_format) == 0


async def test_a_schema_that_refers_elsewhere_is_not_fetched() -> None:
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "http://127.0.0.1:9/none"}

    with pytest.raises(NotGraded, match="the schema cannot be applied"):
        await score(JsonGrader(), "{}", expected=schema)


DOUBLING = {
    "$defs": {
        str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}, {"$ref": f"#/$defs/{n + 1}"}]} for n in range(60)
    }
    | {"60": {}},
    "$ref": "#/$defs/0",
}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "pattern": "^(a+)+$"},
        {"type": "object", "patternProperties": {"^(a+)+$": {}}},
        {"$ref": "#"},
        DOUBLING,
    ],
)
async def test_a_schema_without_an_end_is_stopped(schema: dict[str, object]) -> None:
    impatient = JsonGrader(Sandbox(Limits(cpu_s=1, wall_s=60.0)))
    response_format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    hostile = "a" * 60 + "!"
    answer = f'{{"{hostile}": 1}}' if schema.get("type") == "object" else f'"{hostile}"'

    with pytest.raises(NotGraded, match="takes too long"):
        await score(impatient, answer, response_format=response_format)


def test_a_prompt_needs_a_value_or_a_sound_schema() -> None:
    draft = "https://json-schema.org/draft/2020-12/schema"

    missing = JsonGrader().reason_against(prompt(response_format={"type": "json_object"}))
    broken = JsonGrader().reason_against(prompt(expected={"$schema": draft, "type": "number or text"}))

    assert missing == "expected: is required by the grader json, unless response_format has a schema"
    assert broken is not None
    assert broken.startswith("expected: is no valid schema: 'number or text'")
