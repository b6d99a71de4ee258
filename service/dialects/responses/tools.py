"""The tools of a Responses request as functions of Chat Completions, and the model's calls of them as items.

Custom tools, shells and patches become functions, whose calls are translated back. Tools of a namespace get
one name. Tools that OpenAI runs itself cannot be offered to other models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.dialects.responses.client_tools import CLIENT_TOOLS, FUNCTION, Kind
from service.domain.basics import Json
from service.errors import BadRequest

SEPARATOR = "__"  # between a namespace and the name of its tool
MAX_NAME_CHARS = 64
N_DIGEST_CHARS = 8
_NOT_ACCEPTED = re.compile(r"[^A-Za-z0-9_-]")

# Tools that OpenAI runs. A model can do without these, so they are left out with a note ...
OPTIONAL = (
    "web_search",
    "web_search_preview",
    "image_generation",
    "tool_search",
    "programmatic_tool_calling",
)
# ... and not without these: they hold the client's own documents, programs and screens.
REQUIRED = ("code_interpreter", "computer", "computer_use", "computer_use_preview", "file_search", "mcp")
_DATED = re.compile(r"_\d{4}_\d{2}_\d{2}$")


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """One tool, as the client knows it and as a function.

    Args:
        function: the name of its function.
    """

    kind: Kind
    name: str
    namespace: str | None
    function: str


class Toolbox:
    """The tools of one request.

    Raises:
        BadRequest: a tool is incomplete, or of a type that no model here can use.
    """

    def __init__(self, tools: Sequence[Json], path: str = "tools") -> None:
        self.functions: list[Json] = []
        self.left_out: list[str] = []  # the types of tools that no model is offered
        self._by_function: dict[str, OfferedTool] = {}
        self._by_name: dict[tuple[str | None, str], OfferedTool] = {}
        self._of_any_namespace: dict[str, list[OfferedTool]] = {}
        for position, tool in enumerate(tools):
            self._add(tool, f"{path}[{position}]", None)

    def _add(self, tool: Json, path: str, namespace: str | None) -> None:
        kind_name = str(tool.get("type"))
        plain = _DATED.sub("", kind_name)
        if kind_name == "namespace" and namespace is None:
            self._add_namespace(tool, path)
        elif (kind := CLIENT_TOOLS.get(kind_name)) is not None:
            kind.check(tool, path)
            self._offer(tool, kind, namespace)
        elif plain in OPTIONAL:
            self.left_out.append(plain)
        elif plain in REQUIRED:
            raise BadRequest(f"{path}.type: no model here can use {kind_name}", param=f"{path}.type")
        else:
            known = ", ".join(sorted({*CLIENT_TOOLS, "namespace", *OPTIONAL, *REQUIRED}))
            raise BadRequest(f"{path}.type: must be one of {known}, got {kind_name!r}", param=f"{path}.type")

    def _add_namespace(self, tool: Json, path: str) -> None:
        name, inner = tool.get("name"), tool.get("tools")
        if not isinstance(name, str) or not name:
            raise BadRequest(f"{path}.name: field is required", param=f"{path}.name")
        if not isinstance(inner, list) or not all(isinstance(t, dict) for t in inner):
            raise BadRequest(f"{path}.tools: must be a list of tools", param=f"{path}.tools")
        for position, inner_tool in enumerate(inner):
            self._add(inner_tool, f"{path}.tools[{position}]", name)

    def _offer(self, tool: Json, kind: Kind, namespace: str | None) -> None:
        name = kind.name_of(tool)
        function = joined_name(namespace, name)
        if function in self._by_function:
            function = _with_digest(function, f"{namespace}\0{name}\0{len(self.functions)}")
        offered = OfferedTool(kind, name, namespace, function)
        self._by_function[function] = self._by_name[namespace, name] = offered
        self._of_any_namespace.setdefault(name, []).append(offered)
        self.functions.append({"type": "function", "function": {"name": function, **kind.function(tool)}})

    def called(self, function: str) -> OfferedTool:
        """The tool of a function that the model calls; it may call one that nobody offered."""
        return self._by_function.get(function) or OfferedTool(FUNCTION, function, None, function)

    def function_of(self, name: str, namespace: str | None) -> str:
        """The name of the function for a tool of the client."""
        offered = self._by_name.get((namespace, name))
        return joined_name(namespace, name) if offered is None else offered.function

    # --- the choice of a tool

    def choice(self, choice: Any) -> Json:
        """The fields for `tools`, `tool_choice`; empty if the request offers no function.

        Raises:
            BadRequest: the request forces a tool that no model here can use.
        """
        match choice:
            case None | "auto" | "none" | "required":
                return self._mode(choice, self.functions)
            case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": [*allowed]}:
                return self._mode(mode, list(self._allowed(allowed)))
            case {"type": "function" | "custom" as kind, "name": str(name)}:
                return self._one(kind, name, _named(choice)[2])
            case {"type": "shell" | "local_shell" | "apply_patch" as kind}:
                return self._one(kind, kind, None)
            case {"type": str(kind)} if _DATED.sub("", kind) in {*OPTIONAL, *REQUIRED}:
                message = f"tool_choice: no model here can use {kind}"
                raise BadRequest(message, param="tool_choice")
        raise BadRequest(
            "tool_choice: must be auto, none, required, or an object of type function, custom, allowed_tools,"
            f" shell, local_shell or apply_patch with its fields, got {_shown(choice)}",
            param="tool_choice",
        )

    def _mode(self, mode: str | None, functions: list[Json]) -> Json:
        if mode == "required" and not functions:
            why = f"no model here can use {', '.join(self.left_out)}" if self.left_out else "it needs tools"
            raise BadRequest(f"tool_choice required: {why}", param="tool_choice")
        if not functions:
            return {}
        return {"tools": functions} | ({} if mode is None else {"tool_choice": mode})

    def _one(self, kind: str, name: str, namespace: str | None) -> Json:
        offered = self._find(name, namespace)
        if offered is None or offered.kind.type != kind:
            message = f"tool_choice: {kind} {name!r} is not in tools"
            raise BadRequest(message, param="tool_choice")
        forced = {"type": "function", "function": {"name": offered.function}}
        return {"tools": self.functions, "tool_choice": forced}

    def _find(self, name: str, namespace: str | None) -> OfferedTool | None:
        """The tool of that name; without a namespace, also the only one of any namespace."""
        if (offered := self._by_name.get((namespace, name))) is not None or namespace is not None:
            return offered
        same = self._of_any_namespace.get(name, [])
        return same[0] if len(same) == 1 else None

    def _allowed(self, allowed: Sequence[Any]) -> Iterator[Json]:
        """The functions of the allowed tools, in the order of the request."""
        names = set()
        for position, tool in enumerate(allowed):
            kind, name, namespace = _named(tool)
            offered = self._find(name, namespace)
            if offered is not None:
                names.add(offered.function)
            elif _DATED.sub("", kind) not in OPTIONAL:
                path = f"tool_choice.tools[{position}]"
                raise BadRequest(f"{path}: {kind} {name!r} is not in tools", param=path)
        return (function for function in self.functions if function["function"]["name"] in names)


def _named(tool: Any) -> tuple[str, str, str | None]:
    """Type, name and namespace of an allowed tool; a tool without a name has that of its type."""
    tool = tool if isinstance(tool, dict) else {}
    kind, namespace = str(tool.get("type")), tool.get("namespace")
    return kind, str(tool.get("name") or kind), None if namespace is None else str(namespace)


def joined_name(namespace: str | None, name: str) -> str:
    """The name of a function for a tool; a long or odd name of a namespace's tool is shortened."""
    if namespace is None:
        return name
    joined = f"{namespace}{SEPARATOR}{name}"
    clean = _NOT_ACCEPTED.sub("_", joined)
    return joined if clean == joined and len(joined) <= MAX_NAME_CHARS else _with_digest(clean, joined)


def _with_digest(name: str, whole: str) -> str:
    digest = hashlib.sha256(whole.encode("utf-8", "surrogatepass")).hexdigest()[:N_DIGEST_CHARS]
    return f"{name[: MAX_NAME_CHARS - N_DIGEST_CHARS - 1]}_{digest}"


def _shown(choice: Any) -> str:
    if isinstance(choice, Mapping):
        return f"an object of type {choice.get('type')!r}"
    return repr(choice)[:60]
