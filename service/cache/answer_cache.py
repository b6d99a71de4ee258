"""Finds the answer to an earlier request like this one: in this process, or shared between replicas."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from embeddings.encoder import EncoderError, TextEncoder
from service.cache.local_answers import LocalAnswers
from service.cache.request_content import key_of
from service.cache.semantic import Semantic, nearest, question_of, question_text
from service.domain.basics import Json
from service.domain.cached_answer import CachedAnswer, CacheMatch, KeptQuestion, Question
from service.domain.conversation import ConversationState
from service.domain.ports import AnswerStore, Clock
from service.domain.query import Query
from service.errors import StoreUnavailable

log = structlog.get_logger(__name__)

COMPARED = 200  # newest answers of a scope that a question is compared with
SHARED_TIMEOUT_S = 0.5
PRUNE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Hit:
    """An answer that is given again, and what it was the answer to."""

    answer: CachedAnswer
    match: CacheMatch


@dataclass(slots=True)
class Uses:
    """How often requests of one tenant got an answer from this process's cache."""

    hits: int = 0
    semantic_hits: int = 0
    misses: int = 0


@dataclass
class AnswerCache:
    """Answers to earlier requests; each tenant gets its own answers only.

    Only answers that ended by themselves are kept: a truncated or filtered one may be better the next time.
    A shared cache is PostgreSQL's; this process keeps its own answers for the time that PostgreSQL is away.

    Args:
        ttl_s: how long an answer may be used, seconds.
        store: shared between replicas; None: this process only.
        semantic: None: only the same request gets an answer.
    """

    max_size: int
    ttl_s: float
    clock: Clock
    encoder: TextEncoder
    embedding_timeout_s: float
    store: AnswerStore | None = None
    semantic: Semantic | None = None

    def __post_init__(self) -> None:
        self._local = LocalAnswers(self.max_size)
        self._uses: defaultdict[str, Uses] = defaultdict(Uses)

    def uses(self, tenant: str) -> Uses:
        return self._uses.get(tenant, Uses())

    def size(self, tenant: str) -> int:
        """The number of the tenant's answers in this process."""
        return self._local.count(tenant)

    async def find(self, query: Query) -> Hit | None:
        """The answer to an earlier request with the same content, or to the same question in other words."""
        hit, uses = await self._exact(query) or await self._similar(query), self._uses[query.tenant]
        if hit is None:
            uses.misses += 1
            return None
        uses.hits += 1
        uses.semantic_hits += hit.match.match == "semantic"
        return hit

    async def answer_to_keep(
        self,
        query: Query,
        arm_id: str,
        body: Json,
        conversation: ConversationState | None,
    ) -> CachedAnswer | None:
        """An answer as it is kept; None: it did not end by itself.

        Args:
            body: an OpenAI `chat.completion`.
        """
        if any(choice.get("finish_reason") not in {"stop", "tool_calls"} for choice in body["choices"]):
            return None
        return CachedAnswer(
            tenant=query.tenant,
            key=key_of(query),
            request_id=query.request_id,
            arm_id=arm_id,
            body=body,
            expires_at=self.clock() + timedelta(seconds=self.ttl_s),
            conversation=conversation,
            question=await self._question(query),
        )

    def keep(self, answer: CachedAnswer) -> None:
        """Keep an answer in this process."""
        self._local.keep(answer)

    async def share(self, answer: CachedAnswer) -> None:
        """Keep an answer for all replicas; it is lost if PostgreSQL is away."""
        if self.store is None:
            return
        try:
            await self.store.keep(answer)
        except StoreUnavailable as error:
            log.debug("answer_not_shared", error=str(error))

    async def clear(self, tenant: str) -> int:
        """Remove all answers of the tenant; returns how many there were.

        Raises:
            StoreUnavailable: the shared ones cannot be removed.
        """
        if self.store is None:
            return self._local.clear(tenant)
        n_shared = await self.store.clear(tenant)
        return max(n_shared, self._local.clear(tenant))

    def clear_local(self) -> None:
        """Remove the answers that this process keeps."""
        self._local.clear()

    async def n_shared(self, tenant: str) -> int | None:
        """The number of the tenant's shared answers; None: nobody knows it."""
        if self.store is None:
            return None
        try:
            async with asyncio.timeout(SHARED_TIMEOUT_S):
                return await self.store.count(tenant)
        except (StoreUnavailable, TimeoutError):
            return None

    async def prune_forever(self) -> None:
        """Delete shared answers that are expired or too many, every minute, until cancelled."""
        while self.store is not None:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.store.prune(self.clock(), self.max_size)
            except StoreUnavailable as error:
                log.debug("answers_not_pruned", error=str(error))
            except Exception:
                log.exception("answers_not_pruned")

    async def _exact(self, query: Query) -> Hit | None:
        answer = await self._under(query.tenant, key_of(query))
        return None if answer is None else Hit(answer, CacheMatch("exact", answer.request_id, 1.0))

    async def _under(self, tenant: str, key: bytes) -> CachedAnswer | None:
        """The answer under the key; this process's own one if the shared ones cannot be read."""
        now = self.clock()
        if self.store is not None:
            try:
                async with asyncio.timeout(SHARED_TIMEOUT_S):
                    return await self.store.find(tenant, key, now)
            except (StoreUnavailable, TimeoutError) as error:
                log.debug("shared_answers_not_read", error=str(error))
        return self._local.find(key, now)

    async def _similar(self, query: Query) -> Hit | None:
        question = await self._question(query)
        if self.semantic is None or question is None:
            return None
        found = nearest(question, await self._near(query.tenant, question.scope), self.semantic)
        if found is None:
            return None
        other, similarity = found
        answer = await self._under(query.tenant, other.key)
        return None if answer is None else Hit(answer, CacheMatch("semantic", answer.request_id, similarity))

    async def _near(self, tenant: str, scope: bytes) -> Sequence[KeptQuestion]:
        now = self.clock()
        if self.store is not None:
            try:
                async with asyncio.timeout(SHARED_TIMEOUT_S):
                    return await self.store.near(tenant, scope, now, COMPARED)
            except (StoreUnavailable, TimeoutError) as error:
                log.debug("shared_answers_not_read", error=str(error))
        return self._local.near(scope, now, COMPARED)

    async def _question(self, query: Query) -> Question | None:
        """The question whose answer others may get; None: there is none, or it cannot be encoded now."""
        if self.semantic is None or (text := question_text(query, self.semantic)) is None:
            return None
        try:
            async with asyncio.timeout(self.embedding_timeout_s):
                context = await self.encoder.encode(query.text)
        except (EncoderError, TimeoutError):
            return None
        return question_of(query, text, context, self.encoder.name)
