"""Opens the logins at providers: their clients, the key that seals their tokens, the copy of the tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from service.domain.clock import now
from service.domain.hosts import origin_of_url
from service.domain.oauth import OAuthProvider
from service.domain.proxies import Proxies
from service.errors import StartupError
from service.oauth.authorization_server import AuthorizationServer, warm
from service.oauth.logins import LoginDesk
from service.oauth.sealing import Sealer
from service.oauth.tokens import TokenKeeper
from service.secret_key import secrets_of
from service.settings.providers_auth import OAuthSettings
from service.settings.settings import Settings
from service.store.connection.pool import Database
from service.store.oauth import PostgresTokenStore


def login_providers(settings: Settings, environ: Mapping[str, str]) -> tuple[OAuthProvider, ...]:
    """The entries of `providers_auth`, with the secrets of their clients, which are set."""
    return tuple(_provider(name, entry, environ) for name, entry in settings.providers_auth.items())


def _provider(name: str, entry: OAuthSettings, environ: Mapping[str, str]) -> OAuthProvider:
    variable = entry.client_secret_env
    return OAuthProvider(
        name=name,
        authorize_url=entry.authorize_url,
        token_url=entry.token_url,
        client_id=entry.client_id,
        origins=frozenset(map(origin_of_url, entry.base_urls)),
        client_secret=None if variable is None else environ[variable],
        client_auth=entry.client_auth,
        scopes=entry.scopes,
        redirect_url=entry.redirect_url,
        revoke_url=entry.revoke_url,
        authorize_params=entry.authorize_params,
    )


async def open_logins(
    settings: Settings, environ: Mapping[str, str], data_dir: Path, database: Database, stack: AsyncExitStack
) -> LoginDesk | None:
    """The logins; None: `providers_auth` is empty.

    Raises:
        StartupError: SECRET_KEY is too short, or a proxy is not supported.
    """
    providers, proxies = login_providers(settings, environ), Proxies.of(environ)
    if not providers:
        return None
    try:
        for provider in providers:
            proxies.proxy_for(provider.token_url)
    except ValueError as error:
        raise StartupError(str(error)) from error
    own = settings.secret_key
    given = None if own is None else own.get_secret_value()
    sealer = Sealer(await asyncio.to_thread(secrets_of, given, data_dir))
    await asyncio.to_thread(warm)
    servers = {provider.name: AuthorizationServer(provider, now, proxies) for provider in providers}
    store = PostgresTokenStore(database)
    keeper = TokenKeeper(servers, store, sealer, now)
    await keeper.start()
    stack.push_async_callback(keeper.close)
    return LoginDesk(servers, store, sealer, keeper, now)
