"""Tiers: ordered groups of arms, from the simplest to the strongest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Tiers:
    """Ordered groups of arms; an arm is in one tier at most.

    Args:
        arms: the ids of the arms of each tier, by its name, weakest tier first.
    """

    arms: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def of(self, arm_id: str) -> str | None:
        """The tier of an arm; None: it is in no tier."""
        return next((tier for tier, arm_ids in self.arms.items() if arm_id in arm_ids), None)

    def at_least(self, tier: str) -> frozenset[str]:
        """The arms of a tier and of all above it."""
        names = list(self.arms)
        return frozenset().union(*(self.arms[name] for name in names[names.index(tier) :]))

    def above(self, tier: str) -> list[str]:
        """The tiers above a tier, the next one first."""
        names = list(self.arms)
        return names[names.index(tier) + 1 :]
