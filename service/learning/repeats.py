"""What was asked a moment ago, so that asking it again is noticed; in this process only."""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from service.domain.basics import Vector
from service.domain.query import Query

MAX_QUESTIONS = 10_000
SAME_COSINE = 0.95
SAME_WORDS = 0.8  # of all words of two questions; the contexts share what was asked before
MIN_CHARS = 20  # of a question; "continue" may well be said twice
MAX_CHARS = 1_000  # of a question, whose words are kept

Key = tuple[str, str | bytes]  # tenant, and session or digest


@dataclass(frozen=True, slots=True)
class AnsweredQuestion:
    """A question that was answered."""

    decision_id: UUID
    arm_id: str  # the arm that answered
    context: Vector
    answered_at: datetime
    words: frozenset[str] = frozenset()
    is_repeat: bool = False  # the same body was answered shortly before


@dataclass(frozen=True, slots=True)
class RecentQuestions:
    """The newest answered question of every session, and of every body.

    Args:
        window_s: how long after the answer a question counts as asked again, seconds.
    """

    window_s: float
    _questions: OrderedDict[Key, AnsweredQuestion] = field(default_factory=OrderedDict)

    def again(self, query: Query, context: Vector, now: datetime) -> AnsweredQuestion | None:
        """The answered question that this one repeats, if any."""
        session_id = query.options.session_id
        same = self._questions.get((query.tenant, query.body_digest))
        if same is not None and self._is_soon_after(same, now):
            # A third time, by nobody in particular: a probe, or what many ask, not somebody discontented.
            return None if session_id is None and same.is_repeat else same
        before = None if session_id is None else self._questions.get((query.tenant, session_id))
        if before is None or not self._is_soon_after(before, now) or not _is_question(query):
            return None
        is_near = float(before.context @ context) >= SAME_COSINE
        return before if is_near and _are_the_same(before.words, words_of(query)) else None

    def remember(self, query: Query, question: AnsweredQuestion) -> None:
        same = self._questions.get((query.tenant, query.body_digest))
        if same is not None and self._is_soon_after(same, question.answered_at):
            question = replace(question, is_repeat=True)
        for name in (query.body_digest, query.options.session_id):
            if name is not None:
                self._questions[query.tenant, name] = question
                self._questions.move_to_end((query.tenant, name))
        while len(self._questions) > MAX_QUESTIONS:
            self._questions.popitem(last=False)

    def _is_soon_after(self, question: AnsweredQuestion, now: datetime) -> bool:
        # Who asks several times at once wants several answers.
        return 0 <= (now - question.answered_at).total_seconds() <= self.window_s


def words_of(query: Query) -> frozenset[str]:
    """The words of what is asked now."""
    return frozenset(re.findall(r"\w+", query.text[: min(query.turn.n_asked_chars, MAX_CHARS)].casefold()))


def _are_the_same(before: frozenset[str], now: frozenset[str]) -> bool:
    return len(before & now) >= SAME_WORDS * len(before | now)


def _is_question(query: Query) -> bool:
    """Whether the user has just said it: while a tool is used, step by step, the question stays the same.

    Agents add words of their own after a tool's result, in the user's name.
    """
    *_, before, last = [None, *(message.get("role") for message in query.body["messages"])]
    return last == "user" and before != "tool" and query.turn.n_asked_chars >= MIN_CHARS
