"""Holds the wired parts of the service, which the endpoints use."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from embeddings.encoder import EncoderError, TextEncoder
from service.access.key_desk import KeyDesk
from service.access.keyring import Keyring
from service.arms.catalog import Catalog
from service.arms.checked_keys import CheckedKeys
from service.arms.configured import ArmList
from service.arms.lifecycle import Lifecycle
from service.arms.unknown_prices import price_warnings
from service.calibration.calibrations import Calibrations
from service.callbacks.callbacks import Callbacks
from service.completion.completion import Completion
from service.conversations.stored_responses import StoredResponses
from service.domain.basics import Json
from service.domain.clock import SteadyClock
from service.domain.lately import Lately
from service.domain.ports import (
    Journal,
    Memory,
    Reports,
)
from service.domain.tokens import TokenCounter
from service.errors import MemoryUnavailable, StoreBusy, StoreUnavailable, UnknownRequest
from service.learning.forgetting import Forgetting
from service.learning.learner import Learner
from service.meter.meter import Meter
from service.oauth.logins import LoginDesk
from service.relay.embeddings import EmbeddingService
from service.relay.moderations import ModerationService
from service.routing.priors import prior_sources
from service.routing.router import Router
from service.settings.settings import Settings
from service.telemetry import Metrics

ANONYMOUS_CALLERS = "ALLOW_ANONYMOUS is on: everybody who reaches the router can call it without a key"
SETTLED_AFTER_S = 60.0  # after an outage of PostgreSQL, in which other replicas write what they spooled
MAX_SKEW_S = 5.0  # of clocks that are set by NTP it is milliseconds
PATIENCE = 5  # a check of health waits so many times as long as a decision


class ObservableJournal(Journal, Protocol):
    """A journal that spools decisions and outcomes while PostgreSQL is unavailable.

    Args:
        writing: to PostgreSQL.
        keeping: there or in the spool; what fails is lost.
    """

    writing: Lately
    keeping: Lately

    @property
    def n_spooled(self) -> int:
        """The number of decisions and outcomes in the spool."""
        ...

    @property
    def n_refused(self) -> int:
        """The number of decisions and outcomes lost because the spool was full."""
        ...

    def has_unwritten(self) -> bool:
        """Whether decisions of this process, or of others of its machine, wait for PostgreSQL."""
        ...

    @property
    def n_rejected(self) -> int:
        """The number of spooled lines that were damaged, or that PostgreSQL can never accept."""
        ...

    @property
    def reserved_bytes(self) -> int:
        """How much the spool can still take when the disk is full."""
        ...

    async def drain(self) -> None:
        """Write the spool to PostgreSQL. Raises StoreUnavailable."""
        ...

    async def drop_forgotten(self) -> None:
        """Delete rejected lines of requests that were forgotten. Raises StoreUnavailable."""
        ...


class Pingable(Protocol):
    """A dependency whose availability can be checked."""

    async def ping(self) -> None:
        """Check that it answers. Raises StoreUnavailable."""
        ...

    def was_away_within(self, seconds: float) -> bool:
        """Whether it did not answer a call of this process in that time."""
        ...


@dataclass(slots=True)
class Parts:
    """The wired parts of the service."""

    settings: Settings
    arms: ArmList
    catalog: Catalog
    keys: CheckedKeys
    keyring: Keyring
    key_desk: KeyDesk
    router: Router
    completion: Completion
    tokens: TokenCounter
    embeddings: EmbeddingService
    moderations: ModerationService
    meter: Meter
    learner: Learner
    forgetting: Forgetting
    calibrations: Calibrations
    lifecycle: Lifecycle
    journal: ObservableJournal
    responses: StoredResponses
    reports: Reports
    database: Pingable
    memory: Memory
    encoder: TextEncoder
    metrics: Metrics
    callbacks: Callbacks
    started_at: int  # Unix time, seconds
    logins: LoginDesk | None = None  # None: `providers_auth` is empty
    time: SteadyClock | None = None  # None: a clock that follows none
    notes: tuple[str, ...] = ()  # what was amiss at the start
    big_bodies: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))  # read at a time

    def unknown(self, error: UnknownRequest) -> UnknownRequest | StoreUnavailable:
        """The error of a request that PostgreSQL does not have, and that may be on its way there.

        Other replicas meet the same outages, and write what they spooled within moments of their end.
        """
        if self.journal.has_unwritten() or self.database.was_away_within(SETTLED_AFTER_S):
            return StoreUnavailable(f"{error}, or is not written to PostgreSQL yet", retry_after_s=5.0)
        return error

    async def health(self) -> Json:
        """The state of every dependency.

        The status is `degraded` if a dependency is unavailable or fails at its work, the default model is not
        active, or every model is cooling down. Warnings, such as of unknown prices, do not degrade it.
        """
        dependencies = {
            "postgresql": await self._postgresql(),
            "qdrant": await self._qdrant(),
            "encoder": await self._encoder(),
        }
        arms, breaker, default_state = self.catalog.arms, self.catalog.breaker, self.catalog.default_state
        ids = [arm.arm_id for arm in arms]
        cooling_down = [
            {"model": a.arm_id, "open_reason": why} for a in arms if (why := breaker.open_reason(a))
        ]
        work, skew_s = self._work(), None if self.time is None else self.time.skew_s
        all_available = all(d["status"] == "ok" for d in dependencies.values())
        works = all_available and not any(lately.is_failing for lately in work.values())
        healthy = works and default_state == "active" and len(cooling_down) < len(arms)
        return {
            "status": "ok" if healthy else "degraded",
            "simulated": self.arms.is_simulated,
            "models": ids,
            "default_model": self.catalog.default_arm_id,
            "default_model_state": default_state,
            "prior_sources": dict(zip(ids, prior_sources(arms, self.catalog), strict=True)),
            "clock_skew_s": None if skew_s is None else round(skew_s, 2),
            "dependencies": dependencies,
            "work": {name: lately.as_json() for name, lately in work.items()},
            "warnings": [
                *((ANONYMOUS_CALLERS,) if self.settings.allow_anonymous else ()),
                *self._keys_of_another_secret(),
                *self.arms.notes,
                *self.notes,
                *_skew_warnings(skew_s),
                *price_warnings(self.catalog.unpriced),
                *self.keys.warnings(arms),
                *self._spool_warnings(),
                *(() if self.logins is None else self.logins.keeper.problems()),
            ],
            "cooling_down_models": cooling_down,
        }

    def _work(self) -> dict[str, Lately]:
        """What this process does all the time, by name."""
        return {
            "encode": self.router.encoding,
            "recall": self.router.recalling,
            "remember": self.learner.remembering,
            "write": self.journal.writing,
            "keep": self.journal.keeping,
        }

    def _spool_warnings(self) -> Iterator[str]:
        if n_lost := self.journal.n_refused:
            yield f"{n_lost} decisions and outcomes are lost: neither PostgreSQL nor the spool took them"
        if n_rejected := self.journal.n_rejected:
            yield f"{n_rejected} lines of the spool are damaged or refused by PostgreSQL: see spool/rejected"

    def _keys_of_another_secret(self) -> list[str]:
        if not self.keyring.n_foreign:
            return []
        return [
            f"{self.keyring.n_foreign} keys of callers were made with another SECRET_KEY and let nobody in: "
            "all replicas, and `router keys`, must have the same"
        ]

    async def _postgresql(self) -> Json:
        kind = "server" if self.settings.database_url else "embedded"
        spool = {
            "spooled": self.journal.n_spooled,
            "lost": self.journal.n_refused,
            "rejected": self.journal.n_rejected,
            "reserved_bytes": self.journal.reserved_bytes,
        }
        try:
            await self.database.ping()
        except StoreBusy as error:  # it answers others
            return {"status": "ok", "kind": kind, "overload": str(error), **spool}
        except StoreUnavailable as error:
            return {"status": "unavailable", "kind": kind, "error": str(error), **spool}
        if not self.router.evidence.is_loaded:  # PostgreSQL has just become available again
            return {
                "status": "unavailable",
                "kind": kind,
                "error": "evidence has not been loaded yet",
                **spool,
            }
        return {"status": "ok", "kind": kind, **spool}

    async def _qdrant(self) -> Json:
        kind = "server" if self.settings.qdrant_url else "embedded"
        try:
            async with asyncio.timeout(self.settings.memory_timeout_s):
                return {"status": "ok", "kind": kind, "points": await self.memory.count()}
        except (MemoryUnavailable, TimeoutError) as error:
            return {"status": "unavailable", "kind": kind, "error": str(error) or "no answer in time"}

    async def _encoder(self) -> Json:
        properties = {"name": self.encoder.name, "dimension": self.encoder.dimension}
        uncached_text = f"health at {self.router.clock().isoformat()}"
        try:
            # Texts of clients come first, and an encoder that is busy with them is not away.
            async with asyncio.timeout(PATIENCE * self.settings.embedding_timeout_s):
                await self.encoder.encode(uncached_text)
        except (EncoderError, TimeoutError) as error:
            return {"status": "unavailable", **properties, "error": str(error) or "no answer in time"}
        return {"status": "ok", **properties}


def _skew_warnings(skew_s: float | None) -> Iterator[str]:
    if skew_s is not None and abs(skew_s) >= MAX_SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        yield f"the clock of this machine is {abs(skew_s):.0f} s {way} PostgreSQL's, which the router follows"
