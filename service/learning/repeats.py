"""Recent questions of this process, to detect that a client repeats one."""

from __future__ import annotations

import re
from array import array
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zlib import crc32

from service.domain.basics import Vector
from service.domain.query import Query

MAX_QUESTIONS = 10_000
MAX_BYTES = 16_000_000  # of all of them
SAME_COSINE = 0.95
SAME_WORDS = 0.8  # of all words of two questions; contexts alone are similar within a conversation
MIN_CHARS = 20  # of a question; short ones such as "continue" are often repeated on purpose
MAX_CHARS = 1_000  # of a question, whose words are compared

Key = tuple[str, str | bytes]  # tenant, and session id or body digest
_OWN_BYTES = 600  # of a question without its words and context, with its key


@dataclass(slots=True)
class AnsweredQuestion:
    """A question that was answered."""

    decision_id: UUID
    arm_id: str  # the arm that answered
    context: Vector | None  # None: it was not embedded before the answer
    answered_at: datetime
    words: array[int] = field(default_factory=lambda: array("I"))  # checksums, each once
    is_repeat: bool = False  # the same body was answered shortly before

    @property
    def n_bytes(self) -> int:
        """About what it takes in memory."""
        context = 0 if self.context is None else self.context.nbytes
        return _OWN_BYTES + self.words.itemsize * len(self.words) + context


@dataclass(slots=True)
class RecentQuestions:
    """The newest answered question of each session id, and of each body; the oldest of too many are dropped.

    Args:
        window_s: how long after its answer a question can count as repeated, seconds.
    """

    window_s: float
    n_bytes: int = field(default=0, init=False)
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
                self._put((query.tenant, name), question)
        while len(self._questions) > MAX_QUESTIONS or self.n_bytes > MAX_BYTES:
            _, oldest = self._questions.popitem(last=False)
            self.n_bytes -= oldest.n_bytes

    def _put(self, key: Key, question: AnsweredQuestion) -> None:
        if (earlier := self._questions.pop(key, None)) is not None:
            self.n_bytes -= earlier.n_bytes
        self._questions[key] = question
        self.n_bytes += question.n_bytes

    def clear(self) -> None:
        self._questions.clear()

    def _is_soon_after(self, question: AnsweredQuestion, now: datetime) -> bool:
        # A client that asks several times at once wants several answers, hence 0 <=.
        return 0 <= (now - question.answered_at).total_seconds() <= self.window_s


def words_of(query: Query) -> array[int]:
    """Checksums of the words of the new question, each once: the words would take thirty times as much."""
    asked = query.text[: min(query.turn.n_asked_chars, MAX_CHARS)].casefold()
    return array("I", {crc32(word.encode("utf-8", "surrogatepass")) for word in re.findall(r"\w+", asked)})


def _are_the_same(before: array[int], now: array[int]) -> bool:
    n_common = len(set(before).intersection(now))
    return n_common >= SAME_WORDS * (len(before) + len(now) - n_common)


def _is_question(query: Query) -> bool:
    """Whether the last message is a new question of the user, not a step of a tool loop.

    Agents add text of their own in the user's name after a tool's result.
    """
    *_, before, last = [None, *(message.get("role") for message in query.body["messages"])]
    return last == "user" and before != "tool" and query.turn.n_asked_chars >= MIN_CHARS
