"""Requests as turns of conversations: what the user asks now, and which conversation it belongs to.

Pure. Works on messages in OpenAI's form, whatever the caller's dialect was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.dialects.client_markup import is_housekeeping, own_words
from service.domain.basics import Json
from service.domain.query import Options, Turn

MAX_KEY_CHARS = 256  # of what a client sends as its session's name; what is longer names nothing
WINDOW_CHARS = 500  # of what the user asked before, as context of what is asked now
CLAUDE_CODE_SESSION = "X-Claude-Code-Session-Id"
CLAUDE_CODE_AGENT = "X-Claude-Code-Agent-Id"  # sub-agents hold conversations of their own
CLIENT_HEADERS = (CLAUDE_CODE_SESSION, CLAUDE_CODE_AGENT)
INSTRUCTIONS = frozenset({"system", "developer"})


def text_of(message: Json) -> str:
    """The text of a message, whether it is one string or parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if p.get("type") == "text" and isinstance(p.get("text"), str))


def asked_text(messages: Sequence[Json]) -> str:
    """What the user asks now, then what was asked shortly before; the rest of a history tells little.

    Where no user says anything in their own words: the last message that has any text.
    """
    asks = _asks(messages)
    if not asks:
        texts = [text for m in messages if (text := text_of(m)).strip()]
        return texts[-1] if texts else ""
    return "\n".join([asks[-1], *_window(asks[:-1])])


def _asks(messages: Sequence[Json]) -> list[str]:
    """Everything that users said in their own words."""
    return [ask for m in messages if m["role"] == "user" and (ask := own_words(text_of(m)))]


def _window(earlier: Sequence[str]) -> list[str]:
    """The newest of what was asked earlier, newest first, as much as fits."""
    window, left = [], WINDOW_CHARS
    for ask in reversed(earlier):
        left -= len(ask)
        if left < 0:
            break
        window.append(ask)
    return window


def session_id_of(given: str | None, headers: Mapping[str, str]) -> str | None:
    """The name a client gives its conversation: the router's own option, then Claude Code's header."""
    return given if given is not None else _bounded(headers.get(CLAUDE_CODE_SESSION.lower()))


def asks_for_itself(body: Json) -> bool:
    """Whether the request is a client's housekeeping; see `harness`."""
    messages: Sequence[Json] = body["messages"]
    if body.get("tools"):
        return False
    told = [text_of(m) for m in messages if m["role"] in INSTRUCTIONS]
    wanted = body.get("max_completion_tokens") or body.get("max_tokens")
    return is_housekeeping([*told, text_of(messages[-1])], wanted)


def with_housekeeping(options: Options, body: Json) -> Options:
    """The options; what a client asks for itself teaches nothing."""
    return replace(options, learn=False) if asks_for_itself(body) else options


def turn_of(tenant: str, body: Json, options: Options, headers: Mapping[str, str]) -> Turn:
    """Where a request stands in its conversation.

    A session id names the conversation, which then holds from its first request. What several conversations
    may share (`metadata.user_id`, `prompt_cache_key`) counts together with how the conversation opened,
    and only from the second turn on: until then nothing is lost by choosing freely.
    """
    messages: Sequence[Json] = body["messages"]
    if asks_for_itself(body):
        return Turn(is_housekeeping=True)
    asks = _asks(messages)
    in_tool_loop, n_asked = _is_amid_tools(messages), len(asks[-1]) if asks else 0
    if options.session_id is not None:
        agent = _bounded(headers.get(CLAUDE_CODE_AGENT.lower())) or ""
        return Turn(_digest(tenant, "named", options.session_id, agent), True, in_tool_loop, n_asked)
    if not asks:
        return Turn()
    key = _digest(tenant, "opened", _hint(body), _instructions(messages), asks[0])
    continues = any(m["role"] == "assistant" for m in messages)
    return Turn(key, continues, in_tool_loop, n_asked)


def _is_amid_tools(messages: Sequence[Json]) -> bool:
    """Whether the model has not answered to a tool's result yet, or is to go on with its answer.

    What stands beside a result in the user's name may be an agent's.
    """
    for message in reversed(messages):
        if message["role"] in {"tool", "function"}:
            return True
        if message["role"] == "assistant":
            return message is messages[-1]
    return False


def _instructions(messages: Sequence[Json]) -> str:
    """The first instructions."""
    return next((own_words(text_of(m)) for m in messages if m["role"] in INSTRUCTIONS), "")


def _hint(body: Json) -> str:
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    return _bounded(user_id) or _bounded(body.get("prompt_cache_key")) or ""


def _bounded(value: object) -> str | None:
    """A name that a client sent, if it is one."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_KEY_CHARS else None


def _digest(*parts: str) -> bytes:
    """One digest of all parts; no two lists of parts run together."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
