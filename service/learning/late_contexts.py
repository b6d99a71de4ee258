"""The contexts of decisions that were made without one: made after the answer, when there is time for it.

A request whose arm is certain is not embedded before its call. If it is rated, the rating is to be a
neighbour of later requests all the same. So its text is kept in this process until it is rated here, or its
turn comes, and its context is then written to the log. If it was rated at another replica meanwhile, that
queues it for the memory. Texts beyond the limits are dropped, the oldest first: their ratings count as global
evidence only.
"""

from __future__ import annotations

import asyncio
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

import structlog

from embeddings.encoder import EncoderError, TextEncoder
from service.domain.basics import Vector
from service.domain.decision import Decision
from service.domain.ports import Evidence
from service.domain.value import value
from service.errors import StoreUnavailable

log = structlog.get_logger(__name__)

MAX_TEXTS = 10_000
MAX_BYTES = 32_000_000
EVERY_S = 1.0
EACH_TIME = 10  # texts: with an encoder that takes 2 ms, a fiftieth of a core


@value
class WaitingText:
    """The text of a decision that has no context yet."""

    decision_id: UUID
    tenant: str
    request_id: str
    text: str

    @property
    def n_bytes(self) -> int:
        return sys.getsizeof(self.text)


class LateContexts:
    """The texts that wait for their context, the oldest first.

    Args:
        are_spooled: whether decisions wait outside PostgreSQL, where no context can be written to them.
        timeout_s: longest wait for the encoder.
        on_dropped: called with the number of texts that were dropped.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        evidence: Evidence,
        *,
        are_spooled: Callable[[], bool],
        timeout_s: float,
        on_dropped: Callable[[int], None],
        max_texts: int = MAX_TEXTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._encoder = encoder
        self._evidence = evidence
        self._are_spooled = are_spooled
        self._timeout_s = timeout_s
        self._on_dropped = on_dropped
        self._max_texts = max_texts
        self._max_bytes = max_bytes
        self._waiting: OrderedDict[UUID, WaitingText] = OrderedDict()
        self._decision_of: dict[tuple[str, str], UUID] = {}  # by tenant and request id
        self._n_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, decision: Decision) -> None:
        """Keep the text of a logged decision, if it has no context and a rating of it could use one."""
        query = decision.query
        if decision.context is not None or decision.kind == "cache" or not query.options.learn:
            return
        text = WaitingText(decision.decision_id, query.tenant, query.request_id, query.text)
        self._waiting[text.decision_id] = text
        self._decision_of[text.tenant, text.request_id] = text.decision_id
        self._n_bytes += text.n_bytes
        while len(self._waiting) > self._max_texts or self._n_bytes > self._max_bytes:
            self._forget(next(iter(self._waiting)))
            self._on_dropped(1)

    async def make_for_requests(self, tenant: str, request_ids: Iterable[str]) -> None:
        """Make the contexts of these requests, of those whose texts wait here. Never raises."""
        await self.make([self._decision_of.get((tenant, request_id)) for request_id in request_ids])

    async def make(self, decision_ids: Sequence[UUID | None]) -> None:
        """Make the contexts of these decisions, of those whose texts wait here. Never raises.

        If the encoder or PostgreSQL is away, the texts go on waiting.
        """
        texts = [self._waiting[i] for i in decision_ids if i is not None and i in self._waiting]
        if not texts or self._are_spooled():
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                vectors = await asyncio.gather(*(self._encoder.encode(text.text) for text in texts))
            contexts: dict[UUID, Vector] = {
                text.decision_id: vector for text, vector in zip(texts, vectors, strict=True)
            }
            await self._evidence.add_contexts(contexts, self._encoder.name)
        except (EncoderError, TimeoutError, StoreUnavailable) as error:
            log.debug("contexts_not_made", n=len(texts), error=str(error))
            return
        for text in texts:
            self._forget(text.decision_id)

    async def make_forever(self) -> None:
        """Make a few contexts every second, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.make(list(self._waiting)[:EACH_TIME])
            except Exception:
                log.exception("contexts_not_made")

    def forget(self, decision_ids: Iterable[UUID]) -> None:
        """Delete the texts of these decisions."""
        for decision_id in decision_ids:
            self._forget(decision_id)

    def _forget(self, decision_id: UUID) -> None:
        text = self._waiting.pop(decision_id, None)
        if text is None:
            return
        self._n_bytes -= text.n_bytes
        if self._decision_of.get((text.tenant, text.request_id)) == decision_id:
            del self._decision_of[text.tenant, text.request_id]
