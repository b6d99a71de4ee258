"""A request for moderations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """Texts and images to judge.

    Args:
        model: None: the first model.
        content: as the client wrote it.
    """

    model: str | None
    content: object
