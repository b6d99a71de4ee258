"""Logins at providers by OAuth 2.0: the operator's clients, the tokens, and what is kept of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from service.domain.hosts import Origin

ClientAuth = Literal["basic", "post"]


@dataclass(frozen=True, slots=True)
class OAuthProvider:
    """An authorization server, and the operator's own client at it.

    Args:
        client_secret: None: a public client, which PKCE alone protects.
        redirect_url: None: this router on loopback.
        origins: where its tokens may be sent.
    """

    name: str
    authorize_url: str
    token_url: str
    client_id: str
    origins: frozenset[Origin]
    client_secret: str | None = field(default=None, repr=False)
    client_auth: ClientAuth = "basic"
    scopes: tuple[str, ...] = ()
    redirect_url: str | None = None
    revoke_url: str | None = None
    authorize_params: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave.

    Args:
        expires_at: of the access token; None: the server did not say.
        refresh_at: from when on it is refreshed.
    """

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None
    refresh_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealedTokens:
    """The tokens of one provider, encrypted.

    Args:
        version: changes with every change of the tokens.
        problem: why a new login is needed; None: none is.
    """

    provider: str
    sealed: bytes = field(repr=False)
    version: UUID
    obtained_at: datetime
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login that was begun; its verifier and nonce are encrypted."""

    provider: str
    sealed: bytes = field(repr=False)
    expires_at: datetime


class Logins(Protocol):
    """Which entries of `providers_auth` are logged in to."""

    def problem(self, name: str) -> str | None:
        """Why the entry has no token that can be used now; None: it has one."""
        ...


class AccessTokens(Protocol):
    """The access tokens of the entries of `providers_auth`."""

    async def token(self, name: str) -> str:
        """The current token of the entry. Raises ProviderError: there is none, and why."""
        ...

    async def renewed(self, name: str, rejected: str) -> str:
        """A token in place of one that the provider rejected. Raises ProviderError: there is none."""
        ...
