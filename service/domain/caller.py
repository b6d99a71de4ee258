"""Who sends a request: the tenant whose data it sees, and what its key allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from uuid import UUID

from service.domain.basics import DEFAULT_TENANT
from service.domain.limit import Limit
from service.domain.value import value

# inference: ask models; feedback: rate answers; read: see what is logged; admin: change how the router works.
Scope = Literal["inference", "feedback", "read", "admin"]
ALL_SCOPES: frozenset[Scope] = frozenset({"inference", "feedback", "read", "admin"})


@value
class Caller:
    """Who sends a request."""

    tenant: str
    scopes: frozenset[Scope]
    key_id: UUID | None = None  # None: without a key, or with the operator's ADMIN_KEY
    key_name: str | None = None
    models: frozenset[str] | None = None  # ids or aliases of the models that it may ask; None: any
    limits: tuple[Limit, ...] = ()  # of its key; those of its tenant are in the settings

    def may_ask(self, names: Iterable[str]) -> bool:
        """Whether it may ask a model that has these names."""
        return self.models is None or not self.models.isdisjoint(names)


ANONYMOUS = Caller(DEFAULT_TENANT, ALL_SCOPES)  # where nobody needs a key
NOBODY = Caller(DEFAULT_TENANT, frozenset())  # whose request is refused
