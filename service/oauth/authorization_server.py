"""The operator's client at one authorization server, by Authlib."""

from __future__ import annotations

import asyncio
import re
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import orjson

from service.domain.oauth import OAuthProvider, Tokens
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.errors import LoginRefused, LoginUnavailable

if TYPE_CHECKING:
    from authlib.integrations.httpx_client import AsyncOAuth2Client

TIMEOUT_S = 10.0
LONGEST_MARGIN_S = 300.0  # before the end of a token at which it is refreshed
MARGIN = 0.2  # of its lifetime, if that is shorter
LONGEST_LIFETIME_S = 10 * 365 * 86_400.0
OPENID = "openid"
_TOKEN = re.compile(r"[!-~]{1,32768}")
_CODE = re.compile(r"[a-z_]{1,60}")
_PASSING = frozenset({"temporarily_unavailable", "server_error", "slow_down"})
LIFETIME = "lifetime"  # `expires_in`, which Authlib reads as a whole number and fails on others
ENDS_A_LOGIN = "invalid_grant"  # the one error of a refresh that only a new login cures


def warm() -> None:
    """Load the library, which takes a second."""
    import authlib.integrations.httpx_client  # noqa: F401


@dataclass(frozen=True, slots=True)
class NewLogin:
    """What one login is known by: at its start, at its callback, and when its code is exchanged."""

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)
    redirect_url: str


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """Authorization code with PKCE, refresh and revocation at one provider.

    Every method with a request of its own ends within `timeout_s`, follows no redirect, and raises:

        LoginRefused: the server refuses it.
        LoginUnavailable: the server does not answer, or fails.
    """

    provider: OAuthProvider
    clock: Clock
    proxies: Proxies
    timeout_s: float = TIMEOUT_S

    def login_url(self, login: NewLogin) -> str:
        """Where the operator logs in."""
        more = dict(self.provider.authorize_params)
        if OPENID in self.provider.scopes:
            more["nonce"] = login.nonce
        client = self._client(login.redirect_url)
        url, _ = client.create_authorization_url(
            self.provider.authorize_url, state=login.state, code_verifier=login.verifier, **more
        )
        return str(url)

    async def exchange(self, code: str, login: NewLogin) -> Tokens:
        """The tokens for a code."""
        async with (
            self._answering(code, login.verifier),
            self._client(login.redirect_url) as client,
        ):
            answer = await client.fetch_token(
                self.provider.token_url,
                grant_type="authorization_code",
                code=code,
                code_verifier=login.verifier,
            )
        if OPENID in self.provider.scopes:
            _require_nonce(answer, login.nonce)
        return self._tokens(answer)

    async def refresh(self, tokens: Tokens) -> Tokens:
        """New tokens; the refresh token is replaced if the server gives a new one.

        LoginRefused means that only a new login helps.
        """
        if tokens.refresh_token is None:
            raise LoginRefused("the provider gave no refresh token")
        try:
            async with self._answering(tokens.refresh_token), self._client(None) as client:
                answer = await client.refresh_token(
                    self.provider.token_url, refresh_token=tokens.refresh_token, scope=""
                )
            return self._tokens(answer)
        except LoginRefused as error:
            if error.param == ENDS_A_LOGIN:
                raise
            raise LoginUnavailable(str(error)) from None

    async def revoke(self, tokens: Tokens) -> None:
        """Revoke the login, where the provider has an endpoint for it."""
        if self.provider.revoke_url is None:
            return
        token = tokens.refresh_token or tokens.access_token
        kind = "access_token" if tokens.refresh_token is None else "refresh_token"
        async with self._answering(token), self._client(None) as client:
            response = await client.revoke_token(self.provider.revoke_url, token=token, token_type_hint=kind)
            if response.status_code != 200:
                raise LoginRefused(f"the provider answered {response.status_code}")

    def _client(self, redirect_url: str | None) -> AsyncOAuth2Client:
        from authlib.integrations.httpx_client import AsyncOAuth2Client

        provider = self.provider
        has_secret = provider.client_secret is not None
        method = f"client_secret_{provider.client_auth}" if has_secret else "none"
        client = AsyncOAuth2Client(
            client_id=provider.client_id,
            client_secret=provider.client_secret,
            token_endpoint_auth_method=method,
            revocation_endpoint_auth_method=method,
            scope=" ".join(provider.scopes) or None,
            redirect_uri=redirect_url,
            code_challenge_method="S256",
            timeout=self.timeout_s,
            trust_env=False,
            follow_redirects=False,
            proxy=self.proxies.proxy_for(provider.token_url),
        )
        for hook in ("access_token_response", "refresh_token_response"):
            client.register_compliance_hook(hook, _with_own_name_of_lifetime)
        return client

    @asynccontextmanager
    async def _answering(self, *secrets: str) -> AsyncIterator[None]:
        """Bounds a request, and translates its errors; none keeps a cause, which may hold a token.

        Args:
            secrets: masked in messages.
        """
        own = self.provider.client_secret
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
        except (LoginRefused, LoginUnavailable):
            raise
        except TimeoutError:
            message = f"the authorization server gave no answer within {self.timeout_s:g} s"
            raise LoginUnavailable(message) from None
        except Exception as error:  # Authlib raises its own, those of the HTTP library, and ValueError
            raise _translated(error, (*secrets, *([] if own is None else [own]))) from None

    def _tokens(self, answer: Any) -> Tokens:
        """The tokens of an answer. Raises LoginRefused: it breaks RFC 6749."""
        access, refresh = answer.get("access_token"), answer.get("refresh_token")
        if not isinstance(access, str) or not _TOKEN.fullmatch(access):
            raise LoginRefused("the provider gave no access_token of visible characters")
        if str(answer.get("token_type", "bearer")).lower() != "bearer":
            raise LoginRefused("the provider gave a token that is no bearer token")
        if refresh is not None and (not isinstance(refresh, str) or not _TOKEN.fullmatch(refresh)):
            raise LoginRefused("the provider gave a refresh_token of other than visible characters")
        lifetime_s = _seconds(answer.get(LIFETIME))
        if lifetime_s is None:
            return Tokens(access, refresh)
        now = self.clock()
        margin_s = min(LONGEST_MARGIN_S, MARGIN * lifetime_s)
        return Tokens(
            access,
            refresh,
            expires_at=now + timedelta(seconds=lifetime_s),
            refresh_at=now + timedelta(seconds=lifetime_s - margin_s),
        )


