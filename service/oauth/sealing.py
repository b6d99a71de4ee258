"""Encrypts what is stored of logins, with keys that serve this purpose alone."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from service.secret_key import derived


class Sealer:
    """Encrypts with the first secret, and decrypts with any of them.

    Each purpose has keys of its own (HKDF, RFC 5869), so that nothing sealed for one opens for another.

    Args:
        secrets: newest first.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = tuple(secrets)

    def __repr__(self) -> str:
        return "Sealer()"

    def seal(self, purpose: str, content: bytes) -> bytes:
        return self._keys(purpose).encrypt(content)

    def open(self, purpose: str, sealed: bytes) -> bytes:
        """Raises ValueError: it was sealed with another secret, or for another purpose."""
        try:
            return self._keys(purpose).decrypt(sealed)
        except InvalidToken:
            raise ValueError("it was encrypted with another SECRET_KEY") from None

    def _keys(self, purpose: str) -> MultiFernet:
        return MultiFernet([Fernet(_fernet_key(secret, purpose)) for secret in self._secrets])


def _fernet_key(secret: str, purpose: str) -> bytes:
    return urlsafe_b64encode(derived(secret, f"oauth {purpose}"))
