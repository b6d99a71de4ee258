"""Find what is weak about an answer, and a stronger arm to call instead."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from service.completion.doubts import doubt_of
from service.completion.faults import judged
from service.completion.model_call import ModelCall
from service.completion.request_run import RequestRun
from service.domain.decision import Candidate, Decision
from service.domain.query import Query
from service.domain.weakness import Weakness
from service.errors import AllArmsFailed, ContextTooLong, NoEligibleArm
from service.policies.policies import Policies

MayBeCalled = Callable[[str, Query], bool]  # whether an arm may be called for a query


@dataclass(frozen=True, slots=True)
class Escalation:
    """Judges answers, and names the arm to escalate to.

    Args:
        is_on: whether a stronger arm is called where no rule says so. An empty answer counts as a fault even
            when this is off.
        hold_s: how long a stream is read ahead after its first content, to judge it.
        policies: the tiers, of which the next one is stronger.
        decide: weighs the arms of a tier and chooses one, without changing any state.
        min_token_probability: an answer whose tokens have a lower mean probability is weak; None: none is.
    """

    is_on: bool
    hold_s: float
    policies: Policies
    decide: Callable[[Query], Awaitable[Decision]]
    min_token_probability: float | None = None

    def is_on_for(self, query: Query) -> bool:
        """Whether a weak answer to this query escalates: as its rule says, else as the operator does."""
        by_rule = None if query.narrowing is None else query.narrowing.escalates
        return self.is_on if by_rule is None else by_rule

    def lookahead_s(self, query: Query) -> float:
        """How long a stream for this query is read ahead, seconds."""
        return self.hold_s if self.is_on_for(query) else 0.0

    async def fault(self, call: ModelCall) -> Weakness | None:
        """What is weak about an answer; None for a good answer and for one that is not whole yet."""
        if not call.is_whole:
            return None
        if call.is_empty:
            return "empty"
        if not self.is_on_for(call.query):
            return None
        return await judged(call) or doubt_of(call, self.min_token_probability)

    async def next_tier(
        self, run: RequestRun, call: ModelCall, may_be_called: MayBeCalled
    ) -> Decision | None:
        """The decision among the arms of the next tier that can answer; None: there is none.

        None also where `stronger_arm` names none, and for a model that the client named.
        """
        if not self._applies(run) or run.kind == "pinned":
            return None
        query = replace(run.query, requested_among=None) if run.query.requested_tier else run.query
        for narrowing in self.policies.above(run.query, call.arm.arm_id):
            narrowing = replace(narrowing, escalates=True)
            in_tier = query.narrowed(narrowing)
            arm_ids = (narrowing.arm_ids or frozenset()) - run.tried
            able = frozenset(arm_id for arm_id in arm_ids if may_be_called(arm_id, in_tier))
            if able and (decision := await self._decide(query.narrowed(replace(narrowing, arm_ids=able)))):
                return decision
        return None

    async def _decide(self, query: Query) -> Decision | None:
        """The decision; None: no arm can answer, or the budget bars the one that was chosen."""
        try:
            decision = await self.decide(query)
        except (NoEligibleArm, ContextTooLong, AllArmsFailed):
            return None
        chosen = next(c for c in decision.candidates if c.arm_id == decision.arm_id)
        return None if chosen.is_barred else decision

    def stronger_arm(self, run: RequestRun, call: ModelCall, callable_ids: set[str]) -> str | None:
        """The most probable arm among those with a higher expected reward than the arm called.

        None for a retry, whose expected rewards are unknown; for a held-out request, which measures the
        default model alone; and in a tool loop, which keeps its arm.

        Args:
            callable_ids: ids of the arms that may still be called.
        """
        if not self._applies(run) or run.decision is None:
            return None
        weighed = {c.arm_id: c for c in run.decision.candidates}
        if call.arm.arm_id not in weighed:  # it is in a stronger tier than those that were weighed
            return None
        to_beat = _expected_reward(weighed[call.arm.arm_id])
        allowed = [c for c in weighed.values() if c.arm_id in callable_ids and not c.is_barred]
        stronger = [c for c in allowed if _expected_reward(c) > to_beat]
        best = max(stronger, key=lambda candidate: candidate.probability, default=None)
        return None if best is None else best.arm_id

    def _applies(self, run: RequestRun) -> bool:
        is_held_out = run.decision is not None and run.decision.holdout
        return (
            self.is_on_for(run.query)
            and run.decision is not None
            and not is_held_out
            and not run.is_in_tool_loop
        )


def _expected_reward(candidate: Candidate) -> float:
    return candidate.alpha / (candidate.alpha + candidate.beta)
