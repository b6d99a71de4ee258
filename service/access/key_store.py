"""What the keys of callers are kept in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.api_key import ApiKey
from service.domain.limit import Limit


class ApiKeyStore(Protocol):
    """The keys of callers, shared by all replicas. Every method raises StoreUnavailable."""

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        """Call `follow` now, after every change in any replica, and at an interval, until `close`."""
        ...

    async def close(self) -> None: ...

    async def changed(self) -> Sequence[ApiKey]:
        """The keys that changed since the last call; at first all."""
        ...

    async def all(self) -> Sequence[ApiKey]:
        """Every key, also revoked ones, the newest first."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Store a new key with its limits."""
        ...

    async def put_limits(self, key_id: UUID, limits: Sequence[Limit]) -> None:
        """Replace the limits of a key."""
        ...

    async def end(self, key_id: UUID, *, revoked_at: datetime | None, expires_at: datetime | None) -> None:
        """Revoke a key, or let it expire at a time if it would live longer."""
        ...

    async def note_uses(self, used_at: Mapping[UUID, datetime]) -> None:
        """Record when keys were used last."""
        ...
