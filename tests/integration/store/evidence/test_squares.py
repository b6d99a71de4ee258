"""Sums and sums of squares are those of the answers one by one, after any answers and prices."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from typing import Any

import pytest

from service.domain.answer import Attempt
from service.domain.arm import ArmSums
from service.domain.basics import EXACT
from service.domain.ports import ArmRegistry, Journal, ShadowLog
from service.domain.registration import ArmRegistration, PriceChange, ShadowAnswer
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.migrate import migrate
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.evidence.snapshot import Snapshot
from service.store.log.journal import PostgresJournal
from service.store.log.shadow import PostgresShadowLog
from tests.fakes_arms import FakeArmRegistry, FakeShadowLog
from tests.fakes_store import FakeJournal, FakeStore
from tests.integration.stores import NOW, TENANT, a_decision, an_attempt, an_outcome


@dataclass(frozen=True)
class Bill:
    """An answer that counts."""

    arm_id: str
    latency_s: Decimal
    usd: Decimal | None
    price_version: int

    def todays_usd(self, changes: Sequence[PriceChange]) -> Decimal | None:
        usd = self.usd
        for change in changes[self.price_version :]:
            usd = None if usd is None else usd * change.factor + change.added_usd
        return usd


@dataclass
class Books:
    """The answers that count and the price changes of each arm, beside the stores that are told of them."""

    backing: FakeStore | Database
    price_changes: dict[str, list[PriceChange]] = field(default_factory=lambda: {"small": [], "large": []})
    bills: dict[str, Bill] = field(default_factory=dict)

    @property
    def arm_registry(self) -> ArmRegistry:
        if isinstance(self.backing, FakeStore):
            return FakeArmRegistry(self.backing)
        return PostgresArmRegistry(self.backing)

    @property
    def journal(self) -> Journal:
        if isinstance(self.backing, FakeStore):
            return FakeJournal(self.backing)
        return PostgresJournal(self.backing)

    @property
    def shadow_log(self) -> ShadowLog:
        if isinstance(self.backing, FakeStore):
            return FakeShadowLog(self.backing)
        return PostgresShadowLog(self.backing, snapshot=Snapshot())

    async def fill(self, rng: random.Random) -> None:
        """Answers, replaced answers, answers in shadow and new prices in a random order."""
        decisions = [a_decision(f"r{i}") for i in range(8)]
        for decision in decisions:
            await self.journal.log_decision(decision)
        for arm_id in self.price_changes:
            await self._register(arm_id)
        for step in range(40):
            bill, decision = self._a_bill(rng), rng.choice(decisions)
            match rng.choice(["price", "outcome", "outcome", "outcome", "shadow"]):
                case "price":
                    change = a_price_change(rng, NOW + timedelta(hours=step))
                    self.price_changes[bill.arm_id].append(change)
                    await self._register(bill.arm_id)
                case "outcome":  # replaces the request's earlier one, of whichever arm
                    status, kind = rng.choice([("ok", "explore"), ("ok", "cache"), ("failed", "exploit")])
                    self.bills.pop(decision.query.request_id, None)
                    if (status, kind) == ("ok", "explore"):
                        self.bills[decision.query.request_id] = bill
                    of_answer = {"status": status, "kind": kind, "price_version": bill.price_version}
                    outcome = an_outcome(decision, after_s=2.0 + step, **of_answer, **of_call(bill))
                    await self.journal.log_outcome(outcome, [])
                case "shadow" if f"{bill.arm_id} {decision.query.request_id}" not in self.bills:
                    self.bills[f"{bill.arm_id} {decision.query.request_id}"] = bill
                    await self._shadow(an_attempt(decision, **of_call(bill)), bill.price_version)

    def sums(self) -> dict[str, ArmSums]:
        """By arm, with the answers converted to today's prices one by one."""
        return {arm_id: self._sums_of(arm_id) for arm_id in self.price_changes}

    def _sums_of(self, arm_id: str) -> ArmSums:
        bills, changes = [b for b in self.bills.values() if b.arm_id == arm_id], self.price_changes[arm_id]
        with localcontext(EXACT):
            dollars = [usd for bill in bills if (usd := bill.todays_usd(changes)) is not None]
            return ArmSums(
                n_outcomes=len(bills),
                latency_s_sum=sum((bill.latency_s for bill in bills), Decimal(0)),
                cost_usd_sum=sum(dollars, Decimal(0)),
                n_unpriced=len(bills) - len(dollars),
                cost_usd_squares=sum((usd**2 for usd in dollars), Decimal(0)),
                latency_s_squares=sum((bill.latency_s**2 for bill in bills), Decimal(0)),
            )

    def _a_bill(self, rng: random.Random) -> Bill:
        arm_id = rng.choice([*self.price_changes])
        return Bill(
            arm_id,
            latency_s=Decimal(rng.randrange(10**8)).scaleb(-6),
            usd=rng.choice([None, Decimal(0), Decimal(rng.randrange(1, 10**9)).scaleb(-9)]),
            price_version=rng.randrange(len(self.price_changes[arm_id]) + 1),
        )

    async def _register(self, arm_id: str) -> None:
        registration = ArmRegistration(arm_id, NOW, NOW, price_changes=tuple(self.price_changes[arm_id]))
        await self.arm_registry.change(lambda _: registration)

    async def _shadow(self, attempt: Attempt, price_version: int) -> None:
        await self.shadow_log.keep(ShadowAnswer(TENANT, attempt, None, Decimal(0), price_version))


