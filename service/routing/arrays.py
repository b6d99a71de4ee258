"""Arms, evidence and neighbours as arrays, the input of beliefs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs, PriorState
from bandit.drift import ArmHistory
from bandit.evidence import Neighbours, Sums
from bandit.utility import UtilityTerms
from service.domain import decision as types
from service.domain.arm import Arm, ArmSums
from service.domain.decision import Candidate
from service.domain.neighbours import NeighbourColumns


def sums_of(arms: Sequence[Arm], known: Mapping[str, ArmSums]) -> Sums:
    """The evidence on these arms, in their order."""
    nothing = ArmSums()
    sums = [known.get(arm.arm_id, nothing) for arm in arms]
    columns = [[getattr(of_arm, field.name) for of_arm in sums] for field in fields(Sums)]
    return Sums(*np.array(columns, dtype=np.float64))


def histories_of(arms: Sequence[Arm], known: Mapping[str, ArmHistory]) -> list[ArmHistory]:
    """The histories of these arms, in their order."""
    return [known.get(arm.arm_id) or ArmHistory() for arm in arms]


def n_rated(known: Mapping[str, ArmSums]) -> float:
    """A tenant's rated requests, of all arms."""
    return float(sum(sums.n for sums in known.values()))


def neighbours_of(arms: Sequence[Arm], columns: NeighbourColumns, neighbour_ease: Floats) -> Neighbours:
    """The neighbours that one of these arms answered.

    Args:
        neighbour_ease: of the neighbours' requests, in their order.
    """
    index = {arm.arm_id: i for i, arm in enumerate(arms)}
    arm = np.array([index.get(arm_id, -1) for arm_id in columns.arm_ids], dtype=np.int64)[columns.arm]
    is_known = arm >= 0
    return Neighbours(
        arm=arm[is_known],
        similarity=columns.similarity[is_known],
        age_s=columns.age_s[is_known],
        reward=columns.reward[is_known],
        cost_usd=columns.cost_usd[is_known],
        latency_s=columns.latency_s[is_known],
        weight=columns.weight[is_known],
        ease=neighbour_ease[is_known],
        prompt=columns.prompt[is_known],
    )


def candidates(
    arms: Sequence[Arm],
    prior_sources: Sequence[str | None],
    beliefs: Beliefs,
    terms: UtilityTerms,
    probabilities: Floats,
    barred: Bools,
) -> tuple[Candidate, ...]:
    """The weighed arms as they are logged, in their order."""
    columns = zip(
        arms,
        probabilities.tolist(),
        prior_states(beliefs.prior_state, prior_sources),
        beliefs.predicted.T.tolist(),
        beliefs.posterior.alpha.tolist(),
        beliefs.posterior.beta.tolist(),
        beliefs.local_mass.tolist(),
        terms.bonus.tolist(),
        beliefs.expected_latency_s.tolist(),
        beliefs.expected_cost_usd.tolist(),
        terms.quality.tolist(),
        terms.speed.tolist(),
        terms.cost.tolist(),
        terms.spend.tolist(),
        terms.total.tolist(),
        barred.tolist(),
        strict=True,
    )
    return tuple(
        Candidate(arm.arm_id, probability, prior_state, tuple(predicted), *numbers)
        for arm, probability, prior_state, predicted, *numbers in columns
    )


def prior_states(known: PriorState, sources: Sequence[str | None]) -> list[types.LoggedPriorState]:
    """The logged prior state of each arm; sources: of their prior means."""
    columns = zip(
        known.prior_mean.tolist(),
        known.prior_mass.tolist(),
        known.n.tolist(),
        known.reward_sum.tolist(),
        known.deviation.tolist(),
        known.cost_usd.tolist(),
        known.latency_s.tolist(),
        (age_s if age_s < np.inf else None for age_s in known.epoch_age_s.tolist()),
        known.n_changes.tolist(),
        sources,
        known.cost_usd_error.tolist(),
        known.latency_s_error.tolist(),
        strict=True,
    )
    return [types.LoggedPriorState(*column) for column in columns]


def prices_of(arms: Sequence[Arm]) -> Floats:
    """The arms' prices, US dollars per million tokens: three tokens of the prompt to one of the answer.

    NaN where nobody knows the price: the one assumed for choosing says nothing about the arm.
    """
    prices = (arm.price for arm in arms)
    return as_floats(None if p is None else (3 * float(p.input) + float(p.output)) / 4 for p in prices)


def as_floats(values: Iterable[float | None]) -> Floats:
    """The numbers as an array, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
