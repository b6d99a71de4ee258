"""Shared answers for tests, in a FakeStore that several replicas can have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.domain.cached_answer import CachedAnswer, KeptQuestion
from tests.fakes_store import FakeStore


@dataclass(frozen=True, slots=True)
class FakeAnswerStore:
    """An AnswerStore in memory."""

    store: FakeStore

    async def find(self, tenant: str, key: bytes, now: datetime) -> CachedAnswer | None:
        self.store.check()
        answer = self.store.answers.get((tenant, key))
        return answer if answer is not None and answer.expires_at > now else None

    async def near(self, tenant: str, scope: bytes, now: datetime, limit: int) -> Sequence[KeptQuestion]:
        self.store.check()
        own = [a for a in self.store.answers.values() if a.tenant == tenant and a.expires_at > now]
        found = [KeptQuestion(a.key, a.question) for a in own if a.question and a.question.scope == scope]
        return found[::-1][:limit]

    async def keep(self, answer: CachedAnswer) -> None:
        self.store.check()
        self.store.answers[answer.tenant, answer.key] = answer

    async def prune(self, now: datetime, max_size: int) -> int:
        self.store.check()
        newest_first = sorted(self.store.answers.values(), key=lambda a: a.expires_at, reverse=True)
        kept = newest_first[:max_size]
        n = len(self.store.answers)
        self.store.answers = {(a.tenant, a.key): a for a in kept if a.expires_at > now}
        return n - len(self.store.answers)

    async def clear(self, tenant: str) -> int:
        n = await self.count(tenant)
        self.store.answers = {key: answer for key, answer in self.store.answers.items() if key[0] != tenant}
        return n

    async def count(self, tenant: str) -> int:
        self.store.check()
        return sum(key[0] == tenant for key in self.store.answers)
