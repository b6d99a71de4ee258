"""A key of the router's own, as its database knows it: never the key itself, only a keyed digest."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from service.domain.caller import Caller, Scope
from service.domain.limit import Limit
from service.domain.value import value

PREFIX = "rk-"  # no provider's keys begin so
_KEY = re.compile(rf"(?<!\w){PREFIX}[\w-]+")


def masked(text: str) -> str:
    """The text without the keys in it, such as one that was pasted into a path in place of its name."""
    return _KEY.sub(f"{PREFIX}…", text) if PREFIX in text else text


@value
class ApiKey:
    """A key that callers may use.

    Args:
        models: ids or aliases of the models that it may ask; None: any.
        digest: HMAC-SHA256 of the key, 32 bytes.
        secret_id: names the secret that the digest was made with, and tells nothing about it.
        expires_at: from then on it is refused; None: never.
        last_used_at: to a minute; None: never.
        replaces: the key that it was made to replace; None: none.
        limits: of this key, and of those that it replaces, which count together.
    """

    key_id: UUID
    name: str
    tenant: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None
    digest: bytes
    secret_id: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    replaces: UUID | None = None
    limits: tuple[Limit, ...] = ()

    @property
    def caller(self) -> Caller:
        """Who sends a request with this key."""
        return Caller(self.tenant, self.scopes, self.key_id, self.name, self.models, self.limits)

    def reason_against(self, now: datetime) -> str | None:
        """Why it is refused; None: it is valid."""
        if self.revoked_at is not None:
            return f"was revoked at {self.revoked_at:%Y-%m-%d %H:%M} UTC"
        if self.expires_at is not None and self.expires_at <= now:
            return f"expired at {self.expires_at:%Y-%m-%d %H:%M} UTC"
        return None
