"""The kinds of tools that a client runs itself: as functions of Chat Completions, and back as items."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from service.domain.basics import Json
from service.domain.bounded_json import ANSWER, bounded_json
from service.errors import BadRequest

_STRING, _INTEGER = {"type": "string"}, {"type": "integer"}
_STRINGS = {"type": "array", "items": _STRING}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tool.

    Args:
        type: its type in `tools`, and its name if it has none of its own.
        item_type: the type of the item of a call.
        prefix: of the ids of its items.
        function: the tool as a function, without its name.
        fields: the fields of a call's item for the arguments of the function.
        arguments: the arguments for an item of a call.
        streams: whether the arguments are passed on as they come.
    """

    type: str
    item_type: str
    prefix: str
    function: Callable[[Json], Json]
    fields: Callable[[str], Json]
    arguments: Callable[[Json], str]
    streams: bool = False

    @property
    def is_named(self) -> bool:
        """Whether the client names tools of this kind."""
        return self.type in ("function", "custom")

    def name_of(self, tool: Json) -> str:
        return str(tool.get("name") or self.type)

    def check(self, tool: Json, path: str) -> None:
        """Raises BadRequest: the tool is incomplete."""
        if not self.is_named:
            _require_local(tool, path)
        elif not isinstance(tool.get("name"), str) or not tool["name"]:
            raise BadRequest(f"{path}.name: field is required", param=f"{path}.name")
        elif not isinstance(tool.get("parameters"), dict | None):
            message = f"{path}.parameters: must be a JSON schema"
            raise BadRequest(message, param=f"{path}.parameters")


def _require_local(tool: Json, path: str) -> None:
    """A shell in a container of OpenAI's is not one that a client runs."""
    environment = tool.get("environment")
    kind = environment.get("type") if isinstance(environment, dict) else None
    if kind not in (None, "local"):
        where = f"{path}.environment.type"
        raise BadRequest(f"{where}: no model here can use {kind}, only local", param=where)


def _function(tool: Json) -> Json:
    function: Json = {"parameters": tool.get("parameters") or {"type": "object", "properties": {}}}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    if isinstance(tool.get("strict"), bool):
        function["strict"] = tool["strict"]
    return function


def _custom(tool: Json) -> Json:
    """A function with the whole input as its only argument; a grammar is described, and not enforced."""
    texts = [tool.get("description"), _format(tool.get("format"))]
    return {
        "description": "\n\n".join(text for text in texts if isinstance(text, str) and text),
        "parameters": _object({"input": {**_STRING, "description": "the whole input of the tool"}}, "input"),
    }


def _format(form: Any) -> str:
    if not isinstance(form, dict) or not isinstance(form.get("definition"), str):
        return ""
    return f"The input must match this grammar ({form.get('syntax')}):\n{form['definition']}"


def _object(properties: Json, *required: str) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _shell(tool: Json) -> Json:
    properties = {"commands": _STRINGS, "timeout_ms": _INTEGER, "max_output_length": _INTEGER}
    return {
        "description": "Runs shell commands on the user's computer and returns their output.",
        "parameters": _object(properties, "commands"),
    }


def _local_shell(tool: Json) -> Json:
    properties = {
        "command": {**_STRINGS, "description": "the program and its arguments"},
        "working_directory": _STRING,
        "timeout_ms": _INTEGER,
        "env": {"type": "object", "additionalProperties": _STRING},
    }
    return {
        "description": "Runs a command on the user's computer and returns its output.",
        "parameters": _object(properties, "command"),
    }


def _apply_patch(tool: Json) -> Json:
    properties = {
        "type": {**_STRING, "enum": ["create_file", "update_file", "delete_file"]},
        "path": _STRING,
        "diff": {**_STRING, "description": "a diff in the V4A format; leave it out for delete_file"},
    }
    return {
        "description": "Creates, updates or deletes one file.",
        "parameters": _object(properties, "type", "path"),
    }


def arguments_in(arguments: str) -> Json:
    """The arguments of a function call; empty if they are no JSON object."""
    try:
        value = bounded_json(arguments.encode("utf-8", "surrogatepass"), ANSWER)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _custom_fields(arguments: str) -> Json:
    """A model that writes something else than the one argument means all of it as the input."""
    given = arguments_in(arguments)
    whole = given.get("input") if given.keys() == {"input"} else None
    return {"input": whole if isinstance(whole, str) else arguments}


def _shell_fields(arguments: str) -> Json:
    given = arguments_in(arguments)
    action = {
        "commands": _strings(given.get("commands")),
        "timeout_ms": given.get("timeout_ms"),
        "max_output_length": given.get("max_output_length"),
    }
    return {"action": action, "environment": None}


def _local_shell_fields(arguments: str) -> Json:
    given = arguments_in(arguments)
    env = given.get("env")
    env = {name: str(value) for name, value in env.items()} if isinstance(env, dict) else {}
    action: Json = {"type": "exec", "command": _strings(given.get("command")), "env": env}
    named = ("timeout_ms", "working_directory")
    return {"action": action | {name: given[name] for name in named if given.get(name) is not None}}


def _apply_patch_fields(arguments: str) -> Json:
    given = arguments_in(arguments)
    operation = {"type": given.get("type") or "update_file", "path": str(given.get("path") or "")}
    if operation["type"] != "delete_file":
        operation["diff"] = str(given.get("diff") or "")
    return {"operation": operation}


def _strings(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)] if value else []


def _dumped(value: Any) -> str:
    return orjson.dumps(value).decode()


def _without_nulls(value: Json) -> Json:
    return {name: inner for name, inner in value.items() if inner is not None}


FUNCTION = Kind(
    type="function",
    item_type="function_call",
    prefix="fc",
    function=_function,
    fields=lambda arguments: {"arguments": arguments},
    arguments=lambda item: str(item["arguments"]),
    streams=True,
)
CUSTOM = Kind(
    type="custom",
    item_type="custom_tool_call",
    prefix="ctc",
    function=_custom,
    fields=_custom_fields,
    arguments=lambda item: _dumped({"input": item["input"]}),
)
SHELL = Kind(
    type="shell",
    item_type="shell_call",
    prefix="sh",
    function=_shell,
    fields=_shell_fields,
    arguments=lambda item: _dumped(_without_nulls(item["action"])),
)
LOCAL_SHELL = Kind(
    type="local_shell",
    item_type="local_shell_call",
    prefix="lsh",
    function=_local_shell,
    fields=_local_shell_fields,
    arguments=lambda item: _dumped({k: v for k, v in _without_nulls(item["action"]).items() if k != "type"}),
)
APPLY_PATCH = Kind(
    type="apply_patch",
    item_type="apply_patch_call",
    prefix="apc",
    function=_apply_patch,
    fields=_apply_patch_fields,
    arguments=lambda item: _dumped(item["operation"]),
)
_KINDS = (FUNCTION, CUSTOM, SHELL, LOCAL_SHELL, APPLY_PATCH)
CLIENT_TOOLS: Mapping[str, Kind] = {kind.type: kind for kind in _KINDS}
CALL_ITEMS: Mapping[str, Kind] = {kind.item_type: kind for kind in _KINDS}
