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
from service.arms.eligibility import answer_tokens
from service.domain.arm import Arm
from service.domain.query import Query
from service.domain.registration import ArmRegistration
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


@dataclass(frozen=True, slots=True, eq=False)
class ArmColumns:
    """What the operator, the public table and the price list say of some arms; arrays have shape (n_arms,).

    Args:
        registrations: the catalogue's, of which it takes the newcomers.
        index: of each arm, by its id.
        quality, mass, price: NaN where nobody knows it.
        prompt_usd, answer_usd: dollars per 10^12 tokens: whole numbers if a price has at most six decimals,
            and then the dollars of a query are those of `list_cost_usd` to the last bit.
        n_own_prompt_tokens: before each request.
        sources: as `prior_sources` names them.
    """

    arms: Sequence[Arm]
    registrations: Mapping[str, ArmRegistration]
    index: Mapping[str, int]
    quality: Floats
    mass: Floats
    price: Floats
    is_relative: Bools
    is_newcomer: Bools
    prompt_usd: Floats
    answer_usd: Floats
    n_own_prompt_tokens: Floats
    sources: tuple[str | None, ...]

    @classmethod
    def of(cls, arms: Sequence[Arm], catalog: Catalog) -> ArmColumns:
        return cls(
            arms=arms,
            registrations=catalog.registrations,
            index={arm.arm_id: i for i, arm in enumerate(arms)},
            quality=as_floats(arm.prior_quality for arm in arms),
            mass=as_floats(arm.prior_mass for arm in arms),
            price=prices_of(arms),
            is_relative=relative_of(arms),
            is_newcomer=catalog.newcomers(arms),
            prompt_usd=as_floats(float(arm.expected_price.input * 1_000_000) for arm in arms),
            answer_usd=as_floats(float(arm.expected_price.output * 1_000_000) for arm in arms),
            n_own_prompt_tokens=as_floats(float(arm.n_own_prompt_tokens) for arm in arms),
            sources=prior_sources(arms, catalog),
        )

    def is_current(self, arms: Sequence[Arm], catalog: Catalog) -> bool:
        """Whether these are still the arms, in their present states."""
        return self.registrations is catalog.registrations and self.arms == arms

    def list_cost_usd(self, query: Query) -> Floats:
        """The expected cost of the query at each arm's prices, as `eligibility.list_cost_usd`."""
        n_prompt = query.n_prompt_tokens + self.n_own_prompt_tokens
        return (n_prompt * self.prompt_usd + answer_tokens(query) * self.answer_usd) / 1e12

    def prior(self, knobs: Knobs, cost_usd: Floats, records: ArmRecords | None = None) -> Prior:
        """The prior of these arms beside each other; records: None before the first feedback."""
        return Prior.of(
            quality=self.quality,
            mass=self.mass,
            cost_usd=cost_usd,
            latency_s=np.full(len(self.arms), USUAL_LATENCY_S),
            knobs=knobs,
            records=records,
            is_newcomer=self.is_newcomer,
            price=self.price,
            is_relative=self.is_relative,
        )


def relative_of(arms: Sequence[Arm]) -> Bools:
    """Which of the arms have a prior quality of the public table."""
    return np.array([arm.is_prior_relative for arm in arms], dtype=np.bool_)


def starting_priors(catalog: Catalog, knobs: Knobs) -> Mapping[str, StartingPrior]:
    """The prior of each arm that answers clients, by arm id, before the first feedback."""
    arms = catalog.arms
    known = ArmColumns.of(arms, catalog)
    prior = known.prior(knobs, cost_usd=np.zeros(len(arms)))
    columns = zip(prior.mean.tolist(), prior.mass.tolist(), known.sources, strict=True)
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
