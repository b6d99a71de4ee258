"""What the tokens and the logins that were begun are kept in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Protocol
from uuid import UUID

from service.domain.oauth import PendingLogin, SealedTokens


class TokenStore(Protocol):
    """Sealed tokens and begun logins, shared by all replicas. Every method raises StoreUnavailable."""

    async def start(self, follow: Callable[[], Awaitable[None]]) -> None:
        """Call `follow` now, after every change in any replica, and at an interval, until `close`."""
        ...

    async def close(self) -> None: ...

    async def tokens(self) -> Mapping[str, SealedTokens]:
        """By the name of their provider."""
        ...

    async def put(self, tokens: SealedTokens, *, instead_of: UUID | None = None) -> bool:
        """Store tokens; returns whether they were.

        Args:
            instead_of: the version that they replace; if another one is stored by now, nothing changes.
                None: they replace any.
        """
        ...

    async def lease(self, provider: str, version: UUID, holder: UUID, seconds: float) -> bool:
        """Whether the holder alone may refresh that version for so long."""
        ...

    async def release(self, provider: str, holder: UUID) -> None:
        """Give a lease back before its end."""
        ...

    async def fail(self, provider: str, version: UUID, problem: str) -> None:
        """Note that only a new login helps."""
        ...

    async def delete(self, provider: str) -> None: ...

    async def begin(self, state_digest: bytes, login: PendingLogin, now: datetime) -> None:
        """Store a login that begins now, and forget those that have expired."""
        ...

    async def claim(self, state_digest: bytes) -> PendingLogin | None:
        """The login of a state, which nobody can claim again; None: there is none."""
        ...
