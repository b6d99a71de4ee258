"""Makes, lists, rotates and revokes the keys of callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from datetime import timedelta
from typing import Literal
from uuid import UUID, uuid4

from service.access.key_digests import KeyDigests, new_key
from service.access.key_store import ApiKeyStore
from service.access.keyring import Keyring
from service.domain.api_key import ApiKey
from service.domain.caller import Scope
from service.domain.limit import Limit, Measure, Subject, limits_of
from service.domain.ports import Clock
from service.domain.value import value
from service.errors import KeyConflict, UnknownKey

KeyState = Literal["valid", "expired", "revoked", "of another SECRET_KEY"]


@value
class NewKey:
    """What a new key may do.

    Args:
        models: ids or aliases of the models that it may ask; None: any.
        lifetime: None: without end.
        limits: what it may use, such as `5/day`, by measure.
    """

    name: str
    tenant: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    lifetime: timedelta | None = None
    limits: Mapping[Measure, Sequence[str]] = field(default_factory=dict)


@value
class IssuedKey:
    """A new key, which is shown once, and what the database keeps of it."""

    secret: str
    key: ApiKey

    def __repr__(self) -> str:
        return f"IssuedKey({self.key.key_id})"


class KeyDesk:
    """The keys of callers, for the operator. Every method raises StoreUnavailable.

    Args:
        keyring: that of this process, where each change counts before the method returns.
    """

    def __init__(self, store: ApiKeyStore, digests: KeyDigests, clock: Clock, keyring: Keyring) -> None:
        self._store = store
        self._digests = digests
        self._clock = clock
        self._keyring = keyring

    def state_of(self, key: ApiKey) -> KeyState:
        """Whether callers may use the key now."""
        if key.revoked_at is not None:
            return "revoked"
        if key.reason_against(self._clock()) is not None:
            return "expired"
        return "valid" if key.secret_id in self._digests.secret_ids else "of another SECRET_KEY"

    async def listed(self) -> Sequence[ApiKey]:
        """Every key, also revoked ones, the newest first."""
        return await self._store.all()

    async def create(self, wanted: NewKey) -> IssuedKey:
        """Make a key.

        Raises:
            KeyConflict: a key that was not revoked has that name.
            ValueError: a limit is malformed, or two are for one period.
        """
        if self._named(wanted.name, await self._store.all()):
            raise KeyConflict(f"a key {wanted.name!r} exists already: revoke it, or take another name")
        key_id = uuid4()
        limits = limits_of(Subject("key", str(key_id)), wanted.limits)
        issued = await self._issue(key_id, wanted, None, limits)
        await self._keyring.take_over()
        return issued

    async def rotate(self, reference: str, overlap: timedelta) -> IssuedKey:
        """Make a key with the same rights; the old one is valid for the overlap and not longer.

        Args:
            reference: the old key's id or name.

        Raises:
            UnknownKey: no key that was not revoked has that id or name.
            KeyConflict: several valid ones have that name, or the key has expired.
        """
        old, now = await self._find(reference), self._clock()
        if old.reason_against(now) is not None:
            raise KeyConflict(f"the key {old.name!r} {old.reason_against(now)}: make another one")
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        wanted = NewKey(old.name, old.tenant, old.scopes, old.models, lifetime)
        issued = await self._issue(uuid4(), wanted, old.key_id, old.limits)
        if overlap > timedelta(0):
            await self._store.end(old.key_id, revoked_at=None, expires_at=now + overlap)
        else:
            await self._store.end(old.key_id, revoked_at=now, expires_at=None)
        await self._keyring.take_over()
        return issued

    async def revoke(self, reference: str) -> ApiKey:
        """Refuse a key from now on, in all replicas. Raises as `rotate`."""
        key = await self._find(reference)
        await self._store.end(key.key_id, revoked_at=self._clock(), expires_at=None)
        await self._keyring.take_over()
        return key

    async def limit(self, reference: str, amounts: Mapping[Measure, Sequence[str]]) -> ApiKey:
        """Replace the limits of a key; what was used stays counted.

        Raises as `rotate`, and ValueError as `create`.
        """
        key = await self._find(reference)
        subject = key.limits[0].subject if key.limits else Subject("key", str(key.key_id))
        limits = limits_of(subject, amounts)
        await self._store.put_limits(key.key_id, limits)
        await self._keyring.take_over()
        return replace(key, limits=limits)

    async def _issue(
        self, key_id: UUID, wanted: NewKey, replaces: UUID | None, limits: tuple[Limit, ...]
    ) -> IssuedKey:
        secret, now = new_key(), self._clock()
        digest, secret_id = self._digests.newest(secret)
        key = ApiKey(
            key_id=key_id,
            name=wanted.name,
            tenant=wanted.tenant,
            scopes=wanted.scopes,
            models=wanted.models,
            digest=digest,
            secret_id=secret_id,
            created_at=now,
            expires_at=None if wanted.lifetime is None else now + wanted.lifetime,
            replaces=replaces,
            limits=limits,
        )
        await self._store.add(key)
        return IssuedKey(secret, key)

    async def _find(self, reference: str) -> ApiKey:
        keys = await self._store.all()
        found = [key for key in keys if str(key.key_id) == reference and key.revoked_at is None]
        found = found or self._named(reference, keys)
        if len(found) > 1:  # a rotated key that has expired leaves its name to the new one
            found = [key for key in found if key.reason_against(self._clock()) is None] or found
        if not found:
            raise UnknownKey(f"no key in use has the id or the name {reference!r}", param="key")
        if len(found) > 1:
            ids = ", ".join(str(key.key_id) for key in found)
            raise KeyConflict(f"{len(found)} keys are named {reference!r}; name one by its id: {ids}")
        return found[0]

    def _named(self, name: str, keys: Sequence[ApiKey]) -> list[ApiKey]:
        return [key for key in keys if key.name == name and key.revoked_at is None]
