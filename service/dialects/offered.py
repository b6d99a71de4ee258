"""The dialects that the router speaks."""

from __future__ import annotations

from collections.abc import Mapping

from service.dialects.chat.dialect import CHAT
from service.dialects.completions.dialect import COMPLETIONS
from service.dialects.dialect import Dialect
from service.dialects.gemini.dialect import GEMINI
from service.dialects.messages.dialect import MESSAGES
from service.dialects.responses.dialect import RESPONSES

DIALECTS: tuple[Dialect, ...] = (CHAT, MESSAGES, RESPONSES, COMPLETIONS, GEMINI)


def dialect_of(path: str, headers: Mapping[str, str]) -> Dialect:
    """The dialect of a request; errors on paths that no dialect owns are OpenAI's."""
    return next((dialect for dialect in DIALECTS if dialect.owns(path, headers)), CHAT)
