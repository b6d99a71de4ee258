"""Arms, evidence and neighbours as arrays, the input of beliefs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs, PriorState
from bandit.evidence import Neighbours
from bandit.utility import UtilityTerms
from service.domain import decision as types
from service.domain.arm import Arm, ArmSums
from service.domain.decision import Candidate
from service.domain.neighbours import NeighbourColumns


def n_rated(known: Mapping[str, ArmSums]) -> float:
    """A tenant's rated requests, of all arms."""
    return float(sum(sums.n for sums in known.values()))


def neighbours_of(index: Mapping[str, int], columns: NeighbourColumns, neighbour_ease: Floats) -> Neighbours:
    """The neighbours that one of these arms answered.

    Args:
        index: of the arms, by id.
        neighbour_ease: of the neighbours' requests, in their order.
    """
    arm = np.array([index.get(arm_id, -1) for arm_id in columns.arm_ids], dtype=np.int64)[columns.arm]
    numbers = (columns.similarity, columns.age_s, columns.reward, columns.cost_usd, columns.latency_s)
    neighbours = Neighbours(arm, *numbers, columns.weight, neighbour_ease, columns.prompt)
    return neighbours if arm.min(initial=0) >= 0 else neighbours.where(arm >= 0)


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
