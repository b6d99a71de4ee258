"""Find the fault of an answer, and a stronger arm to call instead."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from service.completion.faults import fault_of
from service.completion.model_call import ModelCall
from service.completion.request_run import RequestRun
from service.domain.decision import Candidate
from service.domain.feedback import Signal


@dataclass(frozen=True, slots=True)
class Escalation:
    """Judges answers, and names the arm to escalate to.

    Args:
        is_on: whether a stronger arm is called. An empty answer counts as a fault even when this is off.
    """

    is_on: bool

    async def fault(self, call: ModelCall) -> Signal | None:
        """The fault of an answer; None for a good answer and for one that is not whole yet."""
        if not call.is_whole:
            return None
        if call.is_empty:
            return "empty"
        return await asyncio.to_thread(fault_of, call) if self.is_on else None  # validating a schema is slow

    def stronger_arm(self, run: RequestRun, call: ModelCall, callable_ids: set[str]) -> str | None:
        """The most probable arm among those with a higher expected reward than the arm called.

        None for a retry, whose expected rewards are unknown; for a held-out request, which measures the
        default model alone; and in a tool loop, which keeps its arm.

        Args:
            callable_ids: ids of the arms that may still be called.
        """
        if not self.is_on or run.decision is None or run.decision.holdout or run.is_in_tool_loop:
            return None
        weighed = {c.arm_id: c for c in run.decision.candidates}
        to_beat = _expected_reward(weighed[call.arm.arm_id])
        allowed = [c for c in weighed.values() if c.arm_id in callable_ids and not c.is_barred]
        stronger = [c for c in allowed if _expected_reward(c) > to_beat]
        best = max(stronger, key=lambda candidate: candidate.probability, default=None)
        return None if best is None else best.arm_id


def _expected_reward(candidate: Candidate) -> float:
    return candidate.alpha / (candidate.alpha + candidate.beta)
