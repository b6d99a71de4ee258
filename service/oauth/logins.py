"""Logs in to providers and out of them, on behalf of the operator."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import orjson
import structlog

from service.domain.oauth import OAuthProvider, PendingLogin
from service.domain.ports import Clock
from service.errors import BadRequest, LoginRefused, LoginUnavailable
from service.oauth.authorization_server import AuthorizationServer, NewLogin
from service.oauth.sealing import Sealer
from service.oauth.token_store import TokenStore
from service.oauth.tokens import TokenKeeper, log_in_path

log = structlog.get_logger(__name__)

LOGIN_S = 600.0  # from the start of a login to its callback
CALLBACK = "/oauth/callback"
Condition = Literal["logged_in", "refresh_failed", "expired", "logged_out"]


@dataclass(frozen=True, slots=True)
class BegunLogin:
    """A login that waits for its callback."""

    provider: str
    url: str
    redirect_url: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """The login at one provider, without any secret."""

    provider: str
    state: Condition
    problem: str | None
    expires_at: datetime | None  # of the access token
    obtained_at: datetime | None
    is_refreshable: bool
    scopes: tuple[str, ...]
    log_in_at: str


@dataclass(frozen=True, slots=True)
class LoginDesk:
    """The logins of all entries of `providers_auth`."""

    servers: Mapping[str, AuthorizationServer]
    store: TokenStore
    sealer: Sealer
    keeper: TokenKeeper
    clock: Clock

    @property
    def providers(self) -> tuple[OAuthProvider, ...]:
        return tuple(server.provider for server in self.servers.values())

    async def begin(self, name: str, port: int) -> BegunLogin:
        """Begin a login.

        Args:
            port: of this router, on loopback.

        Raises:
            BadRequest: there is no such entry.
            StoreUnavailable: PostgreSQL does not answer.
        """
        server = self._server(name)
        login = NewLogin(
            state=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(64),
            nonce=secrets.token_urlsafe(32),
            redirect_url=server.provider.redirect_url or f"http://127.0.0.1:{port}{CALLBACK}",
        )
        url, now = server.login_url(login), self.clock()
        expires_at = now + timedelta(seconds=LOGIN_S)
        content = orjson.dumps([login.verifier, login.nonce, login.redirect_url])
        sealed = self.sealer.seal(_purpose(name), content)
        await self.store.begin(_digest(login.state), PendingLogin(name, sealed, expires_at), now)
        return BegunLogin(name, url, login.redirect_url, expires_at)

    async def finish(self, state: str, code: str | None, error: str | None) -> str:
        """Finish the login of a callback; returns the name of its provider.

        A state is good for one callback, whatever that says.

        Raises:
            LoginRefused: the state is not that of a login under way, or the provider refused it.
            LoginUnavailable: the provider does not answer.
            StoreUnavailable: PostgreSQL does not answer.
        """
        pending = await self.store.claim(_digest(state))
        if pending is None or pending.provider not in self.servers:
            raise LoginRefused("state: no login with this state is under way; begin a new one", param="state")
        name = pending.provider
        if pending.expires_at <= self.clock():
            raise LoginRefused(
                f"state: the login took longer than {LOGIN_S:g} s: {_again(name)}", param="state"
            )
        if error is not None or code is None:
            raise LoginRefused(f"{name} refused the login ({_shown(error)}): {_again(name)}", param="error")
        try:
            verifier, nonce, redirect_url = orjson.loads(self.sealer.open(_purpose(name), pending.sealed))
        except ValueError as fault:
            raise LoginRefused(f"state: {fault}: {_again(name)}", param="state") from None
        login = NewLogin(state, verifier, nonce, redirect_url)
        try:
            tokens = await self.servers[name].exchange(code, login)
        except LoginRefused as refusal:
            raise LoginRefused(f"{name}: {refusal}: {_again(name)}", param="code") from None
        await self.keeper.keep(name, tokens)
        log.info("logged_in", provider=name)
        return name

    async def refresh(self, name: str) -> LoginStatus:
        """Refresh the tokens of the entry now. Raises as `TokenKeeper.refresh`, and BadRequest."""
        self._server(name)
        await self.keeper.refresh(name)
        return self.status(name)

    async def log_out(self, name: str) -> str | None:
        """Forget the tokens of the entry, and revoke them; returns why they could not be revoked.

        Raises:
            BadRequest: there is no such entry.
            StoreUnavailable: PostgreSQL does not answer.
        """
        server = self._server(name)
        held = await self.keeper.forget(name)
        log.info("logged_out", provider=name)
        if held is None or held.tokens is None:
            return None
        if server.provider.revoke_url is None:
            return "providers_auth gives no revoke_url"
        try:
            await server.revoke(held.tokens)
        except (LoginRefused, LoginUnavailable) as error:
            return str(error)
        return None

    def statuses(self) -> list[LoginStatus]:
        return [self.status(name) for name in self.servers]

    def status(self, name: str) -> LoginStatus:
        problem, held = self.keeper.problem(name), self.keeper.held(name)
        failure = self.keeper.failure(name)
        tokens = None if held is None else held.tokens
        state: Condition = "logged_in"
        if held is None:
            state = "logged_out"
        elif problem is not None:
            state = "expired"
        elif failure is not None:
            state = "refresh_failed"
        return LoginStatus(
            provider=name,
            state=state,
            problem=problem or failure,
            expires_at=None if tokens is None else tokens.expires_at,
            obtained_at=None if held is None else held.obtained_at,
            is_refreshable=tokens is not None and tokens.refresh_token is not None,
            scopes=self.servers[name].provider.scopes,
            log_in_at=log_in_path(name),
        )

    def _server(self, name: str) -> AuthorizationServer:
        if (server := self.servers.get(name)) is None:
            names = ", ".join(sorted(self.servers))
            raise BadRequest(f"provider must be one of {names}, got {name[:40]!r}", param="provider")
        return server


def _purpose(name: str) -> str:
    return f"login at {name}"


def _digest(state: str) -> bytes:
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).digest()


def _again(name: str) -> str:
    return f"log in again at {log_in_path(name)}"


def _shown(error: str | None) -> str:
    """An error code of RFC 6749, which the address of a callback may replace by anything."""
    is_code = error is not None and error.isascii() and error.replace("_", "").isalpha() and len(error) < 60
    return str(error) if is_code else "no code came"
