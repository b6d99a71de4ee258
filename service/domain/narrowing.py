"""Which arms the policies leave to choose among for one query."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Narrowing:
    """The arms that the policies leave, and why.

    It never adds an arm that the client or a capability excludes.

    Args:
        reason: why another arm may not answer, such as `rule costly`.
        arm_ids: the arms to choose among; None: any.
        rule: the name of the rule that matched; None: no rule did.
        allows_escalation: whether a weak answer may leave `arm_ids` for the next tier.
        escalates: whether weak answers escalate; None: as ESCALATION says.
    """

    reason: str
    arm_ids: frozenset[str] | None = None
    rule: str | None = None
    allows_escalation: bool = True
    escalates: bool | None = None

    def allows(self, arm_id: str) -> bool:
        return self.arm_ids is None or arm_id in self.arm_ids
