"""Recent answers of this process, and whether the user's next turn says that one did not work."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from importlib.resources import files
from itertools import product
from uuid import UUID

import yaml

from service.domain.answer import Outcome
from service.domain.query import Query
from service.domain.value import value

MAX_ANSWERS = 10_000
MAX_CHARS = 240  # of a turn; a longer one describes something new
WINDOW_S = 3_600.0  # from an answer to the turn after it: users try an answer first

_CLAUSE = re.compile(r"([^.!?,;:…。！？，；：、–—]+)([.!?？]?)")  # noqa: RUF001  # other languages' punctuation
_SLOT = re.compile(r"\{([^{}]*)\}")


@value
class AnsweredTurn:
    """A turn of a conversation that was answered."""

    decision_id: UUID
    arm_id: str  # the arm that answered
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class RecentAnswers:
    """The newest answer of each conversation, by the names that its next turn has for it."""

    _answers: OrderedDict[tuple[str, bytes], AnsweredTurn] = field(default_factory=OrderedDict)

    def criticised(self, query: Query, now: datetime) -> AnsweredTurn | None:
        """The answer of which this turn says that it did not work; None: it says no such thing."""
        known = [self._answers.get((query.tenant, key)) for key in query.turn.keys]
        answer = next((answer for answer in known if answer is not None), None)
        if answer is None or not 0 <= (now - answer.answered_at).total_seconds() <= WINDOW_S:
            return None
        if not _is_users_turn(query) or not is_complaint(query.text[: query.turn.n_asked_chars]):
            return None
        return answer

    def remember(self, query: Query, outcome: Outcome) -> None:
        """Store the answer as the newest of its conversation."""
        if not query.turn.moves_conversation:
            return
        own = () if query.turn.key is None else (query.turn.key,)
        answer = AnsweredTurn(outcome.decision_id, outcome.arm_id, outcome.completed_at)
        for name in (*own, *outcome.answer_names):
            self._answers[query.tenant, name] = answer
            self._answers.move_to_end((query.tenant, name))
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    def clear(self) -> None:
        self._answers.clear()


def is_complaint(text: str) -> bool:
    """Whether a short text begins with a whole clause that says that an answer did not work.

    A question is no complaint, and neither is a clause that goes on.
    """
    if len(text) > MAX_CHARS:
        return False
    lines = " . ".join(text.casefold().replace("\u2019", "'").splitlines()).replace(" - ", " . ")
    for clause in _CLAUSE.finditer(lines):
        words = " ".join(clause[1].split())
        if words in _clauses("complaints"):
            return clause[2] not in {"?", "？"}  # noqa: RUF001
        if words and words not in _clauses("openings"):
            return False
    return False


def _is_users_turn(query: Query) -> bool:
    """Whether the last message is the user's own, after an answer: not a step of a tool loop."""
    *_, before, last = [None, *(message.get("role") for message in query.body["messages"])]
    # With a session id a client may send its newest message alone.
    return last == "user" and before != "tool" and query.turn.side_call is None


@cache
def _clauses(kind: str) -> frozenset[str]:
    text = files("service.learning").joinpath("complaints.yaml").read_text("utf-8")
    content = yaml.safe_load(text)[kind]
    by_language = [content] if isinstance(content, list) else content.values()
    return frozenset(
        clause for templates in by_language for template in templates for clause in _expanded(template)
    )


def _expanded(template: str) -> Iterator[str]:
    """Every clause that a template stands for."""
    parts: Sequence[Sequence[str]] = [
        part.split("|") if i % 2 else [part] for i, part in enumerate(_SLOT.split(template))
    ]
    for chosen in product(*parts):
        yield " ".join("".join(chosen).casefold().split())
