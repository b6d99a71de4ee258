"""A response of the Responses dialect that its client can read again and continue by its id."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from service.domain.basics import Json


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One response.

    Args:
        previous_id: the response that the request continued; None: it began a conversation.
        input: the items of the request itself.
        response: the answer as its client got it.
    """

    tenant: str
    response_id: str
    previous_id: str | None
    input: tuple[Json, ...]
    response: Json
    created_at: datetime
