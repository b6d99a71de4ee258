"""An ApiKeyStore in memory, which several replicas can share and which can be away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from service.domain.api_key import ApiKey
from service.domain.limit import Limit
from service.errors import StoreUnavailable


@dataclass
class FakeKeyTable:
    """What replicas share."""

    keys: dict[UUID, ApiKey] = field(default_factory=dict)
    is_away: bool = False


@dataclass
class FakeApiKeyStore:
    """An ApiKeyStore. It notifies nobody: `follow` is called by `start`, and by the test."""

    table: FakeKeyTable = field(default_factory=FakeKeyTable)

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        if not self.table.is_away:
            await follow()

    async def close(self) -> None: ...

    async def changed(self) -> Sequence[ApiKey]:
        return list(self._open().values())

    async def all(self) -> Sequence[ApiKey]:
        return sorted(self._open().values(), key=lambda key: key.created_at, reverse=True)

    async def add(self, key: ApiKey) -> None:
        self._open()[key.key_id] = key

    async def put_limits(self, key_id: UUID, limits: Sequence[Limit]) -> None:
        self._open()[key_id] = replace(self._open()[key_id], limits=tuple(limits))

    async def end(self, key_id: UUID, *, revoked_at: datetime | None, expires_at: datetime | None) -> None:
        key = self._open()[key_id]
        ends = [moment for moment in (key.expires_at, expires_at) if moment is not None]
        self._open()[key_id] = replace(
            key, revoked_at=key.revoked_at or revoked_at, expires_at=min(ends, default=None)
        )

    async def note_uses(self, used_at: Mapping[UUID, datetime]) -> None:
        for key_id, moment in used_at.items():
            self._open()[key_id] = replace(self._open()[key_id], last_used_at=moment)

    def _open(self) -> dict[UUID, ApiKey]:
        if self.table.is_away:
            raise StoreUnavailable("PostgreSQL does not answer")
        return self.table.keys
