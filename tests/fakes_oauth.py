"""A TokenStore in memory, which several replicas can share and which can be away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from service.domain.oauth import PendingLogin, SealedTokens
from service.errors import StoreUnavailable


@dataclass
class FakeTokenTables:
    """What replicas share."""

    tokens: dict[str, SealedTokens] = field(default_factory=dict)
    leases: dict[str, UUID] = field(default_factory=dict)
    logins: dict[bytes, PendingLogin] = field(default_factory=dict)
    is_away: bool = False


@dataclass
class FakeTokenStore:
    """A TokenStore. It notifies nobody: `follow` is called by `start`, and by the test."""

    tables: FakeTokenTables = field(default_factory=FakeTokenTables)

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        await follow()

    async def close(self) -> None: ...

    async def tokens(self) -> Mapping[str, SealedTokens]:
        return dict(self._open().tokens)

    async def put(self, tokens: SealedTokens, *, instead_of: UUID | None = None) -> bool:
        tables = self._open()
        known = tables.tokens.get(tokens.provider)
        if instead_of is not None and (known is None or known.version != instead_of):
            return False
        tables.tokens[tokens.provider] = tokens
        tables.leases.pop(tokens.provider, None)
        return True

    async def lease(self, provider: str, version: UUID, holder: UUID, seconds: float) -> bool:
        tables = self._open()
        known = tables.tokens.get(provider)
        if known is None or known.version != version or known.problem is not None:
            return False
        return tables.leases.setdefault(provider, holder) == holder

    async def release(self, provider: str, holder: UUID) -> None:
        tables = self._open()
        if tables.leases.get(provider) == holder:
            del tables.leases[provider]

    async def fail(self, provider: str, version: UUID, problem: str) -> None:
        tables = self._open()
        known = tables.tokens.get(provider)
        if known is not None and known.version == version:
            tables.tokens[provider] = replace(known, problem=problem)
            tables.leases.pop(provider, None)

    async def delete(self, provider: str) -> None:
        self._open().tokens.pop(provider, None)

    async def begin(self, state_digest: bytes, login: PendingLogin, now: datetime) -> None:
        tables = self._open()
        tables.logins = {d: pending for d, pending in tables.logins.items() if pending.expires_at > now}
        tables.logins[state_digest] = login

    async def claim(self, state_digest: bytes) -> PendingLogin | None:
        return self._open().logins.pop(state_digest, None)

    def _open(self) -> FakeTokenTables:
        if self.tables.is_away:
            raise StoreUnavailable("PostgreSQL does not answer")
        return self.tables
