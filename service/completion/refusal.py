"""The refusals of one request, and the one that helps its client most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import ProviderRejected


@dataclass(frozen=True, slots=True)
class Refusal:
    """An arm's refusal of a request.

    Args:
        error: of its provider, or of the router's own adapter before any call.
        features: of the request, which the refusal names; empty: it names none.
    """

    arm_id: str
    error: ProviderRejected
    features: frozenset[str]

    @property
    def usefulness(self) -> tuple[bool, ...]:
        """The larger, the better the client knows what to change."""
        error = self.error
        return not error.is_local, bool(self.features), error.param is not None, error.code is not None


def most_useful(refusals: Sequence[Refusal]) -> ProviderRejected:
    """The error for a client whose request every arm refuses; of equally useful ones the first."""
    return max(refusals, key=lambda refusal: refusal.usefulness).error
