"""Arms, evidence and neighbours as arrays, the input of beliefs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs
from bandit.evidence import Neighbours
from bandit.utility import UtilityTerms
from service.domain.arm import Arm, ArmSums
from service.domain.candidates import CandidateColumns
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
    places = [index.get(arm_id, -1) for arm_id in columns.arm_ids]
    arm = np.array(places, dtype=np.int64)[columns.arm]
    numbers = (columns.similarity, columns.age_s, columns.reward, columns.cost_usd, columns.latency_s)
    neighbours = Neighbours(arm, *numbers, columns.weight, neighbour_ease, columns.prompt)
    return neighbours if -1 not in places or arm.min(initial=0) >= 0 else neighbours.where(arm >= 0)


def candidates(
    arms: Sequence[Arm],
    prior_sources: Sequence[str | None],
    beliefs: Beliefs,
    terms: UtilityTerms,
    probabilities: Floats,
    barred: Bools,
) -> CandidateColumns:
    """The weighed arms as they are logged, in their order."""
    known = beliefs.prior_state
    numbers = np.array(  # as `NUMBERS` names them
        [
            probabilities,
            known.prior_mean,
            known.prior_mass,
            known.n,
            known.reward_sum,
            known.deviation,
            known.cost_usd,
            known.latency_s,
            known.epoch_age_s,
            known.n_changes,
            known.cost_usd_error,
            known.latency_s_error,
            beliefs.posterior.alpha,
            beliefs.posterior.beta,
            beliefs.local_mass,
            terms.bonus,
            beliefs.expected_latency_s,
            beliefs.expected_cost_usd,
            terms.quality,
            terms.speed,
            terms.cost,
            terms.spend,
            terms.total,
        ]
    )
    arm_ids = tuple([arm.arm_id for arm in arms])
    return CandidateColumns(arm_ids, tuple(prior_sources), numbers, beliefs.predicted, barred)


def prices_of(arms: Sequence[Arm]) -> Floats:
    """The arms' prices, US dollars per million tokens: three tokens of the prompt to one of the answer.

    NaN where nobody knows the price: the one assumed for choosing says nothing about the arm.
    """
    prices = (arm.price for arm in arms)
    return as_floats(None if p is None else (3 * float(p.input) + float(p.output)) / 4 for p in prices)


def as_floats(values: Iterable[float | None]) -> Floats:
    """The numbers as an array, NaN for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
