"""Arrays that are kept between queries are those that would be made anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from decimal import Decimal
from itertools import product

import numpy as np
import pytest

from bandit.beliefs import PriorState
from bandit.drift import ArmHistory, Epoch, RatedSums
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.prior import Prior
from bandit.records import ArmRecords
from service.arms.breaker import Breaker
from service.arms.catalog import Catalog
from service.arms.eligibility import list_cost_usd
from service.domain.arm import CONFIGURED, Arm, ArmSums, Price
from service.domain.query import Query
from service.domain.registration import ArmRegistration
from service.routing.arrays import as_floats, prices_of
from service.routing.ease import FittedEase
from service.routing.known_arms import KnownArmSets, TenantEvidence
from service.routing.priors import USUAL_LATENCY_S, relative_of
from tests.fakes import FixedClock
from tests.integration.stores import NOW, a_query

KNOBS = Knobs()
PRICES = [Price(Decimal("0.15"), Decimal("0.6")), Price(Decimal(3), Decimal("15.000001")), None]
QUALITIES = [(None, None), (0.7, CONFIGURED), (0.6, "2026-11-01")]
ARMS = [
    Arm(f"arm-{i}", "simulator", "m", price=price, prior_quality=quality, prior_source=source)
    for i, (price, (quality, source)) in enumerate(product(PRICES, QUALITIES))
]


def afresh(
    arms: list[Arm], catalog: Catalog, query: Query, known: TenantEvidence, ease: float, now: float
) -> PriorState:
    """The prior state, made for this query alone."""
    histories = [known.histories.get(arm.arm_id, ArmHistory()) for arm in arms]
    records = ArmRecords.of(histories, now, known.n_rated, known.fitted.sums_of(arms, histories))
    prior = Prior.of(
        quality=as_floats(arm.prior_quality for arm in arms),
        mass=as_floats(arm.prior_mass for arm in arms),
        cost_usd=np.array([float(list_cost_usd(arm, query)) for arm in arms]),
        latency_s=np.full(len(arms), USUAL_LATENCY_S),
        knobs=KNOBS,
        records=records,
        is_newcomer=catalog.newcomers(arms),
        price=prices_of(arms),
        is_relative=relative_of(arms),
    )
    return PriorState.of(prior, sums_of(arms, known.sums), records, ease)


def sums_of(arms: list[Arm], known: Mapping[str, ArmSums]) -> Sums:
    sums = [known.get(arm.arm_id, ArmSums()) for arm in arms]
    return Sums(*np.array([[float(getattr(s, f.name)) for s in sums] for f in fields(Sums)]))


def some_sums(rng: np.random.Generator) -> ArmSums:
    numbers = [Decimal(int(n)) / 1000 for n in rng.integers(1, 9_000, size=6)]
    n, reward, seconds, usd, usd_squares, seconds_squares = numbers
    return ArmSums(n, min(n, reward), int(rng.integers(1, 50)), seconds, usd, 0, usd_squares, seconds_squares)


def some_history(rng: np.random.Generator, now: float) -> ArmHistory:
    changed = bool(rng.integers(2))
    return ArmHistory(
        epoch=Epoch(now - 500.0 if changed else -np.inf, RatedSums(*rng.uniform(1, 9, size=2))),
        n_changes=int(changed),
        n_predicted=float(rng.uniform(1, 20)),
        squared_errors=tuple(rng.uniform(0, 3, size=4)),
        is_fallen=changed,
        n_rated=float(rng.uniform(0, 5)),
    )


@pytest.mark.parametrize("seed", range(5))
def test_kept_arrays_are_those_of_a_fresh_start_to_the_last_bit(seed: int) -> None:
    rng, now = np.random.default_rng(seed), 1_000.0
    catalog = Catalog(tuple(ARMS), "arm-0", Breaker(FixedClock()))
    sets, fitted = KnownArmSets(), FittedEase()
    sums: dict[str, ArmSums] = {}
    histories: dict[str, ArmHistory] = {}

    for step in range(40):
        arm_id = f"arm-{rng.integers(len(ARMS))}"
        if step % 3 == 1:
            sums[arm_id] = some_sums(rng)
        if step % 3 == 2:
            histories[arm_id] = some_history(rng, now)
        if step % 10 == 9:
            fitted = FittedEase(sums={a: (-np.inf, 2.0, float(rng.normal())) for a in histories})
            joined = ArmRegistration("arm-1", NOW, NOW, is_newcomer=bool(rng.integers(2)))
            catalog.put(ARMS, {"arm-1": joined})
        arms = [arm for arm in catalog.arms if rng.uniform() < 0.8] or list(catalog.arms)
        query = replace(a_query(), n_prompt_tokens=int(rng.integers(1, 100_000)))
        known = TenantEvidence(sums, histories, float(step), fitted)

        kept = sets.of("default", arms, catalog).prior_state(query, known, KNOBS, 0.1, now + step)

        expected = afresh(arms, catalog, query, known, 0.1, now + step)
        for name in (field.name for field in fields(PriorState)):
            np.testing.assert_array_equal(getattr(kept, name), getattr(expected, name), err_msg=name)


def test_a_new_price_counts_at_once() -> None:
    catalog = Catalog(tuple(ARMS[:2]), "arm-0", Breaker(FixedClock()))
    sets, known, query = KnownArmSets(), TenantEvidence({}, {}, 0.0, FittedEase()), a_query()
    before = sets.of("default", list(catalog.arms), catalog).columns.list_cost_usd(query)

    catalog.put([replace(arm, price=Price(Decimal(7), Decimal(7))) for arm in ARMS[:2]], {})
    after = sets.of("default", list(catalog.arms), catalog)

    assert (after.columns.list_cost_usd(query) > before).all()
    assert (after.prior_state(query, known, KNOBS, 0.0, 0.0).cost_usd > before).all()
