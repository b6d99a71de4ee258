"""The items of a Responses request's input, and their rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import ValidationError

from service.dialects.chat.requests import MAX_PARTS, MAX_TOOLS
from service.dialects.json_body import Location, Open, field_path, invalid, items
from service.dialects.responses.client_tools import CALL_ITEMS
from service.domain.basics import Json
from service.errors import BadRequest

Parts = Annotated[list[Json], items(MAX_PARTS)]


class Message(Open):
    role: Literal["user", "assistant", "system", "developer"]
    content: str | Parts


class FunctionCall(Open):
    call_id: str
    name: str
    arguments: str
    namespace: str | None = None


class CustomToolCall(Open):
    call_id: str
    name: str
    input: str
    namespace: str | None = None


class ActionCall(Open):
    call_id: str
    action: Json


class PatchCall(Open):
    call_id: str
    operation: Json


class CallOutput(Open):
    call_id: str
    output: str | Parts


class LocalShellOutput(Open):
    """Its id is that of the call."""

    id: str
    output: str


class PatchOutput(Open):
    call_id: str
    status: Literal["completed", "failed"]
    output: str | None = None


class Reasoning(Open):
    summary: Parts | None = None
    encrypted_content: str | None = None


class McpCall(Open):
    id: str
    name: str
    server_label: str
    arguments: str
    output: str | None = None
    error: str | None = None


class ItemReference(Open):
    id: str


class AdditionalTools(Open):
    tools: Annotated[list[Json], items(MAX_TOOLS)]


class Untold(Open):
    """An item that says nothing which a message of the same answer does not say."""


RULES: Mapping[str, type[Open]] = {
    "message": Message,
    "function_call": FunctionCall,
    "custom_tool_call": CustomToolCall,
    "shell_call": ActionCall,
    "local_shell_call": ActionCall,
    "apply_patch_call": PatchCall,
    "function_call_output": CallOutput,
    "custom_tool_call_output": CallOutput,
    "shell_call_output": CallOutput,
    "local_shell_call_output": LocalShellOutput,
    "apply_patch_call_output": PatchOutput,
    "reasoning": Reasoning,
    "mcp_call": McpCall,
    "item_reference": ItemReference,
    "additional_tools": AdditionalTools,
    # What OpenAI's own tools did for an earlier answer, whose message has their result.
    "web_search_call": Untold,
    "file_search_call": Untold,
    "code_interpreter_call": Untold,
    "image_generation_call": Untold,
    "mcp_list_tools": Untold,
    "tool_search_call": Untold,
    "tool_search_output": Untold,
}
LEFT_OUT = frozenset(name for name, rule in RULES.items() if rule is Untold)
# Without these the conversation would not be the same one.
REFUSED = frozenset(
    {
        "compaction",
        "compaction_trigger",
        "computer_call",
        "computer_call_output",
        "mcp_approval_request",
        "mcp_approval_response",
        "program",
        "program_output",
    }
)
CALLS = frozenset(CALL_ITEMS)
OUTPUTS = frozenset(name for name in RULES if name.endswith("_call_output"))


def checked(items: Sequence[Any], path: str = "input") -> list[Json]:
    """The items, each with its type.

    Raises:
        BadRequest: an item breaks a rule; the message names its place.
    """
    return [_checked(item, f"{path}[{position}]") for position, item in enumerate(items)]


def _checked(item: Any, path: str) -> Json:
    if not isinstance(item, dict):
        raise BadRequest(f"{path}: must be an object, got {type(item).__name__}", param=path)
    kind = item.get("type") or _unnamed(item)
    if kind is None:
        raise BadRequest(f"{path}.type: field is required", param=f"{path}.type")
    if isinstance(kind, str) and kind in REFUSED:
        raise BadRequest(f"{path}.type: no model here can use {kind}", param=f"{path}.type")
    rule = RULES.get(kind) if isinstance(kind, str) else None
    if rule is None:
        known = ", ".join(sorted(RULES))
        raise BadRequest(f"{path}.type: must be one of {known}, got {kind!r}", param=f"{path}.type")
    try:
        rule.model_validate(item)
    except ValidationError as error:

        def named(location: Location) -> str:
            inner = field_path(location)
            return path + (inner if inner.startswith("[") else f".{inner}" if inner else "")

        raise invalid(error, named) from error
    return {**item, "type": kind}


def _unnamed(item: Json) -> str | None:
    """The type of an item that gives none: a message, or the id of an item."""
    if "role" in item:
        return "message"
    return "item_reference" if item.keys() <= {"id", "type"} and "id" in item else None


def call_id_of(item: Json) -> str:
    """The id of the call that an item is, or answers."""
    return str(item["id"] if item["type"] == "local_shell_call_output" else item["call_id"])
