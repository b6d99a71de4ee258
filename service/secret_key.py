"""The secrets of SECRET_KEY, or of a file in DATA_DIR, and the keys that are derived from them."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from service.errors import StartupError

SECRET_FILE = "secret.key"  # noqa: S105  # the name of a file
SHORTEST = 32  # characters of a secret


def derived(secret: str, purpose: str) -> bytes:
    """The key of 32 bytes that serves one purpose alone (HKDF, RFC 5869)."""
    kdf = HKDF(algorithm=SHA256(), length=32, salt=None, info=f"llm-router {purpose}".encode())
    return kdf.derive(secret.encode())


def secrets_of(setting: str | None, data_dir: Path) -> list[str]:
    """The secrets of SECRET_KEY, newest first, or the one of the data folder, which is made if there is none.

    Raises:
        StartupError: a secret is too short, or the file cannot be read or made.
    """
    if setting is not None:
        given = [secret.strip() for secret in setting.split(",")]
        if any(len(secret) < SHORTEST for secret in given):
            raise StartupError(f"SECRET_KEY: each secret must have at least {SHORTEST} characters")
        return given
    path = data_dir / SECRET_FILE
    try:
        if not path.exists():
            _make(path)
        found = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise StartupError(f"DATA_DIR: {path} cannot be used: {type(error).__name__}") from error
    if not found or any(len(secret) < SHORTEST for secret in found):
        raise StartupError(f"DATA_DIR: {path} must have a secret of at least {SHORTEST} characters a line")
    return found


def _make(path: Path) -> None:
    """Write a new secret that only this user can read; another process may do the same at the same time."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{SECRET_FILE}")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{secrets.token_urlsafe(SHORTEST)}\n")
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
    finally:
        os.unlink(temporary)
