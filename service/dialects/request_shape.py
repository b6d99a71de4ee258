"""The shape of a request: what it offers, what it limits, and who sends it; not what it says.

Pure. It reads requests in OpenAI's form, with a few fields of other dialects beside it (`HINTS`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.domain.basics import Json
from service.domain.value import value

LITTLE_TOKENS = 1_500  # a limit of the answer that few users set for their own requests
TINY_PROPERTIES = 3  # of an answer's form

# Fields that say something about the sender or the conversation, and that a translation leaves out.
HINTS = ("context_management", "conversation_id", "metadata", "prompt_cache_key", "thinking", "thread")
TOOLS_AS_SENT = "tools_as_sent"  # a translation leaves out the tools that a provider runs

# Headers that only coding agents send, and starts of their user agents. Lower case.
AGENT_HEADERS = frozenset({"x-claude-code-session-id", "x-codex-turn-metadata", "x-initiator"})  # Copilot CLI
OPENCODES_HEADERS = frozenset({"x-session-affinity", "x-session-id"})  # both
# Types of tools that a provider runs start like these; an agent runs all others, such as `bash_20250124`.
SERVER_TOOLS = (
    "web_search", "web_fetch", "code_execution", "codeExecution", "code_interpreter", "file_search",
    "google_search", "googleSearch", "image_generation", "tool_search", "url_context", "urlContext",
)  # fmt: skip
AGENTS = ("claude-cli", "codex", "opencode", "qwencode", "geminicli", "crush", "cline", "kilo", "roo")
INSTRUCTIONS = frozenset({"system", "developer"})


@value
class Shape:
    """What a request shows without its texts."""

    is_agents: bool  # the sender is a coding agent
    n_functions: int  # tools that the client runs
    n_server_tools: int  # tools that the provider runs
    is_forced: bool  # the answer must call its only function
    n_asked: int  # messages of the user
    n_answers: int
    max_tokens: int | None
    fields: tuple[str, ...]  # of the answer, if its form has only a few plain ones
    thinks: bool  # the answer may think, as an agent's own requests do
    is_in_thread: bool  # of the user's; its tools can be those of the thread

    @property
    def may_be_agents(self) -> bool:
        """Whether a program may have put its own blocks into the user's messages."""
        return self.is_agents or self.n_functions > 0

    @property
    def is_tiny(self) -> bool:
        return bool(self.fields)

    @property
    def is_small(self) -> bool:
        """Whether the answer is bound to be short."""
        return self.is_tiny or self.is_forced or self.has_little_room

    @property
    def has_little_room(self) -> bool:
        return self.max_tokens is not None and self.max_tokens <= LITTLE_TOKENS


def with_hints(sent: Json, chat: Json) -> Json:
    """A Chat Completions request with the hints of the request that it was translated from."""
    hints = {name: sent[name] for name in HINTS if name in sent}
    return {**hints, **chat, TOOLS_AS_SENT: sent.get("tools")}


def shape_of(body: Json, headers: Mapping[str, str]) -> Shape:
    messages: Sequence[Json] = body["messages"]
    sent = body.get(TOOLS_AS_SENT) or body.get("tools")
    tools = [tool for tool in sent if isinstance(tool, dict)] if isinstance(sent, list) else []
    n_server_tools = sum(map(_is_server_tool, tools))
    n_functions = sum(map(_n_functions, tools)) - n_server_tools
    roles = [message["role"] for message in messages]
    return Shape(
        is_agents=_is_agents(headers),
        n_functions=n_functions,
        n_server_tools=n_server_tools + (body.get("web_search_options") is not None),
        is_forced=n_functions == 1 and not n_server_tools and _is_forced(body.get("tool_choice")),
        n_asked=roles.count("user"),
        n_answers=roles.count("assistant"),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        fields=_plain_fields(body.get("response_format")),
        thinks=_object(body.get("thinking")).get("type") in ("enabled", "adaptive")
        or body.get("context_management") is not None,
        is_in_thread=body.get("thread") is not None,
    )


def continues_thread(body: Json) -> bool:
    """Whether the provider has the messages before these (beta `message-threads`)."""
    thread = body.get("thread")
    return thread == "continue" or _object(thread).get("type") == "continue"


def _is_agents(headers: Mapping[str, str]) -> bool:
    if not AGENT_HEADERS.isdisjoint(headers) or OPENCODES_HEADERS.issubset(headers):
        return True
    return headers.get("user-agent", "").lower().startswith(AGENTS)


def _n_functions(tool: Json) -> int:
    """One, or as many as a tool of Gemini's declares."""
    declared = tool.get("functionDeclarations", tool.get("function_declarations"))
    return len(declared) if isinstance(declared, list) else 1


def _is_server_tool(tool: Json) -> bool:
    kinds = [tool["type"]] if "type" in tool else tool  # Gemini's tools are named by their only key
    return any(str(kind).startswith(SERVER_TOOLS) for kind in kinds)


def _is_forced(choice: object) -> bool:
    return choice == "required" or _object(choice).get("type") in (
        "function",
        "tool",
        "any",
    )  # it may be anything


def _plain_fields(form: object) -> tuple[str, ...]:
    """The fields of a form with only a few, each a string, a number, a flag or a list of such."""
    if form is None:
        return ()
    schema = _object(_object(_object(form).get("json_schema")).get("schema"))
    properties = _object(schema.get("properties"))
    plain = {"string", "boolean", "number", "integer"}
    kinds = [
        _object(field.get("items")).get("type") if field.get("type") == "array" else field.get("type")
        for field in map(_object, properties.values())
    ]
    is_tiny = len(kinds) <= TINY_PROPERTIES and all(kind in plain for kind in kinds if isinstance(kind, str))
    return tuple(properties) if is_tiny else ()


def _object(value: Any) -> Json:
    return value if isinstance(value, dict) else {}
