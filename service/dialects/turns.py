"""Finds the question of a request and the conversation that the request belongs to.

Pure. It reads messages in OpenAI's form, for both dialects.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from service.dialects.client_markup import is_housekeeping, user_text
from service.domain.basics import Json
from service.domain.query import Options, Turn

MAX_KEY_CHARS = 256  # longest name of a conversation; a longer one is ignored
WINDOW_CHARS = 500  # of the user's earlier questions, as context of the newest
CLAUDE_CODE_SESSION = "X-Claude-Code-Session-Id"
CLAUDE_CODE_AGENT = "X-Claude-Code-Agent-Id"  # each sub-agent has its own conversation
CLIENT_HEADERS = (CLAUDE_CODE_SESSION, CLAUDE_CODE_AGENT)
INSTRUCTIONS = frozenset({"system", "developer"})


def text_of(message: Json) -> str:
    """The text of a message, whether it is one string or parts."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(p["text"] for p in parts if p.get("type") == "text" and isinstance(p.get("text"), str))


def question_text(messages: Sequence[Json]) -> str:
    """The user's newest question, followed by the questions shortly before it.

    If no message has a user's own words, it is the text of the last message that has any.
    """
    questions = _questions(messages)
    if not questions:
        texts = [text for m in messages if (text := text_of(m)).strip()]
        return texts[-1] if texts else ""
    return "\n".join([questions[-1], *_window(questions[:-1])])


def _questions(messages: Sequence[Json]) -> list[str]:
    """The user's own words of every message that has any."""
    return [text for m in messages if m["role"] == "user" and (text := user_text(text_of(m)))]


def _window(earlier: Sequence[str]) -> list[str]:
    """The newest of the earlier questions, newest first, as many as fit into WINDOW_CHARS."""
    window, left = [], WINDOW_CHARS
    for question in reversed(earlier):
        left -= len(question)
        if left < 0:
            break
        window.append(question)
    return window


def session_id_of(option: str | None, headers: Mapping[str, str]) -> str | None:
    """The client's name of the conversation: the router's option, otherwise Claude Code's header."""
    return option if option is not None else _bounded(headers.get(CLAUDE_CODE_SESSION.lower()))


def is_client_housekeeping(body: Json) -> bool:
    """Whether the client sends the request for itself; see `client_markup`."""
    messages: Sequence[Json] = body["messages"]
    if body.get("tools"):
        return False
    instructions = [text_of(m) for m in messages if m["role"] in INSTRUCTIONS]
    max_tokens = body.get("max_completion_tokens") or body.get("max_tokens")
    return is_housekeeping([*instructions, text_of(messages[-1])], max_tokens)


def with_housekeeping(options: Options, body: Json) -> Options:
    """The options; a request that a client sends for itself is not learned from."""
    return replace(options, learn=False) if is_client_housekeeping(body) else options


def turn_of(tenant: str, body: Json, options: Options, headers: Mapping[str, str]) -> Turn:
    """The place of a request in its conversation.

    A session id names the conversation, which then has affinity from its first request. A key that several
    conversations can share (`metadata.user_id`, `prompt_cache_key`) is combined with the conversation's
    first message. Such a conversation has affinity from its second turn, because no cache is lost before.
    """
    messages: Sequence[Json] = body["messages"]
    if is_client_housekeeping(body):
        return Turn(is_housekeeping=True)
    questions = _questions(messages)
    in_tool_loop, n_asked = _is_in_tool_loop(messages), len(questions[-1]) if questions else 0
    if options.session_id is not None:
        agent = _bounded(headers.get(CLAUDE_CODE_AGENT.lower())) or ""
        return Turn(_digest(tenant, "named", options.session_id, agent), True, in_tool_loop, n_asked)
    if not questions:
        return Turn()
    key = _digest(tenant, "opened", _hint(body), _instructions(messages), questions[0])
    continues = any(m["role"] == "assistant" for m in messages)
    return Turn(key, continues, in_tool_loop, n_asked)


def _is_in_tool_loop(messages: Sequence[Json]) -> bool:
    """Whether a tool result is unanswered, or the last message is an answer to continue.

    A user's message after a tool result does not end the loop: an agent may have written it.
    """
    for message in reversed(messages):
        if message["role"] in {"tool", "function"}:
            return True
        if message["role"] == "assistant":
            return message is messages[-1]
    return False


def _instructions(messages: Sequence[Json]) -> str:
    """The text of the first system or developer message."""
    return next((user_text(text_of(m)) for m in messages if m["role"] in INSTRUCTIONS), "")


def _hint(body: Json) -> str:
    metadata = body.get("metadata")
    user_id = metadata.get("user_id") if isinstance(metadata, dict) else None
    return _bounded(user_id) or _bounded(body.get("prompt_cache_key")) or ""


def _bounded(value: object) -> str | None:
    """The value, if it is a valid name of a conversation."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_KEY_CHARS else None


def _digest(*parts: str) -> bytes:
    """One digest of all parts; different lists of parts have different digests."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.digest()
