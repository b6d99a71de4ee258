"""Conversation affinity: the arm of each conversation, and the cost of leaving it."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
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
MAX_BRANCHES = 4  # questions that continue one answer; more share it as an example


@dataclass(slots=True)
class ConversationAffinity:
    """Finds the states of conversations; logged decisions change them.

    PostgreSQL is read each time, while the query is embedded: another replica may have changed the state.
    This replica's own states are used if PostgreSQL is unreachable, or if a decision waits in the spool.

    Args:
        ttl_s: how long after its last request a conversation has affinity, seconds; 0: never.
        switch_margin: gain in utility that a switch of arms needs, beyond the loss of the prompt cache.
        timeout_s: longest wait for PostgreSQL.
        max_size: states in this replica, the most recently used ones.
    """

    conversation_states: ConversationStates
    clock: Clock
    ttl_s: float
    switch_margin: float
    timeout_s: float = 2.0
    max_size: int = 10_000
    _local: OrderedDict[tuple[str, bytes], ConversationState] = field(default_factory=OrderedDict)
    _branches: OrderedDict[tuple[str, bytes], list[bytes]] = field(default_factory=OrderedDict)

    def has_affinity(self, query: Query) -> bool:
        """Whether the query's conversation stays on its arm."""
        return self.ttl_s > 0 and query.turn.is_in_conversation

    def is_continued(self, query: Query) -> bool:
        """Whether the query may continue a conversation that stays on its arm."""
        return self.ttl_s > 0 and bool(query.turn.keys) and not self._is_branch_too_many(query)

    async def find(self, query: Query) -> tuple[ConversationState | None, tuple[str, ...]]:
        """The state of the query's conversation, and which dependencies were missing."""
        if not self.is_continued(query):
            return None, ()
        keys, since = query.turn.keys, self.clock() - timedelta(seconds=self.ttl_s)
        local = {key: self._local.get((query.tenant, key)) for key in keys}
        known = {
            key: state for key, state in local.items() if state is not None and state.updated_at >= since
        }
        missing: tuple[str, ...] = ()
        try:
            async with asyncio.timeout(self.timeout_s):
                logged = await self.conversation_states.find(query.tenant, keys, since)
        except (StoreUnavailable, TimeoutError):
            logged, missing = {}, ("store",)
        for key, state in logged.items():
            if key not in known or state.updated_at >= known[key].updated_at:
                known[key] = state
        return next((known[key] for key in keys if key in known), None), missing

    def put(self, query: Query, conversation: ConversationState | None, names: Sequence[bytes] = ()) -> None:
        """Remember the state of a conversation in this replica.

        Args:
            names: its keys by its newest answer; none: its key is the session id's.
        """
        if conversation is None:
            return
        named = () if query.turn.key is None else (query.turn.key,)
        for key in names or named:
            self._local[query.tenant, key] = conversation
            self._local.move_to_end((query.tenant, key))
        while len(self._local) > self.max_size:
            self._local.popitem(last=False)

    def continued(self, query: Query) -> None:
        """Remember that the query continues the answer before it."""
        place = query.turn.place
        if place is None or not query.turn.answered:
            return
        branches = self._branches.setdefault((query.tenant, query.turn.answered[0]), [])
        if place.asked not in branches and len(branches) < MAX_BRANCHES:
            branches.append(place.asked)
        self._branches.move_to_end((query.tenant, query.turn.answered[0]))
        if len(self._branches) > self.max_size:
            self._branches.popitem(last=False)

    def _is_branch_too_many(self, query: Query) -> bool:
        """Whether so many other questions continue the same answer that it is rather an example of all."""
        place = query.turn.place
        if place is None or not query.turn.answered:
            return False
        branches = self._branches.get((query.tenant, query.turn.answered[0]), [])
        return len(branches) >= MAX_BRANCHES and place.asked not in branches

    async def prune_forever(self) -> None:
        """Delete conversations whose affinity has expired, every minute, until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.conversation_states.prune(self.clock() - timedelta(seconds=self.ttl_s))
            except StoreUnavailable as error:
                log.debug("conversations_not_pruned", error=str(error))
            except Exception:
                log.exception("conversations_not_pruned")


def step_of(
    query: Query, arm: Arm, conversation: ConversationState | None, *, is_drawn: bool = True
) -> ConversationStep:
    """The step of the conversation if this arm answers the query."""
    vendor, n_messages = vendor_of(arm), query.n_messages
    if conversation is None:
        return ConversationStep(1, vendor, n_messages_of_other_vendors=0, holdout=None, is_drawn=is_drawn)
    n_before = conversation.n_messages_of_other_vendors
    if n_before > n_messages:  # the client rewrote the history
        n_before = 0
    return ConversationStep(
        turn=conversation.turns + 1,
        vendor=vendor,
        n_messages_of_other_vendors=n_before if vendor == conversation.vendor else n_messages,
        holdout=conversation.holdout,
        previous_arm_id=conversation.arm_id,
        is_drawn=is_drawn,
    )


def cache_loss_usd(query: Query, arm: Arm) -> float:
    """Dollars that the prompt cache of the arm's provider saves in this conversation.

    The cache has what was sent before: the prompt without the new message.
    """
    if arm.price is None or arm.price.cached_input is None:
        return 0.0
    n_before = max(
        0, query.n_prompt_tokens - len(query.text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN
    )
    return float(n_before * max(Decimal(0), arm.price.input - arm.price.cached_input) / 1_000_000)
