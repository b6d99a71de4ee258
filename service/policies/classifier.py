"""A classifier: finds one tag of a request."""

from __future__ import annotations

from typing import Protocol

from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag


class Classifier(Protocol):
    """Finds one tag of a request."""

    @property
    def name(self) -> str:
        """The name of its tag, such as `intent`."""
        ...

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        """The tag of a query; None: it has none. Never raises, and waits only within a time limit of its own.

        Args:
            context: the vector of `query.text`, shape (d,); None: the encoder is unavailable.
        """
        ...