def of_call(bill: Bill) -> dict[str, Any]:
    return {
        "arm_id": bill.arm_id,
        "latency_s": float(bill.latency_s),
        "cost_usd": bill.usd,
        "cost_source": "unknown" if bill.usd is None else "price",
    }


def a_price_change(rng: random.Random, moment: datetime) -> PriceChange:
    factor = rng.choice([Decimal(1), Decimal(rng.randrange(1, 10**6)).scaleb(-5)])
    return PriceChange(moment, factor, rng.choice([Decimal(0), Decimal(rng.randrange(10**7)).scaleb(-9)]))


async def replicas_sums(database: Database) -> dict[str, ArmSums]:
    """The sums that a replica reads when it starts."""
    evidence = PostgresEvidence(database)
    await evidence.refresh()
    return dict(evidence.sums(TENANT))


@pytest.mark.parametrize("seed", range(4))
async def test_sums_are_those_of_the_answers_at_todays_prices(
    backing: FakeStore | Database, seed: int
) -> None:
    books = Books(backing)

    await books.fill(random.Random(seed))

    figures = await books.arm_registry.figures(TENANT)
    assert {arm_id: of_arm.sums for arm_id, of_arm in figures.items()} == books.sums()
    assert all(sums.cost_usd_squares > 0 for sums in books.sums().values())


@pytest.mark.parametrize("seed", range(4))
async def test_a_rebuild_finds_no_difference(database: Database, seed: int) -> None:
    books = Books(database)

    await books.fill(random.Random(seed))

    assert await replicas_sums(database) == books.sums()
    assert len(await evidence_differences(database)) == 0


_UNDO = """
DROP FUNCTION todays_usd_squares;
ALTER TABLE evidence DROP COLUMN cost_usd_squares, DROP COLUMN latency_s_squares;
DELETE FROM schema_migrations WHERE name LIKE '%_evidence_squares'
"""


async def test_an_upgrade_counts_the_squares_of_the_answers_before(database: Database) -> None:
    books = Books(database)
    await books.fill(random.Random(5))
    async with database.connection() as connection:
        await connection.execute(_UNDO)

    applied = await migrate(database)

    assert [name.partition("_")[2] for name in applied] == ["evidence_squares"]
    assert await replicas_sums(database) == books.sums()
