"""The contract of arm registry and shadow log, tested on fakes, the embedded PostgreSQL and a system one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

import pytest

from service.domain.answer import Attempt, Outcome
from service.domain.arm import Price
from service.domain.basics import Json
from service.domain.ports import ArmRegistry, Journal, ShadowLog
from service.domain.registration import ArmRegistration, PriceChange, Shadow, ShadowAnswer
from service.errors import ModelConflict, StoreUnavailable
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.evidence.rebuild import evidence_differences
from service.store.log.journal import PostgresJournal
from service.store.log.shadow import PostgresShadowLog
from tests.fakes_arms import FakeArmRegistry, FakeShadowLog
from tests.fakes_store import FakeEvidence, FakeJournal, FakeStore
from tests.integration.postgres_server import Cluster, PostgresServer, migrate_database
from tests.integration.stores import NOW, TENANT, Stores, a_decision, an_attempt, an_outcome, answered, rate

ENTRY: Json = {"id": "new", "provider": "simulator", "model": "new", "price": {"input": "0.1", "output": "1"}}
A_SHADOW = Shadow(0.5, Decimal("0.001"))
TWICE = PriceChange(NOW, Decimal(2), Decimal(0))
THIRD = PriceChange(NOW + timedelta(hours=1), Decimal("0.333333333333"), Decimal(0))
FROM_FREE = PriceChange(NOW + timedelta(hours=2), Decimal(1), Decimal("0.0022"))


@dataclass(frozen=True)
class Deployment:
    """The stores that have data of arms."""

    stores: Stores
    arm_registry: ArmRegistry
    shadow_log: ShadowLog
    database: Database | None  # None: all fakes

    @property
    def journal(self) -> Journal:
        return self.stores.journal

    async def put(self, registration: ArmRegistration) -> None:
        await self.arm_registry.change(lambda _: registration)

    async def known(self) -> Mapping[str, ArmRegistration]:
        seen: list[Mapping[str, ArmRegistration]] = []

        def look(known: Mapping[str, ArmRegistration]) -> ArmRegistration:
            seen.append(known)
            raise ModelConflict("only looking")

        with pytest.raises(ModelConflict):
            await self.arm_registry.change(look)
        return seen[0]

    async def cost_usd(self, arm_id: str = "small") -> Decimal:
        """The arm's dollars in today's prices; a rebuild must find the same."""
        if self.database is not None:
            assert len(await evidence_differences(self.database)) == 0
        return (await self.arm_registry.figures(TENANT))[arm_id].sums.cost_usd_sum


def real(database: Database) -> Deployment:
    evidence = PostgresEvidence(database)
    return Deployment(
        Stores(PostgresJournal(database, store_texts=True, snapshot=evidence.snapshot), evidence),
        PostgresArmRegistry(database),
        PostgresShadowLog(database, store_texts=True, snapshot=evidence.snapshot),
        database,
    )


@pytest.fixture(params=["fake", "embedded", "system"])
async def deployment(request: pytest.FixtureRequest) -> AsyncIterator[Deployment]:
    if request.param == "fake":
        store = FakeStore()
        stores = Stores(FakeJournal(store, store_texts=True), FakeEvidence(store))
        yield Deployment(stores, FakeArmRegistry(store), FakeShadowLog(store), None)
        return
    cluster: Cluster = request.getfixturevalue(f"{request.param}_cluster")
    database = Database(await cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    yield real(database)
    await database.close()


def registration(arm_id: str = "small", **changes: object) -> ArmRegistration:
    return replace(ArmRegistration(arm_id, NOW, NOW), **changes)  # type: ignore[arg-type]


# --- registrations


async def test_a_registration_is_stored_unchanged(deployment: Deployment) -> None:
    new = registration(
        "new",
        state="shadow",
        entry=ENTRY,
        price=Price(Decimal("0.30"), Decimal(2), Decimal("0.1"), Decimal("0.4")),
        shadow=A_SHADOW,
        is_newcomer=True,
        reason="cheaper",
        price_changes=(TWICE, THIRD),
    )

    await deployment.put(new)
    await deployment.put(registration("small", state="draining"))

    assert await deployment.known() == {"new": new, "small": registration("small", state="draining")}


async def test_a_rejected_change_changes_nothing(deployment: Deployment) -> None:
    await deployment.put(registration())

    assert await deployment.known() == {"small": registration()}


async def test_each_of_concurrent_changes_sees_the_one_before(deployment: Deployment) -> None:
    await deployment.put(registration(reason="0"))

    def count(known: Mapping[str, ArmRegistration]) -> ArmRegistration:
        return registration(reason=str(int(known["small"].reason or "") + 1))

    await asyncio.gather(*(deployment.arm_registry.change(count) for _ in range(8)))

    assert (await deployment.known())["small"].reason == "8"


# --- dollars in today's prices


async def test_a_new_price_converts_earlier_bills_exactly(deployment: Deployment) -> None:
    await answered(deployment.stores, "r1")
    await answered(deployment.stores, "r2", arm_id="large")

    await deployment.put(registration(price_changes=(TWICE,)))
    await deployment.put(registration(price_changes=(TWICE, THIRD)))

    assert await deployment.cost_usd() == Decimal("0.000123456") * 2 * THIRD.factor
    assert await deployment.cost_usd("large") == Decimal("0.000123456")


async def test_sums_stay_exact_over_many_prices(deployment: Deployment) -> None:
    await answered(deployment.stores)

    changes = tuple(replace(THIRD, changed_at=NOW + timedelta(hours=i)) for i in range(8))
    await deployment.put(registration(price_changes=changes))
    await answered(deployment.stores, "r2")

    assert 0 < await deployment.cost_usd() < Decimal("0.00000005") * 2 * 10_000


async def test_an_answer_written_later_is_converted_by_the_changes_since_its_bill(
    deployment: Deployment,
) -> None:
    await deployment.put(registration(price_changes=(TWICE, THIRD)))

    for version, request_id in enumerate(["r0", "r1", "r2"]):
        await write(deployment, request_id, price_version=version)

    usd = Decimal("0.000123456")
    assert await deployment.cost_usd() == usd * 2 * THIRD.factor + usd * THIRD.factor + usd


async def test_answers_of_a_free_arm_count_as_typical_once_it_has_a_price(deployment: Deployment) -> None:
    for request_id in ("r1", "r2"):
        await write(deployment, request_id, cost_usd=Decimal(0))

    await deployment.put(registration(price_changes=(FROM_FREE,)))
    await write(deployment, "r3", cost_usd=Decimal(0))
    await write(deployment, "r4", cost_usd=Decimal("0.001"), price_version=1)

    assert await deployment.cost_usd() == 3 * Decimal("0.0022") + Decimal("0.001")


async def test_a_replaced_outcome_is_subtracted_at_its_value_now(deployment: Deployment) -> None:
    decision = a_decision()
    await deployment.journal.log_decision(decision)
    await deployment.journal.log_outcome(an_outcome(decision), [])
    await deployment.put(registration(price_changes=(TWICE,)))

    await deployment.journal.log_outcome(
        an_outcome(decision, after_s=9.0, cost_usd=Decimal("0.005"), price_version=1), []
    )

    assert await deployment.cost_usd() == Decimal("0.005")


async def test_the_record_keeps_the_billed_dollars(deployment: Deployment) -> None:
    await answered(deployment.stores)

    await deployment.put(registration(price_changes=(TWICE,)))

    record = await deployment.journal.record(TENANT, "r1")
    assert record is not None
    assert record["outcome"]["cost_usd"] == 0.000123456


async def test_prices_that_change_while_answers_are_written_leave_the_sums_right(database: Database) -> None:
    deployment = real(database)

    async def reprice(n: int) -> None:
        changes = tuple(replace(THIRD, changed_at=NOW + timedelta(hours=i)) for i in range(n))
        await deployment.put(registration(price_changes=changes))

    async def reprice_repeatedly() -> None:
        for n in range(3, 8):
            await reprice(n)

    await reprice(2)
    writes = [write(deployment, f"r{i}", price_version=i % 3) for i in range(30)]
    await asyncio.gather(reprice_repeatedly(), *writes)

    assert await deployment.cost_usd() > 0


async def write(deployment: Deployment, request_id: str, **changes: object) -> Outcome:
    decision = a_decision(request_id)
    await deployment.journal.log_decision(decision)
    outcome = an_outcome(decision, **changes)  # type: ignore[arg-type]
    await deployment.journal.log_outcome(outcome, [])
    return outcome


# --- shadow


async def test_an_answer_in_shadow_is_evidence_of_latency_and_dollars_alone(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))
    decision = a_decision()
    await deployment.journal.log_decision(decision)

    await deployment.shadow_log.keep(shadowed(an_attempt(decision, arm_id="new"), text="Hm"))

    figures = (await deployment.arm_registry.figures(TENANT))["new"]
    assert figures.sums.n == 0
    assert figures.sums.n_outcomes == 1
    assert (figures.sums.latency_s_sum, figures.sums.cost_usd_sum) == (
        Decimal("1.25"),
        Decimal("0.000123456"),
    )
    assert (figures.n_shadow_calls, figures.n_shadow_errors, figures.shadow_latency_s) == (1, 0, 1.25)
    assert figures.shadow_usd == Decimal("0.000123456")
    assert await deployment.cost_usd("new") == Decimal("0.000123456")
    record = await deployment.journal.record(TENANT, "r1")
    assert record is not None
    [shown] = record["shadow"]
    assert (shown["model"], shown["status"], shown["answer_text"]) == ("new", "ok", "Hm")
    assert shown["usage"]["prompt_tokens"] == 10
    assert shown["latency_s"] == 1.25


async def test_a_failure_in_shadow_is_stored_and_adds_no_evidence(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))
    decision = a_decision()
    await deployment.journal.log_decision(decision)
    failed = an_attempt(decision, arm_id="new", status="failed", error_type="ProviderBroken")

    await deployment.shadow_log.keep(shadowed(failed))

    figures = (await deployment.arm_registry.figures(TENANT))["new"]
    assert (figures.n_shadow_calls, figures.n_shadow_errors, figures.sums.n_outcomes) == (1, 1, 0)


async def test_an_answer_in_shadow_is_converted_by_later_prices(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))
    for request_id in ("r1", "r2"):
        decision = a_decision(request_id)
        await deployment.journal.log_decision(decision)
        await deployment.shadow_log.keep(shadowed(an_attempt(decision, arm_id="new")))
        await deployment.put(
            registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW, price_changes=(TWICE,))
        )

    assert await deployment.cost_usd("new") == 2 * 2 * Decimal("0.000123456")


async def test_a_shadow_answer_to_a_decision_not_written_yet_is_dropped(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))

    await deployment.shadow_log.keep(shadowed(an_attempt(a_decision(), arm_id="new")))

    assert await deployment.arm_registry.figures(TENANT) == {}


async def test_replicas_together_reserve_no_more_than_a_day_allows(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))

    reserved = await asyncio.gather(
        *(deployment.shadow_log.reserve("new", Decimal("0.0003"), NOW) for _ in range(8))
    )

    assert sum(reserved) == 3
    assert await deployment.shadow_log.reserve("new", Decimal("0.0003"), NOW + timedelta(days=1))
    assert not await deployment.shadow_log.reserve("new", Decimal("0.1"), NOW + timedelta(days=2))


async def test_the_cost_of_a_call_replaces_its_reservation(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))
    decision = a_decision()
    await deployment.journal.log_decision(decision)
    assert await deployment.shadow_log.reserve("new", Decimal("0.001"), NOW)

    await deployment.shadow_log.keep(
        shadowed(an_attempt(decision, arm_id="new"), reserved_usd=Decimal("0.001"))
    )

    assert not await deployment.shadow_log.reserve("new", Decimal("0.001"), NOW)
    assert await deployment.shadow_log.reserve("new", Decimal("0.0008"), NOW)


async def test_an_arm_no_longer_in_shadow_can_reserve_nothing(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="active", entry=ENTRY, shadow=A_SHADOW))

    assert not await deployment.shadow_log.reserve("new", Decimal("0.0001"), NOW)


def shadowed(
    attempt: Attempt, *, text: str | None = None, reserved_usd: Decimal = Decimal(0)
) -> ShadowAnswer:
    return ShadowAnswer(TENANT, attempt, text, reserved_usd, price_version=0)


# --- following


ReceivedRegistrations = asyncio.Queue[Mapping[str, ArmRegistration]]


async def follow(deployment: Deployment, *configured: str) -> Mapping[str, ArmRegistration]:
    """The registrations that a replica with these arms receives when it starts."""
    received = ReceivedRegistrations()
    assert isinstance(deployment.arm_registry, PostgresArmRegistry | FakeArmRegistry)
    await deployment.arm_registry.start(configured, received.put_nowait)
    await close(deployment)
    return received.get_nowait()


async def test_arms_of_a_fresh_deployment_are_no_newcomers_and_later_ones_are(deployment: Deployment) -> None:
    first = await follow(deployment, "small")
    await answered(deployment.stores)
    await rate(deployment.stores, 0.5)

    later = await follow(deployment, "small", "large")

    assert not first["small"].is_newcomer
    assert later["large"].is_newcomer


async def test_an_arm_with_evidence_older_than_registrations_is_no_newcomer(
    deployment: Deployment,
) -> None:
    await answered(deployment.stores)
    await rate(deployment.stores, 0.5)

    assert not (await follow(deployment, "small"))["small"].is_newcomer


async def close(deployment: Deployment) -> None:
    if isinstance(deployment.arm_registry, PostgresArmRegistry):
        await deployment.arm_registry.close()


async def wait_until(
    received: ReceivedRegistrations, fact: Callable[[Mapping[str, ArmRegistration]], bool]
) -> None:
    async with asyncio.timeout(20):
        while not fact(await received.get()):
            pass


async def test_a_replica_is_notified_of_a_change_without_polling(database: Database) -> None:
    one, other = real(database), PostgresArmRegistry(database, poll_every_s=3600.0)
    received = ReceivedRegistrations()
    await other.start(["small"], received.put_nowait)

    async with asyncio.timeout(20):
        while received.qsize() < 2:  # it may not listen yet when the first change is announced
            await one.put(registration(state="draining"))

    await wait_until(received, lambda known: known["small"].state == "draining")

    await other.close()


async def test_a_replica_polls_for_changes_without_notification(database: Database) -> None:
    other = PostgresArmRegistry(database, poll_every_s=0.01)
    received = ReceivedRegistrations()
    await other.start(["small"], received.put_nowait)

    async with database.connection() as connection:
        await connection.execute("UPDATE arms SET state = 'retired', changed_in = pg_current_xact_id()")

    await wait_until(received, lambda known: known["small"].state == "retired")
    await other.close()


async def test_replicas_are_notified_of_evidence_at_a_new_price(database: Database) -> None:
    deployment, replica = real(database), PostgresEvidence(database, poll_every_s=3600.0)
    await answered(deployment.stores)
    await replica.start()

    async with asyncio.timeout(20):
        n = 0
        while replica.sums(TENANT)["small"].cost_usd_sum == Decimal("0.000123456"):
            n += 1
            changes = tuple(replace(TWICE, changed_at=NOW + timedelta(hours=i)) for i in range(n))
            await deployment.put(registration(price_changes=changes))

    await replica.close()


async def test_registrations_stay_known_while_postgresql_is_unavailable(
    postgres_server: PostgresServer,
) -> None:
    await migrate_database(postgres_server.dsn)
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    deployment = real(database)
    await deployment.put(registration("new", entry=ENTRY))
    replica = PostgresArmRegistry(database, poll_every_s=0.01)
    received = ReceivedRegistrations()
    await replica.start(["small"], received.put_nowait)
    postgres_server.kill()

    with pytest.raises(StoreUnavailable):
        await deployment.put(registration("new", entry=ENTRY, state="retired"))
    assert received.get_nowait()["new"].state == "active"
    assert received.empty()
    postgres_server.start()
    await deployment.put(registration("new", entry=ENTRY, state="retired"))

    await wait_until(received, lambda known: known["new"].state == "retired")
    await replica.close()
    await database.close()


async def test_a_replica_started_without_postgresql_registers_its_arms_later(
    postgres_server: PostgresServer,
) -> None:
    await migrate_database(postgres_server.dsn)
    postgres_server.stop()
    database = Database(postgres_server.dsn, connect_timeout_s=10.0, retry_after_s=0.0)
    replica = PostgresArmRegistry(database, poll_every_s=0.01)
    received = ReceivedRegistrations()

    await replica.start(["small"], received.put_nowait)
    assert received.empty()
    postgres_server.start()

    await wait_until(received, lambda known: "small" in known)
    await replica.close()
    await database.close()


async def test_a_reservation_in_shadow_for_an_unknown_cost_stands(deployment: Deployment) -> None:
    await deployment.put(registration("new", state="shadow", entry=ENTRY, shadow=A_SHADOW))
    decision = a_decision()
    await deployment.journal.log_decision(decision)
    attempt = an_attempt(decision, arm_id="new", cost_usd=None, cost_source="unknown")
    all_of_it = A_SHADOW.usd_per_day
    assert await deployment.shadow_log.reserve("new", all_of_it, NOW)

    await deployment.shadow_log.keep(replace(shadowed(attempt), reserved_usd=all_of_it))

    figures = (await deployment.arm_registry.figures(TENANT))["new"]
    assert (figures.n_shadow_calls, figures.n_shadow_unpriced) == (1, 1)
    assert (figures.sums.n_outcomes, figures.sums.n_unpriced) == (1, 1)
    assert figures.shadow_usd == figures.sums.cost_usd_sum == Decimal(0)
    assert not await deployment.shadow_log.reserve("new", Decimal("0.000001"), NOW)


async def test_a_price_change_leaves_answers_of_unknown_cost_out(deployment: Deployment) -> None:
    await deployment.put(registration("small"))
    await write(deployment, "r1")
    await write(deployment, "r2", cost_usd=None, cost_source="unknown")

    change = PriceChange(NOW, Decimal(1), Decimal("0.5"))
    await deployment.put(registration("small", price_changes=(change,)))

    assert await deployment.cost_usd("small") == Decimal("0.500123456")