def _with_own_name_of_lifetime(response: Any) -> Any:
    """The answer with the token's lifetime where Authlib does not read it."""
    try:
        answer = orjson.loads(response.content)
    except ValueError:
        return response
    if not isinstance(answer, dict) or not {"expires_in", "expires_at"} & answer.keys():
        return response
    kept = {name: value for name, value in answer.items() if name not in ("expires_in", "expires_at")}
    kept[LIFETIME] = answer.get("expires_in")
    return type(response)(response.status_code, json=kept, request=response.request)


def _translated(error: Exception, secrets: tuple[str, ...]) -> LoginRefused | LoginUnavailable:
    from authlib.integrations.base_client import OAuthError

    if isinstance(error, OAuthError):
        code = str(error.error)
        code = code if _CODE.fullmatch(code) else "an error"
        return _refused(f"the provider answered {code}{_described(error.description, secrets)}", code)
    status = getattr(getattr(error, "response", None), "status_code", None)
    what = type(error).__name__ if status is None else f"HTTP {status}"
    return LoginUnavailable(f"the authorization server failed: {what}")


def _refused(message: str, code: str) -> LoginRefused | LoginUnavailable:
    return LoginUnavailable(message) if code in _PASSING else LoginRefused(message, param=code)


def _described(description: object, secrets: tuple[str, ...]) -> str:
    if not isinstance(description, str) or not description.isprintable():
        return ""
    for secret in secrets:
        description = description.replace(secret, "***")
    return f": {description[:200]}" if description else ""


def _seconds(value: object) -> float | None:
    """A lifetime in seconds; None: it is not stated."""
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 < seconds <= LONGEST_LIFETIME_S else None


def _require_nonce(answer: Any, nonce: str) -> None:
    """Require that the id token is of this login.

    Its signature is not checked: it came from the token endpoint itself (OpenID Connect Core, 3.1.3.7).

    Raises:
        LoginRefused: there is none, or it has another nonce.
    """
    try:
        payload = str(answer.get("id_token")).split(".")[1]
        claims = orjson.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        given = claims["nonce"]
    except (IndexError, KeyError, TypeError, ValueError):
        given = None
    if given != nonce:
        raise LoginRefused("the id_token of the provider has another nonce, or none")
