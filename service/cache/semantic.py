"""Which questions may get the answer of another question, and which other question is near enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.cache.request_content import scope_of
from service.cache.same_question import may_share_answer
from service.domain.basics import Json, Vector
from service.domain.cached_answer import KeptQuestion, Question
from service.domain.query import Query

# A request with any other field than these is none whose answer another question may get. All of them but the
# user's text must be equal.
_FIELDS = frozenset(
    {
        "model", "messages", "system", "stream", "stream_options", "n",
        "temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "stop", "stop_sequences",
        "seed", "presence_penalty", "frequency_penalty", "reasoning_effort", "verbosity", "response_format",
        "user", "metadata", "client_metadata", "store", "safety_identifier", "service_tier",
        "prompt_cache_key", "prompt_cache_retention", "conversation_id", "session_id", "router",
    }
)  # fmt: skip
_INSTRUCTIONS = frozenset({"system", "developer"})
MAX_CHARS = 500  # of a question; longer ones differ in more than their wording


@dataclass(frozen=True, slots=True)
class Semantic:
    """The operator's rules.

    Args:
        threshold: least cosine of two questions with the same answer.
        max_temperature: highest temperature of a request that wants one answer and not a new one.
    """

    threshold: float
    max_temperature: float


def question_text(query: Query, rules: Semantic) -> str | None:
    """The one question of a request that asks for a text and nothing else; None: it asks for more."""
    body = query.body if query.native is None else query.native.body
    if not _FIELDS.issuperset(name for name, value in body.items() if value is not None):
        return None
    if query.turn.side_call is not None or query.turn.in_tool_loop or (query.native and query.native.needs):
        return None
    if (body.get("temperature") or 0) > rules.max_temperature or body.get("n") not in (None, 1):
        return None
    *before, last = query.body["messages"]
    if last["role"] != "user" or any(message["role"] not in _INSTRUCTIONS for message in before):
        return None
    text = _only_text(last)
    return text if text is not None and 0 < len(text) <= MAX_CHARS else None


def _only_text(message: Json) -> str | None:
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and set(content[0]) == {"type", "text"}:
        content = content[0]["text"]
    return content.strip() if isinstance(content, str) and message.keys() <= {"role", "content"} else None


def question_of(query: Query, text: str, context: Vector, encoder: str) -> Question:
    """The question with all that another must share."""
    return Question(scope_of(query), text, context, encoder)


def nearest(
    question: Question, others: Sequence[KeptQuestion], rules: Semantic
) -> tuple[KeptQuestion, float] | None:
    """The most similar question that means the same, with the cosine; None: there is none."""
    comparable = [other for other in others if other.question.encoder == question.encoder]
    if not comparable:
        return None
    cosines = np.stack([other.question.context for other in comparable]) @ question.context
    for i in np.argsort(-cosines, kind="stable"):
        if cosines[i] < rules.threshold:
            return None
        if may_share_answer(comparable[i].question.text, question.text):
            return comparable[i], float(min(1.0, cosines[i]))
    return None
