"""An authorization server on loopback that can misbehave, for logins by OAuth."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import MutableMapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import count
from types import TracebackType
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
from aiohttp import web

from service.domain.basics import Json

CLIENT_ID, CLIENT_SECRET = "the-router", "the-secret-of-the-operators-client"


@dataclass
class Behaviour:
    """How the server answers; a test changes it."""

    denies: bool = False
    wrong_state: bool = False
    wrong_nonce: bool = False
    codes_expire: bool = False
    rotates: bool = True  # refresh tokens
    gives_refresh_tokens: bool = True
    lifetime_s: object = 3600
    token_status: int = 200  # of /token, if it fails without reading
    token_body: str = "the gateway is down"
    revoke_status: int = 200
    may_answer: asyncio.Event | None = None  # None: at once


@dataclass
class OAuthServer(AbstractAsyncContextManager["OAuthServer"]):
    """Between `async with` it listens on a free port of loopback.

    Args:
        keys: by access token, 200 while it is valid; the upstream's own keys.
    """

    keys: MutableMapping[str, int]
    behaviour: Behaviour = field(default_factory=Behaviour)
    is_public: bool = False  # whether its client has no secret
    origin: str = ""
    codes: dict[str, Json] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    issued: list[str] = field(default_factory=list)  # every token and code
    grants: list[str] = field(default_factory=list)  # of calls of /token
    revoked: list[str] = field(default_factory=list)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)  # /token

    async def __aenter__(self) -> OAuthServer:
        self._numbers = count(1)
        app = web.Application()
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_post("/revoke", self._revoke)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def settings(self, base_url: str, **more: object) -> Json:
        """An entry of `providers_auth` for this server."""
        entry: Json = {
            "authorize_url": f"{self.origin}/authorize",
            "token_url": f"{self.origin}/token",
            "revoke_url": f"{self.origin}/revoke",
            "client_id": CLIENT_ID,
            "client_secret_env": "OAUTH_SECRET",
            "scopes": ["models.read", "models.call"],
            "base_urls": [base_url],
        }
        return entry | more

    async def approve(self, authorize_url: str) -> str:
        """Follow the URL as the operator's browser does; returns the address that it is led to."""
        assert authorize_url.startswith(f"{self.origin}/authorize?")
        async with httpx.AsyncClient() as browser:
            response = await browser.get(authorize_url)
        assert response.status_code == 302, response.text
        return str(response.headers["location"])

    async def _authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        answer = {"state": "another" if self.behaviour.wrong_state else asked["state"]}
        if self.behaviour.denies:
            answer["error"] = "access_denied"
        else:
            answer["code"] = self._new("code")
            self.codes[answer["code"]] = asked
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(answer)}")

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.grants.append(form["grant_type"])
        self.is_asked.set()
        if self.behaviour.may_answer is not None:
            await self.behaviour.may_answer.wait()
        if self.behaviour.token_status != 200:
            return web.Response(text=self.behaviour.token_body, status=self.behaviour.token_status)
        if not self._knows_client(request, form):
            return _error("invalid_client", "who is this?")
        if form["grant_type"] == "authorization_code":
            return self._for_code(form)
        return self._for_refresh_token(form)

    def _for_code(self, form: dict[str, str]) -> web.Response:
        asked = self.codes.pop(form["code"], None)
        if asked is None or self.behaviour.codes_expire or form["redirect_uri"] != asked["redirect_uri"]:
            return _error("invalid_grant", f"the code {form['code']} has expired")
        if _challenge(form["code_verifier"]) != asked["code_challenge"]:
            return _error("invalid_grant", "the verifier is another")
        nonce = "another" if self.behaviour.wrong_nonce else asked.get("nonce")
        return self._answer(None if nonce is None else _id_token(nonce))

    def _for_refresh_token(self, form: dict[str, str]) -> web.Response:
        token = form["refresh_token"]
        if token not in self.refresh_tokens:
            return _error("invalid_grant", f"the refresh token {token} was revoked")
        if self.behaviour.rotates:
            self.refresh_tokens.discard(token)
        return self._answer(None)

    def _answer(self, id_token: str | None) -> web.Response:
        access = self._new("access")
        self.keys[access] = 200
        answer: Json = {"access_token": access, "token_type": "Bearer"}
        if self.behaviour.lifetime_s is not None:
            answer["expires_in"] = self.behaviour.lifetime_s
        if self.behaviour.gives_refresh_tokens and (self.behaviour.rotates or not self.refresh_tokens):
            answer["refresh_token"] = self._new("refresh")
            self.refresh_tokens.add(answer["refresh_token"])
        if id_token is not None:
            answer["id_token"] = id_token
        return web.json_response(answer)

    async def _revoke(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.revoked.append(str(form["token"]))
        return web.Response(status=self.behaviour.revoke_status)

    def _knows_client(self, request: web.Request, form: dict[str, str]) -> bool:
        if self.is_public:
            return form.get("client_id") == CLIENT_ID and "authorization" not in request.headers
        if "client_secret" in form:
            return (form["client_id"], form["client_secret"]) == (CLIENT_ID, CLIENT_SECRET)
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return scheme == "Basic" and b64decode(value).decode() == f"{CLIENT_ID}:{CLIENT_SECRET}"

    def _new(self, kind: str) -> str:
        token = f"{kind}-{next(self._numbers)}-0123456789abcdef"
        self.issued.append(token)
        return token


def _error(code: str, description: str) -> web.Response:
    return web.json_response({"error": code, "error_description": description}, status=400)


def _challenge(verifier: str) -> str:
    return urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _id_token(nonce: str) -> str:
    payload = urlsafe_b64encode(json.dumps({"nonce": nonce}).encode()).rstrip(b"=").decode()
    return f"e30.{payload}.signature"


def parameters(url: str) -> dict[str, str]:
    """The parameters of a URL, each once."""
    return {name: value for name, [value] in parse_qs(urlsplit(url).query).items()}
