"""The names that clients give to conversations, in headers and in bodies.

Pure. Names are kept apart by tenant; they prove nothing about the client.
"""

from __future__ import annotations

from collections.abc import Mapping

from service.domain.basics import Json

MAX_KEY_CHARS = 256  # longest name of a conversation; a longer one is ignored
CLAUDE_CODE_SESSION = "X-Claude-Code-Session-Id"
CLAUDE_CODE_AGENT = "X-Claude-Code-Agent-Id"
THREAD = "thread-id"

# Each names one conversation, the first first.
SESSION_HEADERS = (
    CLAUDE_CODE_SESSION,
    "X-Session-Id",  # opencode
    "session-id",  # Codex
    "X-Conversation-Id",
    "conversation-id",
    "conversation_id",
    "X-Thread-Id",
    THREAD,
)
PART_HEADERS = (CLAUDE_CODE_AGENT, THREAD)  # each sub-agent of a session has its own conversation
CONVERSATION_FIELD = "conversation_id"  # of the body or its metadata
_SESSION_HEADERS, _PART_HEADERS = (tuple(map(str.lower, names)) for names in (SESSION_HEADERS, PART_HEADERS))
SHARED_FIELDS = ("metadata", "prompt_cache_key")  # may name all conversations of a user or an application


def session_id_of(option: str | None, headers: Mapping[str, str], body: Json) -> str | None:
    """The client's name of the conversation: the router's option, a header, a field of the body."""
    if option is not None:
        return option
    for header in _SESSION_HEADERS:
        if header in headers and (name := _bounded(headers[header])) is not None:
            return name
    return _bounded(body.get(CONVERSATION_FIELD)) or _bounded(_metadata(body).get(CONVERSATION_FIELD))


def part_of_session(session_id: str, headers: Mapping[str, str]) -> str:
    """The name of the sub-agent or thread within the session; empty: there is none."""
    names = (_bounded(headers[name]) for name in _PART_HEADERS if name in headers)
    return next((name for name in names if name is not None and name != session_id), "")


def shared_key(body: Json) -> str:
    """A name that several conversations can have; empty: there is none."""
    return _bounded(_metadata(body).get("user_id")) or _bounded(body.get("prompt_cache_key")) or ""


def _metadata(body: Json) -> Json:
    metadata = body.get("metadata")
    return metadata if isinstance(metadata, dict) else {}


def _bounded(value: object) -> str | None:
    """The value, if it is a valid name of a conversation."""
    return value if isinstance(value, str) and 0 < len(value) <= MAX_KEY_CHARS else None
