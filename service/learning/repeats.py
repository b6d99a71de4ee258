"""Recent questions of this process, to detect that a client repeats one."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from service.domain.basics import Vector
from service.domain.query import Query

MAX_QUESTIONS = 10_000
SAME_COSINE = 0.95
SAME_WORDS = 0.8  # of all words of two questions; contexts alone are similar within a conversation
MIN_CHARS = 20  # of a question; short ones such as "continue" are often repeated on purpose
MAX_CHARS = 1_000  # of a question, whose words are compared

Key = tuple[str, str | bytes]  # tenant, and session id or body digest


@dataclass(slots=True)
class AnsweredQuestion:
    """A question that was answered."""

    decision_id: UUID
    arm_id: str  # the arm that answered
    context: Vector | None  # None: it was not embedded before the answer
    answered_at: datetime
    words: frozenset[str] = frozenset()
    is_repeat: bool = False  # the same body was answered shortly before


@dataclass(frozen=True, slots=True)
class RecentQuestions:
    """The newest answered question of each session id, and of each body.

    Args:
        window_s: how long after its answer a question can count as repeated, seconds.
    """

    window_s: float
    _questions: OrderedDict[Key, AnsweredQuestion] = field(default_factory=OrderedDict)

    def repeated(self, query: Query, context: Vector | None, now: datetime) -> AnsweredQuestion | None:
        """The answered question that this one repeats, if any."""
        session_id = query.options.session_id
        same = self._questions.get((query.tenant, query.body_digest))
        if same is not None and self._is_soon_after(same, now):
            # The third time without a session id: a probe or a common question, not a dissatisfied user.
            return None if session_id is None and same.is_repeat else same
        before = None if session_id is None else self._questions.get((query.tenant, session_id))
        if before is None or before.context is None or context is None:
            return None
        if not self._is_soon_after(before, now) or not _is_question(query):
            return None
        is_near = float(before.context @ context) >= SAME_COSINE
        return before if is_near and _are_the_same(before.words, words_of(query)) else None

    def remember(self, query: Query, question: AnsweredQuestion) -> None:
        """Store the question as the newest of its session id and of its body."""
        same = self._questions.get((query.tenant, query.body_digest))
        if same is not None and self._is_soon_after(same, question.answered_at):
            question.is_repeat = True
        for name in (query.body_digest, query.options.session_id):
            if name is not None:
                key = (query.tenant, name)
                self._questions[key] = question
                self._questions.move_to_end(key)
        while len(self._questions) > MAX_QUESTIONS:
            self._questions.popitem(last=False)

    def clear(self) -> None:
        self._questions.clear()

    def _is_soon_after(self, question: AnsweredQuestion, now: datetime) -> bool:
        # A client that asks several times at once wants several answers, hence 0 <=.
        return 0 <= (now - question.answered_at).total_seconds() <= self.window_s


def words_of(query: Query) -> frozenset[str]:
    """The words of the new question."""
    return frozenset(re.findall(r"\w+", query.text[: min(query.turn.n_asked_chars, MAX_CHARS)].casefold()))


def _are_the_same(before: frozenset[str], now: frozenset[str]) -> bool:
    return len(before & now) >= SAME_WORDS * len(before | now)


def _is_question(query: Query) -> bool:
    """Whether the last message is a new question of the user, not a step of a tool loop.

    Agents add text of their own in the user's name after a tool's result.
    """
    *_, before, last = [None, *(message.get("role") for message in query.body["messages"])]
    return last == "user" and before != "tool" and query.turn.n_asked_chars >= MIN_CHARS
