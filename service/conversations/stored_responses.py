"""Responses that clients continue by their id, or by the ids of their items.

With STORE_TEXTS they are in PostgreSQL. Without it, the newest answers stay in this process's memory for a
while, since some clients send the ids of the items of a tool loop instead of the items.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from service.domain.basics import Json
from service.domain.ports import Clock, ResponseStore
from service.domain.stored_response import StoredResponse
from service.errors import StoreUnavailable, UnknownPreviousResponse, UnknownResponse

log = structlog.get_logger(__name__)

MAX_CHAIN = 1_000  # responses of one conversation
PRUNE_EVERY_S = 60.0
RECENT_S = 3_600.0
RECENT_BYTES = 32 * 2**20
SETTING = "STORE_TEXTS"
_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})_(?:in)?\d+")


def response_id_of(item_id: str) -> str | None:
    """The response that made an item; None: no response of the router has items with such an id."""
    found = _ITEM_ID.fullmatch(item_id)
    return None if found is None else f"resp_{found[1]}"


@dataclass(slots=True)
class RecentItems:
    """The items of this process's newest answers, by tenant and response, within RECENT_BYTES."""

    clock: Clock
    _kept: OrderedDict[tuple[str, str], tuple[datetime, int, Sequence[Json]]] = field(
        default_factory=OrderedDict
    )
    _n_bytes: int = 0

    def keep(self, response: StoredResponse) -> None:
        items: Sequence[Json] = response.response["output"]
        self._forget((response.tenant, response.response_id))
        n_bytes = len(json.dumps(items))
        self._kept[response.tenant, response.response_id] = self.clock(), n_bytes, items
        self._n_bytes += n_bytes
        oldest = self.clock() - timedelta(seconds=RECENT_S)
        while self._kept and (self._n_bytes > RECENT_BYTES or next(iter(self._kept.values()))[0] < oldest):
            self._forget(next(iter(self._kept)))

    def find(self, tenant: str, response_id: str) -> Sequence[Json]:
        at, _, items = self._kept.get((tenant, response_id), (None, 0, ()))
        return () if at is None or at < self.clock() - timedelta(seconds=RECENT_S) else items

    def clear(self) -> None:
        self._kept.clear()
        self._n_bytes = 0

    def _forget(self, key: tuple[str, str]) -> None:
        _, n_bytes, _ = self._kept.pop(key, (None, 0, ()))
        self._n_bytes -= n_bytes


@dataclass(frozen=True, slots=True)
class StoredResponses:
    """Keeps responses and finds them again.

    Args:
        is_on: texts are stored.
        ttl_s: how long.
    """

    store: ResponseStore
    clock: Clock
    is_on: bool
    ttl_s: float
    recent: RecentItems

    async def keep(self, response: StoredResponse) -> bool:
        """Commit a response; False: it is not stored."""
        if not self.is_on:
            self.recent.keep(response)
            return False
        try:
            await self.store.keep(response)
        except StoreUnavailable as error:
            log.warning("response_not_stored", response_id=response.response_id, error=str(error))
            return False
        return True

    async def find(self, tenant: str, response_id: str) -> StoredResponse:
        """Raises UnknownResponse, StoreUnavailable."""
        chain = await self.store.chain(tenant, response_id, 1) if self.is_on else ()
        if not chain:
            raise self._unknown(response_id)
        return chain[0]

    async def conversation(self, tenant: str, response_id: str) -> list[Json]:
        """The items of a response and of those that it continues, the oldest first.

        Raises:
            UnknownPreviousResponse: one of them is not stored.
            StoreUnavailable: PostgreSQL does not answer.
        """
        chain = await self.store.chain(tenant, response_id, MAX_CHAIN + 1) if self.is_on else ()
        if not chain or chain[0].previous_id is not None:
            missing = (chain[0].previous_id if chain else None) or response_id
            raise UnknownPreviousResponse(
                f"previous_response_id: response {missing!r} does not exist{self._why}"
                if len(chain) <= MAX_CHAIN
                else f"previous_response_id: must continue at most {MAX_CHAIN} responses",
                param="previous_response_id",
            )
        return [item for stored in chain for item in (*stored.input, *stored.response["output"])]

    async def items(self, tenant: str, item_ids: Collection[str]) -> Mapping[str, Json]:
        """The items of these ids, as far as they are known. Raises StoreUnavailable."""
        found: dict[str, Json] = {}
        for response_id in {made_by for item_id in item_ids if (made_by := response_id_of(item_id))}:
            found |= {item["id"]: item for item in await self._items_of(tenant, response_id) if "id" in item}
        return {item_id: found[item_id] for item_id in item_ids if item_id in found}

    async def _items_of(self, tenant: str, response_id: str) -> Sequence[Json]:
        if not self.is_on:
            return self.recent.find(tenant, response_id)
        chain = await self.store.chain(tenant, response_id, 1)
        return [*chain[0].input, *chain[0].response["output"]] if chain else ()

    async def delete(self, tenant: str, response_id: str) -> None:
        """Raises UnknownResponse, StoreUnavailable."""
        if not self.is_on or not await self.store.delete(tenant, response_id):
            raise self._unknown(response_id)

    def _unknown(self, response_id: str) -> UnknownResponse:
        return UnknownResponse(f"response {response_id!r} does not exist{self._why}", param="response_id")

    @property
    def _why(self) -> str:
        return "" if self.is_on else f": the router stores no responses, because {SETTING} is off"

    async def prune_forever(self) -> None:
        """Delete responses that are older than their time, every minute, until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_EVERY_S)
            try:
                await self.store.prune(self.clock() - timedelta(seconds=self.ttl_s))
            except StoreUnavailable as error:
                log.debug("responses_not_pruned", error=str(error))
            except Exception:
                log.exception("responses_not_pruned")
