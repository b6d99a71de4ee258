"""The keys as they were last read, in a file: for a start while PostgreSQL is away."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import UUID

import orjson
import structlog

from service.domain.api_key import ApiKey
from service.domain.basics import Json
from service.domain.limit import Limit, Subject

log = structlog.get_logger(__name__)


class KeyCopy:
    """A file that only its owner can read. Like the database it has digests and no keys.

    Args:
        database: names the database whose keys they are; those of another one are not read.
    """

    def __init__(self, path: Path, database: str) -> None:
        self._path = path
        self._database = database

    def read(self) -> list[ApiKey]:
        """The keys; none: they were never read, there were none, or the file is damaged."""
        try:
            content = orjson.loads(self._path.read_bytes())
            return [_key(each) for each in content["keys"]] if content["database"] == self._database else []
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("copy_of_keys_unreadable", error=type(error).__name__)
            return []

    def write(self, keys: Iterable[ApiKey]) -> None:
        """Replace the file. If the disk takes nothing, only a start without PostgreSQL misses it."""
        content = orjson.dumps({"database": self._database, "keys": [_as_json(key) for key in keys]})
        try:
            handle, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                os.replace(temporary, self._path)
            except OSError:
                os.unlink(temporary)
                raise
        except OSError as error:
            log.warning("copy_of_keys_not_written", error=type(error).__name__)
            self.remove()

    def remove(self) -> None:
        """Keep no copy rather than an old one, in which a revoked key would be valid."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _as_json(key: ApiKey) -> Json:
    return {
        "key_id": str(key.key_id),  # that of the driver is a type of its own
        "name": key.name,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else sorted(key.models),
        "digest": key.digest.hex(),
        "secret_id": key.secret_id,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "replaces": None if key.replaces is None else str(key.replaces),
        "limits": [[each.subject.name, each.measure, each.amount] for each in key.limits],
    }


def _key(each: Json) -> ApiKey:
    return ApiKey(
        key_id=UUID(each["key_id"]),
        name=each["name"],
        tenant=each["tenant"],
        scopes=frozenset(each["scopes"]),
        models=None if each["models"] is None else frozenset(each["models"]),
        digest=bytes.fromhex(each["digest"]),
        secret_id=each["secret_id"],
        created_at=datetime.fromisoformat(each["created_at"]),
        expires_at=_moment(each["expires_at"]),
        revoked_at=_moment(each["revoked_at"]),
        replaces=None if each["replaces"] is None else UUID(each["replaces"]),
        limits=tuple(
            Limit.parsed(Subject("key", counted_as), measure, amount)
            for counted_as, measure, amount in each["limits"]
        ),
    )


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
