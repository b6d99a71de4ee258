"""Answers that are kept, and what a question must have to get the answer of another."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from service.domain.basics import Json, Vector
from service.domain.conversation import ConversationState


@dataclass(frozen=True, slots=True)
class Question:
    """A question that asks for a text and nothing else.

    Args:
        scope: digest of everything in the request but the question: tenant, instructions, limits, models.
        context: the unit vector of its text.
        encoder: names the vector space.
    """

    scope: bytes
    text: str
    context: Vector
    encoder: str


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """A whole answer, and the request that got it.

    Args:
        key: digest of the request's content, within its tenant.
        body: an OpenAI `chat.completion`.
        conversation: its state after the answer, if the conversation has no session id.
        question: None: only the same request may get the answer.
    """

    tenant: str
    key: bytes
    request_id: str
    arm_id: str
    body: Json
    expires_at: datetime
    conversation: ConversationState | None = None
    question: Question | None = None


@dataclass(frozen=True, slots=True)
class KeptQuestion:
    """A question whose answer is kept under the key."""

    key: bytes
    question: Question


@dataclass(frozen=True, slots=True)
class CacheMatch:
    """Whose answer a request got, as it is logged.

    Args:
        similarity: cosine of the two questions; 1 for the same request.
    """

    match: Literal["exact", "semantic"]
    request_id: str
    similarity: float
