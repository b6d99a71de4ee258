"""The tools of a Gemini request as functions of Chat Completions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from service.dialects.chat.requests import MAX_TOOLS
from service.dialects.gemini.fields import Many, Message, has_value
from service.dialects.gemini.schemas import json_schema
from service.dialects.json_body import items
from service.domain.basics import Json
from service.errors import BadRequest

# Tools that Google runs itself. A model can do without these, so they are left out with a note ...
OPTIONAL = (
    "googleSearch",
    "googleSearchRetrieval",
    "googleMaps",
    "urlContext",
    "enterpriseWebSearch",
    "exaAiSearch",
    "parallelAiSearch",
)
# ... and not without these: they hold the client's own documents, programs and screens.
REQUIRED = ("codeExecution", "computerUse", "fileSearch", "mcpServers", "retrieval")
_SNAKE = {"".join(f"_{c.lower()}" if c.isupper() else c for c in name): name for name in OPTIONAL + REQUIRED}


class FunctionDeclaration(Message):
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: Json | None = None
    parameters_json_schema: Json | None = None


class Tool(Message):
    function_declarations: Many[Annotated[list[FunctionDeclaration], items(MAX_TOOLS)]] | None = None


class FunctionCallingConfig(Message):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] = "AUTO"
    allowed_function_names: Annotated[list[str], items(MAX_TOOLS)] | None = None


class ToolConfig(Message):
    function_calling_config: FunctionCallingConfig | None = None


Tools = Many[Annotated[list[Tool], items(MAX_TOOLS)]]


def tool_fields(tools: Sequence[Tool], config: ToolConfig | None) -> Json:
    """The fields `tools` and `tool_choice`; empty if the request declares no function.

    Raises:
        BadRequest: the request forces a function that it does not declare.
    """
    declared = {f.name: f for tool in tools for f in tool.function_declarations or []}
    calling = (config and config.function_calling_config) or FunctionCallingConfig()
    functions = [_function(declaration) for declaration in _allowed(declared, calling)]
    if not functions:
        if calling.mode == "ANY":
            raise _fault("mode: ANY needs functionDeclarations", "mode")
        return {}
    fields: Json = {"tools": functions}
    if calling.mode == "NONE":
        fields["tool_choice"] = "none"
    elif calling.mode == "ANY" and len(functions) == 1 and calling.allowed_function_names:
        name = functions[0]["function"]["name"]
        fields["tool_choice"] = {"type": "function", "function": {"name": name}}
    elif calling.mode == "ANY":
        fields["tool_choice"] = "required"
    return fields


def _allowed(
    declared: dict[str, FunctionDeclaration], calling: FunctionCallingConfig
) -> list[FunctionDeclaration]:
    """The functions that the model may call; Chat Completions has no other way to allow only some."""
    allowed = calling.allowed_function_names
    if not allowed or calling.mode not in ("ANY", "VALIDATED"):
        return list(declared.values())
    if unknown := next((name for name in allowed if name not in declared), None):
        rule = f"must be names of functionDeclarations, got {unknown[:100]!r}"
        raise _fault(f"allowedFunctionNames: {rule}", "allowedFunctionNames")
    return [declared[name] for name in dict.fromkeys(allowed)]


def _fault(message: str, field: str) -> BadRequest:
    place = "toolConfig.functionCallingConfig"
    return BadRequest(f"{place}.{message}", param=f"{place}.{field}")


def _function(declaration: FunctionDeclaration) -> Json:
    schema = declaration.parameters_json_schema or declaration.parameters
    function: Json = {
        "name": declaration.name,
        "parameters": json_schema(schema) if schema else {"type": "object", "properties": {}},
    }
    if declaration.description is not None:
        function["description"] = declaration.description
    return {"type": "function", "function": function}


def left_out(tools: Sequence[Tool]) -> list[str]:
    """The tools that Google would run, none of which a model is offered.

    Raises:
        BadRequest: one of them is needed for the answer.
    """
    found: dict[str, None] = {}
    for position, tool in enumerate(tools):
        for given, value in (tool.model_extra or {}).items():
            name = _SNAKE.get(given, given)
            if name in REQUIRED and _is_offered(value):
                place = f"tools[{position}].{name}"
                raise BadRequest(f"{place}: no model here can use {name}", param=place)
            if _is_offered(value):
                found[name] = None
    return [f"tool {name}" for name in found]


def _is_offered(value: Any) -> bool:
    """Google's tools without options are empty objects."""
    return value == {} or has_value(value)
