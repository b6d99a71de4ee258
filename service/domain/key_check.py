"""What a provider said of a key, when it was asked something that costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

REJECTING_STATUSES = frozenset({401, 403})
KeyState = Literal["accepted", "rejected", "unknown"]


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """Whether an arm's provider accepts its key."""

    state: KeyState
    reason: str | None = None  # why it is rejected, or not known
    at: datetime | None = None  # None: the provider was not asked
