"""Login desks of replicas that share a store, at an authorization server on loopback."""

from __future__ import annotations

from service.domain.hosts import origin_of_url
from service.domain.oauth import OAuthProvider
from service.domain.ports import Clock
from service.domain.proxies import Proxies
from service.oauth.authorization_server import AuthorizationServer
from service.oauth.logins import LoginDesk
from service.oauth.sealing import Sealer
from service.oauth.token_store import TokenStore
from service.oauth.tokens import TokenKeeper
from tests.oauth_server import CLIENT_ID, CLIENT_SECRET, OAuthServer, parameters

SECRET = "a-secret-of-the-operator-32-characters"
NAME = "vendor"


def desk_at(
    server: OAuthServer,
    store: TokenStore,
    clock: Clock,
    *,
    secrets: tuple[str, ...] = (SECRET,),
    scopes: tuple[str, ...] = ("models.call",),
    base_url: str = "https://api.vendor.example/v1",
    timeout_s: float = 10.0,
) -> LoginDesk:
    """The login desk of one replica."""
    provider = OAuthProvider(
        name=NAME,
        authorize_url=f"{server.origin}/authorize",
        token_url=f"{server.origin}/token",
        revoke_url=f"{server.origin}/revoke",
        client_id=CLIENT_ID,
        client_secret=None if server.is_public else CLIENT_SECRET,
        scopes=scopes,
        origins=frozenset({origin_of_url(base_url)}),
    )
    servers = {NAME: AuthorizationServer(provider, clock, Proxies(), timeout_s)}
    sealer = Sealer(secrets)
    return LoginDesk(servers, store, sealer, TokenKeeper(servers, store, sealer, clock), clock)


async def log_in(desk: LoginDesk, server: OAuthServer) -> str:
    """Log in as an operator with a browser does; returns the access token."""
    begun = await desk.begin(NAME, 8080)
    answer = parameters(await server.approve(begun.url))
    await desk.finish(answer["state"], answer.get("code"), answer.get("error"))
    return await desk.keeper.token(NAME)
