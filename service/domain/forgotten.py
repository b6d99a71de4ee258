"""Which requests are to be forgotten, and the result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

Selector = Literal["request", "session", "tenant", "all"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The requests to forget: those of all the given properties.

    Args:
        decided_before: requests of this moment or later are kept.

    Raises:
        ValueError: a request or a session is named without its tenant, or both are named.
    """

    decided_before: datetime
    tenant: str | None = None  # None: every tenant
    request_id: str | None = None
    session_id: str | None = None

    def __post_init__(self) -> None:
        if self.request_id is not None and self.session_id is not None:
            raise ValueError("a selection names a request or a session, not both")
        if self.tenant is None and self.name is not None:
            raise ValueError("a request or a session must be named with its tenant")

    @property
    def selector(self) -> Selector:
        if self.request_id is not None:
            return "request"
        if self.session_id is not None:
            return "session"
        return "all" if self.tenant is None else "tenant"

    @property
    def name(self) -> str | None:
        """The id of the request or of the session; None: neither is named."""
        return self.session_id if self.request_id is None else self.request_id

    def digest(self, forgotten_id: UUID) -> bytes:
        """What was named, so that it can be recognised but not read; different in each deletion."""
        named = "\0".join((self.selector, self.tenant or "", self.name or ""))
        return hashlib.sha256(forgotten_id.bytes + named.encode("utf-8", "replace")).digest()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was deleted.

    Args:
        counts: deleted rows by table.
        n_unanswered: selected requests that were kept, because they were still being answered.
    """

    forgotten_id: UUID
    selector: Selector
    counts: Mapping[str, int]
    n_unanswered: int


@dataclass(frozen=True, slots=True)
class Tombstones:
    """What a replica has yet to delete.

    Args:
        revision: changes with every deletion of requests.
        decision_ids: decisions that the memory must not hold.
    """

    revision: tuple[object, ...]
    decision_ids: Sequence[UUID]


class ForgottenDecisions(Protocol):
    """The decisions that replicas must not hold. Raises StoreUnavailable."""

    async def tombstones(self, limit: int) -> Tombstones: ...

    async def mark_removed(self, decision_ids: Sequence[UUID]) -> None:
        """The memory has removed these decisions."""
        ...

    async def prune(self) -> None:
        """Delete the ids of decisions that nothing can bring back any more."""
        ...
