"""Judges answers, and finds the stronger arm to ask where one falls short."""

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
    """Whether an answer falls short, and who may answer better.

    Args:
        is_on: whether a stronger arm is asked. An empty answer counts as a fault even when it is off.
    """

    is_on: bool

    async def fault(self, call: ModelCall) -> Signal | None:
        """What is wrong with an answer; None also while it is not whole."""
        if not call.is_whole:
            return None
        if call.is_empty:
            return "empty"
        return await asyncio.to_thread(fault_of, call) if self.is_on else None  # a schema takes its time

    def stronger_arm(self, run: RequestRun, call: ModelCall, left: set[str]) -> str | None:
        """The most probable arm among those that are expected to be rated higher than the arm called.

        None for a retry, whose expectations are unknown; for a request that is held out, which measures
        what the default model does by itself; and in a tool loop, whose arm does not change.

        Args:
            left: ids of the arms that may still be called.
        """
        if not self.is_on or run.decision is None or run.decision.holdout or run.is_in_tool_loop:
            return None
        weighed = {c.arm_id: c for c in run.decision.candidates}
        to_beat = _expected_reward(weighed[call.arm.arm_id])
        allowed = [c for c in weighed.values() if c.arm_id in left and not c.is_barred]
        stronger = [c for c in allowed if _expected_reward(c) > to_beat]
        best = max(stronger, key=lambda candidate: candidate.probability, default=None)
        return None if best is None else best.arm_id


def _expected_reward(candidate: Candidate) -> float:
    return candidate.alpha / (candidate.alpha + candidate.beta)
