"""The budget's price and purse: charge a decision, and resume after a restart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from bandit import thompson
from bandit.beta import Beta
from bandit.budget import WINDOW, Pacer
from service.domain.decision import Decision, PacedArm, Spend
from service.domain.registration import ArmRegistration

N_RESUMED = 1000  # newest decisions that the purse of a new process pays for
N_PRICED = WINDOW  # newest of these, used to solve the price


def charge(pacer: Pacer, decision: Decision, feedback_weight: float, rng: np.random.Generator) -> None:
    """Reserve the expected cost of a decision, and count it in the price."""
    considered = decision.candidates
    is_drawn = decision.step is None or decision.step.is_drawn
    if not is_drawn or decision.query.turn.side_call is not None:  # no price could change it
        considered = tuple(c for c in considered if c.arm_id == decision.arm_id)
    arms = [
        PacedArm(c.arm_id, c.alpha, c.beta, c.bonus + c.speed + c.cost, c.expected_cost_usd)
        for c in considered
    ]
    _record(pacer, arms, decision.arm_id, feedback_weight, rng)


def resume(
    pacer: Pacer,
    spends: Sequence[Spend],
    registrations: Mapping[str, ArmRegistration],
    feedback_weight: float,
    rng: np.random.Generator,
) -> None:
    """Resume price and purse from the log of earlier processes.

    Otherwise each restart would begin with a half-full purse and a price of zero, and frequent restarts
    would overspend. A debt is dropped: it may come from another budget.

    Args:
        spends: what the budget paid, oldest first; without arms it counts in the purse alone.
        registrations: by arm id, for dollars at today's prices.
        feedback_weight: the operator's.
    """
    if pacer.budget_usd is None:
        return
    for spend in spends:
        reserved_usd = pacer.budget_usd
        if spend.arms:
            arms = [_in_todays_prices(arm, spend, registrations) for arm in spend.arms]
            weight = feedback_weight if spend.feedback_weight is None else spend.feedback_weight
            _record(pacer, arms, spend.arm_id, weight, rng)
            reserved_usd = next(arm.expected_cost_usd for arm in arms if arm.arm_id == spend.arm_id)
        if spend.cost_usd is not None:
            pacer.settle(reserved_usd, spend.cost_usd)
    pacer.purse = max(pacer.purse, 0.0)


def _record(
    pacer: Pacer, arms: Sequence[PacedArm], chosen: str, feedback_weight: float, rng: np.random.Generator
) -> None:
    posterior = Beta.of_counts(np.array([arm.alpha for arm in arms]), np.array([arm.beta for arm in arms]))
    offset = np.array([arm.offset for arm in arms])
    arm_ids = [arm.arm_id for arm in arms]
    pacer.record(
        utilities=thompson.sample(posterior, feedback_weight, offset, rng),
        expected_usd=np.array([arm.expected_cost_usd for arm in arms]),
        chosen=arm_ids.index(chosen),
        arms=arm_ids,
    )


def _in_todays_prices(arm: PacedArm, spend: Spend, registrations: Mapping[str, ArmRegistration]) -> PacedArm:
    registration = registrations.get(arm.arm_id)
    if registration is None:
        return arm
    return replace(arm, expected_cost_usd=registration.todays_usd(arm.expected_cost_usd, spend.decided_at))
