"""The access tokens in use: a copy of what is stored, refreshed before they expire by one replica."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson
import structlog

from service.domain.oauth import SealedTokens, Tokens
from service.domain.ports import Clock
from service.errors import LoginRefused, LoginUnavailable, ProviderBroken, StoreUnavailable
from service.oauth.authorization_server import AuthorizationServer
from service.oauth.sealing import Sealer
from service.oauth.token_store import TokenStore

log = structlog.get_logger(__name__)

LEASE_S = 30.0  # longer than any refresh
WAIT_S = 12.0  # longest wait for a refresh by another replica
LOOK_EVERY_S = 0.25  # whether that replica is done
RETRY_S = 15.0  # after a refresh that failed for now
NOT_READ = "its login has not been read yet, PostgreSQL does not answer"


@dataclass(frozen=True, slots=True)
class HeldTokens:
    """The tokens of one provider in this process.

    Args:
        tokens: None: they cannot be decrypted, for the reason in `problem`.
        problem: why a new login is needed.
    """

    version: UUID
    obtained_at: datetime
    tokens: Tokens | None
    problem: str | None = None


@dataclass(slots=True)
class TokenKeeper:
    """Logins and AccessTokens. While PostgreSQL is away, the tokens last read remain in use."""

    servers: Mapping[str, AuthorizationServer]
    store: TokenStore
    sealer: Sealer
    clock: Clock
    _held: dict[str, HeldTokens] = field(default_factory=dict)
    _is_loaded: bool = False
    _failures: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # why, and when to try again
    _unsaved: dict[str, tuple[SealedTokens, UUID]] = field(default_factory=dict)  # and what they replace
    _refreshing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    _id: UUID = field(default_factory=uuid4)

    async def start(self) -> None:
        """Read the tokens, and follow the changes of all replicas."""
        await self.store.start(self.follow)

    async def close(self) -> None:
        await self.store.close()
        if self._refreshing:  # a token that was renewed must be stored, the old one may be void
            await asyncio.wait(self._refreshing.values(), timeout=WAIT_S)

    async def follow(self) -> None:
        """Read what is stored, and begin the refreshes that are due. Raises StoreUnavailable."""
        await self._save()
        stored = await self.store.tokens()
        self._is_loaded = True
        for name in self._held.keys() - stored.keys():
            del self._held[name]
        for name in self.servers.keys() & stored.keys():
            self._adopt(stored[name])
        for name, held in self._held.items():
            if self._is_due(name, held):
                self._begin_refresh(name, held.version)

    def held(self, name: str) -> HeldTokens | None:
        return self._held.get(name)

    def failure(self, name: str) -> str | None:
        """Why the last refresh failed for now; None: it did not."""
        return self._failures[name][0] if name in self._failures else None

    def problem(self, name: str) -> str | None:
        if name not in self.servers:
            return f"providers_auth has no entry {name!r}"
        held, log_in = self._held.get(name), f"log in at {log_in_path(name)}"
        if held is None:
            return f"{name} is not logged in to: {log_in}" if self._is_loaded else NOT_READ
        if held.problem is not None or held.tokens is None:
            return f"the login at {name} has expired ({held.problem}): {log_in}"
        if not self._has_expired(held.tokens):
            return None
        if held.tokens.refresh_token is None:
            return f"the login at {name} has expired: {log_in}"
        why, retry_at = self._failures.get(name, ("", self.clock()))
        return f"the token of {name} could not be refreshed: {why}" if self.clock() < retry_at else None

    def problems(self) -> Iterator[str]:
        """A sentence for each login that has no token that can be used."""
        return (why for name in self.servers if (why := self.problem(name)) is not None)

    async def token(self, name: str) -> str:
        if (why := self.problem(name)) is not None:
            raise ProviderBroken(why, status=401)
        held = self._held[name]
        assert held.tokens is not None
        if self._has_expired(held.tokens):
            await self._refreshed(name, held.version)
            return self._current(name)
        if self._is_due(name, held):
            self._begin_refresh(name, held.version)  # the present token is good for this call
        return held.tokens.access_token

    async def renewed(self, name: str, rejected: str) -> str:
        held = self._held.get(name)
        if held is not None and held.tokens is not None and held.tokens.access_token == rejected:
            await self._refreshed(name, held.version)
        token = self._current(name)
        if token == rejected:
            raise ProviderBroken(f"the token of {name} was refused and could not be refreshed", status=401)
        return token

    async def refresh(self, name: str) -> None:
        """Refresh the tokens of the provider now.

        Raises:
            LoginRefused: there is no login, or only a new one helps.
            LoginUnavailable: the provider, or another replica's refresh, does not answer.
            StoreUnavailable: PostgreSQL does not answer.
        """
        held = self._held.get(name)
        if held is None:
            raise LoginRefused(self.problem(name) or NOT_READ, param="provider")
        await asyncio.shield(self._begin_refresh(name, held.version))
        if (why := self.problem(name)) is not None:
            raise LoginRefused(why, param="provider")

    async def keep(self, name: str, tokens: Tokens) -> None:
        """Keep the tokens of a new login. Raises StoreUnavailable."""
        sealed = self._sealed(name, tokens)
        await self.store.put(sealed)
        self._unsaved.pop(name, None)
        self._failures.pop(name, None)
        self._adopt(sealed)

    async def forget(self, name: str) -> HeldTokens | None:
        """Forget the tokens of a login, in all replicas; returns them. Raises StoreUnavailable."""
        await self.store.delete(name)
        self._unsaved.pop(name, None)
        self._failures.pop(name, None)
        return self._held.pop(name, None)

    # --- refreshing

    def _current(self, name: str) -> str:
        if (why := self.problem(name)) is not None:
            raise ProviderBroken(why, status=401)
        tokens = self._held[name].tokens
        assert tokens is not None
        return tokens.access_token

    async def _refreshed(self, name: str, version: UUID) -> None:
        """Wait for a refresh, which goes on if the request that needs it ends meanwhile."""
        try:
            await asyncio.shield(self._begin_refresh(name, version))
        except (LoginUnavailable, StoreUnavailable) as error:
            raise ProviderBroken(f"the token of {name} could not be refreshed: {error}", status=401) from None

    def _begin_refresh(self, name: str, version: UUID) -> asyncio.Task[None]:
        """The refresh of that version under way in this process, or a new one."""
        if (under_way := self._refreshing.get(name)) is not None:
            return under_way
        task = asyncio.create_task(self._refresh(name, version), name=f"refresh of {name}")
        self._refreshing[name] = task
        task.add_done_callback(lambda done: self._ended(name, done))
        return task

    def _ended(self, name: str, done: asyncio.Task[None]) -> None:
        del self._refreshing[name]
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._failures.pop(name, None)
            return
        retry_at = self.clock() + timedelta(seconds=RETRY_S)
        self._failures[name] = (str(error), retry_at)
        known = isinstance(error, LoginUnavailable | StoreUnavailable)
        log.warning(
            "token_not_refreshed", provider=name, reason=str(error) if known else type(error).__name__
        )

    async def _refresh(self, name: str, version: UUID) -> None:
        """Refresh that version, or wait until another replica has."""
        try:
            async with asyncio.timeout(WAIT_S):
                held = await self._leased(name, version)
        except TimeoutError:
            raise LoginUnavailable("another replica refreshes it, and is not done yet") from None
        if held is None or held.tokens is None:
            return
        try:
            tokens = await self.servers[name].refresh(held.tokens)
        except LoginRefused as error:
            log.warning("login_expired", provider=name, reason=str(error))
            self._held[name] = replace(held, problem=str(error)[:500])
            await self.store.fail(name, version, str(error)[:500])
            return
        except LoginUnavailable:
            await self.store.release(name, self._id)
            raise
        sealed = self._sealed(name, tokens)
        self._held[name] = HeldTokens(sealed.version, sealed.obtained_at, tokens)
        self._unsaved[name] = (sealed, version)  # the old refresh token may be void by now
        log.info("token_refreshed", provider=name)
        await self._save()

    async def _leased(self, name: str, version: UUID) -> HeldTokens | None:
        """The tokens to refresh; None: they have changed meanwhile."""
        while True:
            held = self._held.get(name)
            if held is None or held.version != version or held.problem is not None:
                return None
            if await self.store.lease(name, version, self._id, LEASE_S):
                return held
            stored = (await self.store.tokens()).get(name)
            if stored is None:
                self._held.pop(name, None)
                return None
            self._adopt(stored)
            if stored.version == version:
                await asyncio.sleep(LOOK_EVERY_S)

    async def _save(self) -> None:
        """Store tokens that PostgreSQL was not there for. Raises StoreUnavailable."""
        for name, (sealed, instead_of) in list(self._unsaved.items()):
            await self.store.put(sealed, instead_of=instead_of)
            self._unsaved.pop(name, None)

    # --- what is held

    def _adopt(self, stored: SealedTokens) -> None:
        """Hold what is stored; a version that cannot be decrypted needs a new login."""
        name, held = stored.provider, self._held.get(stored.provider)
        if name in self._unsaved:
            return
        if held is not None and held.version == stored.version and held.tokens is not None:
            self._held[name] = replace(held, problem=stored.problem)
            return
        try:
            tokens, problem = _unpacked(self.sealer.open(name, stored.sealed)), stored.problem
        except ValueError as error:
            tokens, problem = None, str(error)
        self._held[name] = HeldTokens(stored.version, stored.obtained_at, tokens, problem)

    def _sealed(self, name: str, tokens: Tokens) -> SealedTokens:
        return SealedTokens(name, self.sealer.seal(name, _packed(tokens)), uuid4(), self.clock())

    def _is_due(self, name: str, held: HeldTokens) -> bool:
        if held.problem is not None or held.tokens is None or held.tokens.refresh_token is None:
            return False
        _, retry_at = self._failures.get(name, ("", self.clock()))
        at = held.tokens.refresh_at
        return at is not None and max(at, retry_at) <= self.clock()

    def _has_expired(self, tokens: Tokens) -> bool:
        return tokens.expires_at is not None and tokens.expires_at <= self.clock()


def log_in_path(name: str) -> str:
    """Where the operator logs in."""
    return f"/oauth/authorize?provider={name}"


def _packed(tokens: Tokens) -> bytes:
    return orjson.dumps(tokens)


def _unpacked(content: bytes) -> Tokens:
    fields: dict[str, Any] = orjson.loads(content)
    for name in ("expires_at", "refresh_at"):
        if fields[name] is not None:
            fields[name] = datetime.fromisoformat(fields[name])
    return Tokens(**fields)
