"""Opens what recognises callers, and refuses a start that would leave the service open or useless."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from service.access.key_copy import KeyCopy
from service.access.key_digests import KeyDigests
from service.access.keyring import Keyring
from service.domain.hosts import is_loopback
from service.errors import StartupError
from service.secret_key import secrets_of
from service.settings.settings import Settings

log = structlog.get_logger(__name__)


async def key_digests(settings: Settings, data_dir: Path) -> KeyDigests:
    """What keys are digested with. Raises StartupError: SECRET_KEY, or its file, cannot be used."""
    own = settings.secret_key
    given = None if own is None else own.get_secret_value()
    return KeyDigests(await asyncio.to_thread(secrets_of, given, data_dir))


def key_copy(settings: Settings, data_dir: Path) -> KeyCopy:
    """The copy of the keys of the configured database, which is named without its login."""
    url = settings.database_url
    server = None if url is None else urlsplit(url.get_secret_value())
    database = "embedded" if server is None else server.netloc.rpartition("@")[2] + server.path
    return KeyCopy(data_dir / "api_keys.json", database)


def require_callers(settings: Settings, keyring: Keyring) -> None:
    """Check, before the service listens, that strangers cannot call it and somebody can.

    Without PostgreSQL the keys are not known, and callers are refused until they are.

    Raises:
        StartupError: it listens beyond loopback, and nobody has a key.
    """
    if settings.allow_anonymous:
        log.warning("anonymous_callers_allowed", host=settings.host)
        return
    if is_loopback(settings.host) or settings.admin_key is not None or not keyring.is_loaded:
        return
    if not keyring.has_valid:
        raise StartupError(
            f"HOST {settings.host} is not a loopback address, and no caller has a key: make one with "
            "`router keys create --name NAME`, set ADMIN_KEY, or let everybody in with ALLOW_ANONYMOUS=true"
        )
