"""Recognises callers by their keys, from a copy in memory that follows the changes of every replica."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import structlog

from service.access.key_copy import KeyCopy
from service.access.key_digests import KeyDigests
from service.access.key_store import ApiKeyStore
from service.domain.api_key import ApiKey
from service.domain.caller import Caller
from service.domain.ports import Clock
from service.errors import KeyRequired, StoreUnavailable, Unavailable

log = structlog.get_logger(__name__)

NOTE_EVERY_S = 60.0  # when keys were used last is written so often


class Keyring:
    """The keys of callers. Between `start` and `close` it follows their changes.

    While PostgreSQL is unavailable they stay as they are. Nothing here waits for it on behalf of a request.
    """

    def __init__(self, store: ApiKeyStore, digests: KeyDigests, clock: Clock, copy: KeyCopy) -> None:
        self._store = store
        self._digests = digests
        self._clock = clock
        self._copy = copy
        self._known: dict[UUID, ApiKey] = {}
        self._by_digest: dict[bytes, tuple[ApiKey, Caller]] = {}
        self._used_at: dict[UUID, datetime] = {}  # since the last record
        self._noting: asyncio.Task[None] | None = None
        self._refreshing = asyncio.Lock()  # applies readings in the order in which they were made
        self._is_read = False  # whether the keys are those of the database, and not those of the copy
        self.is_loaded = False
        self.are_in_use = False  # whether there is a key that was not revoked, be it expired
        self.n_foreign = (
            0  # keys in use that were made with another secret, so that nobody is recognised by them
        )

    async def start(self) -> None:
        """Load the keys and follow them; without PostgreSQL they are those of the copy, if one is in use.

        A copy without such a key says nothing: the first one may have been made since, elsewhere.
        """
        await self._store.start(self.refresh)
        if not self.is_loaded:
            kept = await asyncio.to_thread(self._copy.read)
            if not self.is_loaded and any(key.revoked_at is None for key in kept):
                log.warning("keys_of_copy", keys=len(kept))
                self._take({key.key_id: key for key in kept})
        self._noting = asyncio.create_task(self._note_forever(), name="api_keys_used")

    async def close(self) -> None:
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.gather(self._noting, return_exceptions=True)
            await self._note_uses()
        await self._store.close()

    async def refresh(self) -> None:
        """Read what changed. Raises StoreUnavailable."""
        async with self._refreshing:
            changed = await self._store.changed()
            if changed or not self._is_read:
                before = self._known if self._is_read else {}
                self._take({**before, **{key.key_id: key for key in changed}})
                self._is_read = True
                await asyncio.to_thread(self._copy.write, list(self._known.values()))

    async def take_over(self) -> None:
        """Read a change that was made here. If PostgreSQL is gone since, the next reading has it."""
        try:
            await self.refresh()
        except StoreUnavailable:
            await asyncio.to_thread(self._copy.remove)

    def _take(self, known: Mapping[UUID, ApiKey]) -> None:
        in_use = [key for key in known.values() if key.revoked_at is None]
        n_foreign = sum(key.secret_id not in self._digests.secret_ids for key in in_use)
        if n_foreign > self.n_foreign:
            log.warning("keys_of_another_secret", keys=n_foreign, remedy="share SECRET_KEY between replicas")
        self._known = dict(known)
        self._by_digest = {key.digest: (key, key.caller) for key in known.values()}
        self.are_in_use, self.n_foreign, self.is_loaded = bool(in_use), n_foreign, True

    @property
    def has_valid(self) -> bool:
        """Whether somebody can call with a key."""
        now = self._clock()
        valid = (key for key in self._known.values() if key.reason_against(now) is None)
        return any(key.secret_id in self._digests.secret_ids for key in valid)

    def caller(self, key: str) -> Caller:
        """Who sends a request with this key.

        Raises:
            KeyRequired: there is no such key, or it is not valid any more. The message has no part of it.
            Unavailable: no keys have been loaded yet.
        """
        for digest in self._digests.of(key):
            found = self._by_digest.get(digest)
            if found is not None and hmac.compare_digest(found[0].digest, digest):
                return self._valid(*found)
        if not self.is_loaded:
            raise not_loaded()
        raise KeyRequired(f"no such key: it is not one of this router's{self._doubt()}")

    def _doubt(self) -> str:
        if not self.n_foreign:
            return ""
        return f"; {self.n_foreign} of its keys were made with another SECRET_KEY and are not recognised here"

    def _valid(self, key: ApiKey, caller: Caller) -> Caller:
        now = self._clock()
        if (reason := key.reason_against(now)) is not None:
            raise KeyRequired(f"the key {key.name!r} {reason}")
        self._used_at[key.key_id] = now
        return caller

    async def _note_forever(self) -> None:
        while True:
            await asyncio.sleep(NOTE_EVERY_S)
            await self._note_uses()

    async def _note_uses(self) -> None:
        used_at, self._used_at = self._used_at, {}
        if not used_at:
            return
        try:
            await self._store.note_uses(used_at)
        except StoreUnavailable:  # the next record has them too
            self._used_at = {**used_at, **self._used_at}
        except Exception:
            log.exception("key_uses_not_recorded")


def not_loaded() -> Unavailable:
    return Unavailable("the keys of callers have not been loaded yet: PostgreSQL does not answer")
