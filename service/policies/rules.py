"""Rules: what narrows the choice of arms, and when."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.narrowing import Narrowing
from service.policies.conditions import Conditions


@dataclass(frozen=True, slots=True)
class Rule:
    """What narrows the choice of arms if its conditions hold.

    Args:
        arm_ids: the arms to choose among; None: any.
        fallback_arm_id: answers if none of `arm_ids` can; None: the request is rejected.
        follows_tiers: whether the rule names a tier, which a weak answer may leave for the next one.
        escalates: whether weak answers escalate; None: as ESCALATION says.
    """

    name: str
    conditions: Conditions
    arm_ids: frozenset[str] | None = None
    fallback_arm_id: str | None = None
    follows_tiers: bool = False
    escalates: bool | None = None

    def narrowings(self) -> tuple[Narrowing, ...]:
        """What the rule leaves, and what is left if no arm of that can answer."""
        first = Narrowing(
            reason=f"rule {self.name}",
            arm_ids=self.arm_ids,
            rule=self.name,
            allows_escalation=self.follows_tiers or self.arm_ids is None,
            escalates=self.escalates,
        )
        if self.fallback_arm_id is None:
            return (first,)
        fallback = Narrowing(
            f"fallback_model of rule {self.name}", frozenset({self.fallback_arm_id}), self.name, False, False
        )
        return first, fallback
