"""Recorded rows, written through the journal and the evidence: on the fakes and on real PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest

from bandit.drift import RatedSums
from service.domain.arm import Arm, Price
from service.domain.basics import Vector
from service.domain.feedback import Feedback, Learned, Reward
from service.domain.registration import ArmRegistration, PriceChange
from service.errors import StoreUnavailable
from service.learning.importing.importer import Importer
from service.learning.importing.rows import Row
from service.routing.priors import USUAL_LATENCY_S
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from tests.fakes_store import FakeEvidence, FakeJournal, FakeStore
from tests.integration.stores import NOW, TENANT, Stores, a_decision

ARM = Arm("small", "openai", "small", price=Price(Decimal(1), Decimal(2)))
ONE = Decimal(1)


class OneContext:
    """Encodes every text as the same vector; counts its calls."""

    name = "one"
    dimension = 3
    n_encoded = 0

    def cached(self, text: str) -> None:
        return None

    async def encode(self, text: str) -> Vector:
        self.n_encoded += 1
        return np.array([1, 0, 0], dtype=np.float32)

    async def close(self) -> None:
        """Nothing to close."""


class UnavailableEvidence(FakeEvidence):
    """Fails as if PostgreSQL became unavailable between the outcome and the feedback."""

    async def learn(self, feedback: Feedback, reward: Reward | None) -> Learned:
        raise StoreUnavailable("unavailable")


def importer(stores: Stores, now: datetime = NOW) -> Importer:
    return Importer(stores.journal, stores.evidence, OneContext(), TENANT, now)


def row(**more: object) -> Row:
    return Row.model_validate({"prompt": "Why?", "model": "small", "score": 0.5, **more})


RECORDED = {"cost_usd": "0.002", "latency_s": 3.0, "request_id": "r1"}


async def test_a_row_becomes_evidence_of_its_arm(stores: Stores) -> None:
    added = await importer(stores).add(row(**RECORDED), ARM, Decimal("0.25"))

    sums = stores.evidence.sums(TENANT)["small"]
    assert added == "imported"
    assert (sums.n, sums.reward_sum) == (Decimal("0.25"), Decimal("0.125"))
    assert (sums.n_outcomes, sums.latency_s_sum, sums.cost_usd_sum) == (1, Decimal(3), Decimal("0.002"))


async def test_a_row_counts_in_its_arms_history_without_a_prediction(stores: Stores) -> None:
    await importer(stores).add(row(**RECORDED), ARM, Decimal("0.25"))

    history = stores.evidence.histories(TENANT)["small"]
    assert history.epoch.rated == RatedSums(0.25, 0.125)
    assert (history.n_predicted, history.rise.statistic, history.fall.statistic) == (0, 0, 0)


async def test_a_row_is_logged_as_an_imported_request(stores: Stores) -> None:
    at = datetime(2026, 6, 1, tzinfo=UTC)

    await importer(stores).add(row(**RECORDED, at=at, propensity=0.4), ARM, ONE)

    record = await stores.journal.record(TENANT, "r1")
    assert record is not None
    assert (record["dialect"], record["decision"], record["propensity"]) == ("import", "pinned", 0.4)
    assert (record["decided_at"], record["reward"]) == (at.isoformat(), 0.5)


async def test_a_row_waits_for_the_memory(stores: Stores) -> None:
    await importer(stores).add(row(**RECORDED), ARM, Decimal("0.25"))

    [pending] = await stores.evidence.pending(10)
    assert pending.experience is not None
    assert (pending.experience.encoder, pending.experience.reward) == ("one", 0.5)
    assert (pending.experience.weight, pending.experience.latency_s) == (0.25, 3.0)


async def test_values_that_a_row_omits_are_estimated_near_and_not_learned(stores: Stores) -> None:
    await importer(stores).add(row(cost_usd="0.002"), ARM, ONE)

    [pending] = await stores.evidence.pending(10)
    assert pending.experience is not None
    assert (pending.experience.cost_usd, pending.experience.latency_s) == (0.002, USUAL_LATENCY_S)
    assert stores.evidence.sums(TENANT)["small"].n_outcomes == 0


async def test_a_cost_that_a_row_omits_is_not_estimated_for_a_model_of_unknown_price(stores: Stores) -> None:
    await importer(stores).add(row(latency_s=3.0), replace(ARM, price=None), ONE)

    [pending] = await stores.evidence.pending(10)
    assert pending.experience is not None
    assert (pending.experience.cost_usd, pending.experience.latency_s) == (None, 3.0)


@pytest.mark.parametrize("given", [RECORDED, {}], ids=["with a request id", "without"])
async def test_the_same_row_again_changes_nothing(stores: Stores, given: dict[str, object]) -> None:
    await importer(stores).add(row(**given), ARM, ONE)
    before = stores.evidence.sums(TENANT)["small"]
    later = importer(stores, datetime(2026, 8, 1, tzinfo=UTC))

    added = await later.add(row(**given), ARM, ONE)

    assert added == "known"
    assert stores.evidence.sums(TENANT)["small"] == before
    assert isinstance(later.encoder, OneContext)
    assert later.encoder.n_encoded == 0


async def test_another_score_under_the_same_request_id_revises(stores: Stores) -> None:
    await importer(stores).add(row(**RECORDED), ARM, ONE)

    added = await importer(stores).add(row(**{**RECORDED, "score": 1.0}), ARM, ONE)

    sums = stores.evidence.sums(TENANT)["small"]
    assert added == "imported"
    assert (sums.n, sums.reward_sum, sums.n_outcomes) == (ONE, ONE, 1)


async def test_the_id_of_another_request_is_rejected(stores: Stores) -> None:
    await stores.journal.log_decision(a_decision("r1"))
    await importer(stores).add(row(request_id="r2"), ARM, ONE)

    taken = await importer(stores).add(row(request_id="r1"), ARM, ONE)
    other_prompt = await importer(stores).add(row(request_id="r2", prompt="How?"), ARM, ONE)

    assert (taken, other_prompt) == ("refused", "refused")
    assert stores.evidence.sums(TENANT)["small"].n == 1


async def test_a_row_written_in_part_is_completed(stores: Stores) -> None:
    stopped = replace(importer(stores), evidence=UnavailableEvidence(FakeStore()))
    with pytest.raises(StoreUnavailable):
        await stopped.add(row(**RECORDED), ARM, ONE)

    added = await importer(stores).add(row(**RECORDED), ARM, ONE)

    sums = stores.evidence.sums(TENANT)["small"]
    assert (added, sums.n, sums.n_outcomes) == ("imported", ONE, 1)


@pytest.mark.parametrize(
    ("given", "n_changes"),
    [
        ({"cost_usd": 1, "at": "2026-06-01T00:00:00Z"}, 1),
        ({"cost_usd": 1}, 2),
        ({"at": "2026-06-01T00:00:00Z"}, 2),
    ],
    ids=["recorded between two changes", "recorded now", "expected by today's list"],
)
async def test_dollars_are_in_the_prices_of_their_time(given: dict[str, object], n_changes: int) -> None:
    store = FakeStore()
    changes = tuple(PriceChange(datetime(2026, m, 15, tzinfo=UTC), Decimal(2), Decimal(0)) for m in (5, 6))
    known = {"small": ArmRegistration("small", NOW, NOW, price_changes=changes)}
    stores = Stores(FakeJournal(store), FakeEvidence(store))
    repriced = replace(ARM, price_version=2)

    await replace(importer(stores), registrations=known).add(row(**given), repriced, ONE)

    [outcome] = store.outcomes.values()
    assert outcome.price_version == n_changes


async def test_after_an_import_the_sums_are_those_of_the_events(database: Database) -> None:
    evidence = PostgresEvidence(database)
    stores = Stores(PostgresJournal(database, snapshot=evidence.snapshot), evidence)
    for score in (0.0, 0.25, 1.0):
        await importer(stores).add(row(score=score, cost_usd=0.1), ARM, Decimal("0.333333"))
    await importer(stores).add(row(**RECORDED), ARM, ONE)

    differences = await evidence_differences(database)
    assert (differences.sums, differences.histories) == ({}, {})
