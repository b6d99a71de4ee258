"""The command `feedback revert`."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.bootstrap.basics import no_progress
from service.bootstrap.database import open_database
from service.bootstrap.existing import require_data
from service.domain.clock import now
from service.errors import StartupError
from service.settings.settings import Settings
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.reverts import RatingsOf, count_ratings, key_ids_of, revert

WITHOUT_KEY = "none"


@dataclass(frozen=True, slots=True)
class WhichRatings:
    """The ratings to revert; `key` is an id or a name, or `none`."""

    tenant: str
    key: str | None
    source: str | None
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class RevertedFeedback:
    """What was reverted, or would be."""

    dry_run: bool
    revert_id: int | None
    ratings: int
    requests: int
    models: int

    def text(self) -> str:
        if not self.ratings:
            return "no such ratings"
        counted = f"{self.ratings} ratings of {self.requests} requests, on {self.models} models"
        return f"would revert {counted}" if self.dry_run else f"revert {self.revert_id}: reverted {counted}"


async def revert_feedback(settings: Settings, which: WhichRatings, *, dry_run: bool) -> RevertedFeedback:
    """Revert ratings, or count them.

    Raises:
        StartupError: there is no data, or no such key; the database cannot be opened.
        StoreUnavailable: PostgreSQL stopped answering; nothing was reverted.
    """
    async with AsyncExitStack() as stack:
        require_data(settings)
        database = await open_database(settings, settings.data_dir, stack, no_progress, is_for_command=True)
        await migrate(database)
        key_ids = await _key_ids(database, which)
        ratings = RatingsOf(which.tenant, key_ids, which.source, which.since, which.until)
        done = await (count_ratings(database, ratings) if dry_run else revert(database, ratings, now()))
    return RevertedFeedback(dry_run, done.revert_id, done.n_ratings, done.n_requests, done.n_models)


async def _key_ids(database: Database, which: WhichRatings) -> Sequence[UUID] | None:
    if which.key is None:
        return None
    if which.key == WITHOUT_KEY:
        return []
    found = await key_ids_of(database, which.tenant, which.key)
    if not found:
        raise StartupError(f"--key {which.key}: tenant {which.tenant} has no key with this id or name")
    return found
