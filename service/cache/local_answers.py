"""The most recently used answers of this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from service.domain.cached_answer import CachedAnswer, KeptQuestion


class LocalAnswers:
    """Answers by their keys, at most `max_size`; the least recently used one is removed first."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._answers: OrderedDict[bytes, CachedAnswer] = OrderedDict()
        self._scopes: dict[bytes, OrderedDict[bytes, CachedAnswer]] = {}  # of those with a question

    def find(self, key: bytes, now: datetime) -> CachedAnswer | None:
        """The answer under the key, until it expires."""
        answer = self._answers.get(key)
        if answer is None:
            return None
        if answer.expires_at <= now:
            self._remove(answer)
            return None
        self._answers.move_to_end(key)
        return answer

    def near(self, scope: bytes, now: datetime, limit: int) -> Sequence[KeptQuestion]:
        """The newest questions of the scope, the newest first."""
        answers = islice(reversed(self._scopes.get(scope, {}).values()), limit)
        return [KeptQuestion(a.key, a.question) for a in answers if a.question and a.expires_at > now]

    def keep(self, answer: CachedAnswer) -> None:
        if (older := self._answers.get(answer.key)) is not None:
            self._remove(older)
        self._answers[answer.key] = answer
        if answer.question is not None:
            self._scopes.setdefault(answer.question.scope, OrderedDict())[answer.key] = answer
        if len(self._answers) > self._max_size:
            self._remove(next(iter(self._answers.values())))

    def count(self, tenant: str) -> int:
        """The number of the tenant's answers."""
        return sum(answer.tenant == tenant for answer in self._answers.values())

    def clear(self, tenant: str | None = None) -> int:
        """Remove all answers of the tenant, or of every tenant; returns how many there were."""
        removed = [answer for answer in self._answers.values() if tenant in (None, answer.tenant)]
        for answer in removed:
            self._remove(answer)
        return len(removed)

    def _remove(self, answer: CachedAnswer) -> None:
        del self._answers[answer.key]
        if answer.question is not None:
            others = self._scopes[answer.question.scope]
            del others[answer.key]
            if not others:
                del self._scopes[answer.question.scope]
