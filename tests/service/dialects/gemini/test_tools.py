from __future__ import annotations

from typing import Any

import pytest

from service.domain.basics import Json
from tests.service.dialects.gemini.asking import ADD, chat

SUB: Json = {"name": "sub"}


def fields(*declared: Json, **calling: Any) -> Json:
    """The names of the functions that are offered, and the choice among them."""
    body = chat(
        tools=[{"functionDeclarations": list(declared)}], toolConfig={"functionCallingConfig": calling}
    )
    names = [tool["function"]["name"] for tool in body["tools"]]
    return {"names": names, **({"choice": body["tool_choice"]} if "tool_choice" in body else {})}


@pytest.mark.parametrize(
    ("calling", "names", "choice"),
    [
        ({}, ["add", "sub"], None),
        ({"mode": "AUTO"}, ["add", "sub"], None),
        ({"mode": "MODE_UNSPECIFIED"}, ["add", "sub"], None),
        ({"mode": "VALIDATED"}, ["add", "sub"], None),
        ({"mode": "NONE"}, ["add", "sub"], "none"),
        ({"mode": "ANY"}, ["add", "sub"], "required"),
        ({"mode": "ANY", "allowedFunctionNames": ["sub", "add"]}, ["sub", "add"], "required"),
        (
            {"mode": "ANY", "allowedFunctionNames": ["sub"]},
            ["sub"],
            {"type": "function", "function": {"name": "sub"}},
        ),
        ({"mode": "VALIDATED", "allowedFunctionNames": ["sub"]}, ["sub"], None),
    ],
)
def test_the_mode_is_the_choice_of_a_tool(calling: Json, names: list[str], choice: object) -> None:
    expected: Json = {"names": names} if choice is None else {"names": names, "choice": choice}

    assert fields(ADD, SUB, **calling) == expected


def test_functions_of_several_tools_are_offered_together() -> None:
    body = chat(tools=[{"functionDeclarations": [ADD]}, {"functionDeclarations": [SUB]}, {}])

    assert [tool["function"] for tool in body["tools"]] == [
        {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
        {"name": "sub", "parameters": {"type": "object", "properties": {}}},
    ]


def test_a_request_without_functions_forces_none() -> None:
    body = chat(tools=[], toolConfig={"functionCallingConfig": {"mode": "NONE"}})

    assert "tools" not in body
    assert "tool_choice" not in body
