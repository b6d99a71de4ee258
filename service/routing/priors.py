"""The arms' priors: what is believed of each arm before any evidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.knobs import Knobs
from bandit.prior import Prior
from bandit.records import ArmRecords
from service.arms.catalog import Catalog
from service.domain.arm import Arm
from service.routing.arrays import as_floats, prices_of

# Sources of the prior of an arm of unknown quality, beside arms of known quality.
PRICE_CLASS = "price class"
MEAN_OF_KNOWN = "mean of known models"  # nobody knows its price
BEST_KNOWN = "best known model"  # a newcomer
USUAL_LATENCY_S = 1.0  # of an arm that was never called


@dataclass(frozen=True, slots=True)
class StartingPrior:
    """The prior of one arm before the first feedback; source: as `prior_sources` names it."""

    mean: float
    mass: float
    source: str | None


def prior_of(
    arms: Sequence[Arm],
    catalog: Catalog,
    knobs: Knobs,
    cost_usd: Floats,
    records: ArmRecords | None = None,
) -> Prior:
    """The prior of these arms beside each other; records: None before the first feedback."""
    return Prior.of(
        quality=as_floats(arm.prior_quality for arm in arms),
        mass=as_floats(arm.prior_mass for arm in arms),
        cost_usd=cost_usd,
        latency_s=np.full(len(arms), USUAL_LATENCY_S),
        knobs=knobs,
        records=records,
        is_newcomer=catalog.newcomers(arms),
        price=prices_of(arms),
        is_relative=relative_of(arms),
    )


def relative_of(arms: Sequence[Arm]) -> Bools:
    """Which of the arms have a prior quality of the public table."""
    return np.array([arm.is_prior_relative for arm in arms], dtype=np.bool_)


def starting_priors(catalog: Catalog, knobs: Knobs) -> Mapping[str, StartingPrior]:
    """The prior of each arm that answers clients, by arm id, before the first feedback."""
    arms = catalog.arms
    prior = prior_of(arms, catalog, knobs, cost_usd=np.zeros(len(arms)))
    columns = zip(prior.mean.tolist(), prior.mass.tolist(), prior_sources(arms, catalog), strict=True)
    return {arm.arm_id: StartingPrior(*column) for arm, column in zip(arms, columns, strict=True)}


def prior_sources(arms: Sequence[Arm], catalog: Catalog) -> tuple[str | None, ...]:
    """The source of each arm's prior mean beside these arms.

    None: no quality is known, so all arms start from the optimistic prior.
    """
    if all(arm.prior_quality is None for arm in arms):
        return (None,) * len(arms)
    newcomers = catalog.newcomers(arms).tolist()
    return tuple(_source(arm, joined) for arm, joined in zip(arms, newcomers, strict=True))


def _source(arm: Arm, is_newcomer: bool) -> str | None:
    if arm.prior_quality is not None:
        return arm.prior_source
    if is_newcomer:
        return BEST_KNOWN
    return MEAN_OF_KNOWN if arm.price is None else PRICE_CLASS
