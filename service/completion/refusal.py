"""The refusals of one request, and the one that helps its client most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.errors import ProviderRejected


@dataclass(frozen=True, slots=True)
class Refusal:
    """An arm's refusal of a request.

    Args:
        features: of the request, which the refusal names; empty: it names none.
    """

    error: ProviderRejected
    features: frozenset[str]

    @property
    def usefulness(self) -> tuple[bool, bool, bool]:
        """The larger, the better the client knows what to change."""
        return bool(self.features), self.error.param is not None, self.error.code is not None


def most_useful(refusals: Sequence[Refusal]) -> ProviderRejected:
    """The error for a client whose request every arm refuses; of equally useful ones the first."""
    return max(refusals, key=lambda refusal: refusal.usefulness).error
