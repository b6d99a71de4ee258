"""Makes keys for callers, and the keyed digests by which they are recognised."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence

from service.domain.api_key import PREFIX
from service.secret_key import derived

N_RANDOM_BYTES = 32
LONGEST = 200  # characters that are digested


def new_key() -> str:
    """A key that nobody can guess: 256 random bits after its prefix."""
    return PREFIX + secrets.token_urlsafe(N_RANDOM_BYTES)


class KeyDigests:
    """Digests keys with the first secret, and recognises those that were digested with any of them.

    Args:
        of_secrets: newest first.
    """

    def __init__(self, of_secrets: Sequence[str]) -> None:
        self._keys = [derived(secret, "api keys") for secret in of_secrets]
        self.secret_ids = [
            derived(secret, "name of the secret of api keys")[:8].hex() for secret in of_secrets
        ]

    def __repr__(self) -> str:
        return "KeyDigests()"

    def newest(self, key: str) -> tuple[bytes, str]:
        """The digest to store, and the name of the secret that it was made with."""
        return self.of(key)[0], self.secret_ids[0]

    def of(self, key: str) -> list[bytes]:
        """The digests that the key may be stored under, 32 bytes each."""
        content = key[:LONGEST].encode()
        return [hmac.digest(secret, content, "sha256") for secret in self._keys]
