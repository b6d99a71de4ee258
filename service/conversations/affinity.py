"""Which arm a conversation is on, and what leaving it costs."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal

import structlog

from service.conversations.portability import vendor_of
from service.domain.arm import Arm
from service.domain.conversation import ConversationState, ConversationStep
from service.domain.ports import Clock, ConversationStates
from service.domain.query import Query
from service.errors import StoreUnavailable

log = structlog.get_logger(__name__)

PRUNE_EVERY_S = 60.0
BYTES_PER_TOKEN = 4


@dataclass(slots=True)
class ConversationAffinity:
    """Finds the pins of conversations; decisions that are logged move them.

    PostgreSQL is asked each time, while the query is embedded: another replica may have moved the pin. What
    this replica decided stands in where PostgreSQL is away, and where a decision waits to be written there.

    Args:
        ttl_s: how long after its last request a conversation is held, seconds; 0: never.
        margin: utility that must be gained, beyond the price of the lost prompt cache, to leave the arm.
        timeout_s: longest wait for PostgreSQL.
        max_size: pins this replica keeps, those used last.
    """

    conversation_states: ConversationStates
    clock: Clock
    ttl_s: float
    switch_margin: float
    timeout_s: float = 0.5
    max_size: int = 10_000
    _own: OrderedDict[tuple[str, bytes], ConversationState] = field(default_factory=OrderedDict)

    def has_affinity(self, query: Query) -> bool:
        """Whether the query's conversation is one to be held."""
        return self.ttl_s > 0 and query.turn.key is not None

    def is_continued(self, query: Query) -> bool:
        """Whether the query's conversation is one to be held that has begun before."""
        return self.has_affinity(query) and query.turn.continues

    async def find(self, query: Query) -> tuple[ConversationState | None, tuple[str, ...]]:
        """The pin of the query's conversation, and which dependencies were missing."""
        key = query.turn.key
        if key is None or not self.is_continued(query):
            return None, ()
        since = self.clock() - timedelta(seconds=self.ttl_s)
        own = self._own.get((query.tenant, key))
        if own is not None and own.updated_at < since:
            own = None
        try:
            async with asyncio.timeout(self.timeout_s):
                logged = await self.conversation_states.find(query.tenant, key, since)
        except (StoreUnavailable, TimeoutError):
            return own, ("store",)
        return max((p for p in (logged, own) if p is not None), key=lambda p: p.updated_at, default=None), ()

    def put(self, query: Query, conversation: ConversationState | None) -> None:
        """Take note of where this replica left a conversation."""
        if conversation is None or query.turn.key is None:
            return
        self._own[query.tenant, query.turn.key] = conversation
        self._own.move_to_end((query.tenant, query.turn.key))
        if len(self._own) > self.max_size:
            self._own.popitem(last=False)

    async def prune_forever(self) -> None:
        """Forget conversations that are no longer held, every minute, until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.conversation_states.prune(self.clock() - timedelta(seconds=self.ttl_s))
            except StoreUnavailable as error:
                log.debug("conversations_not_pruned", error=str(error))
            except Exception:
                log.exception("conversations_not_pruned")


def step_of(query: Query, arm: Arm, conversation: ConversationState | None) -> ConversationStep:
    """Where a query leaves its conversation when this arm answers."""
    vendor, n_messages = vendor_of(arm), query.n_messages
    if conversation is None:
        return ConversationStep(turn=1, vendor=vendor, n_messages_of_other_vendors=0, holdout=None)
    n_before = conversation.n_messages_of_other_vendors
    if n_before > n_messages:  # the client rewrote the history
        n_before = 0
    return ConversationStep(
        turn=conversation.turns + 1,
        vendor=vendor,
        n_messages_of_other_vendors=n_before if vendor == conversation.vendor else n_messages,
        holdout=conversation.holdout,
        previous_arm_id=conversation.arm_id,
    )


def cache_loss_usd(query: Query, arm: Arm) -> float:
    """Dollars that the arm's provider spares for what it remembers of the conversation.

    It remembers what was sent before: the prompt without what is asked now.
    """
    if arm.price.cached_input is None:
        return 0.0
    n_before = max(
        0, query.n_prompt_tokens - len(query.text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN
    )
    return float(n_before * max(Decimal(0), arm.price.input - arm.price.cached_input) / 1_000_000)
