from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.access.key_copy import KeyCopy
from service.access.key_desk import KeyDesk, NewKey
from service.access.key_digests import KeyDigests
from service.access.keyring import Keyring
from service.domain.limit import Amount, Ledger, Limit, Subject
from service.store.api_keys import PostgresApiKeyStore
from service.store.connection.pool import Database
from service.store.limits import PostgresLedger
from tests.fakes_limits import FakeLedger
from tests.fakes_store import FakeStore
from tests.integration.postgres_server import Cluster
from tests.integration.stores import NOW

ACME = Subject("tenant", "acme")
DOLLAR_A_DAY = Limit(ACME, "usd", "day", Decimal(1))
SIXTY_A_MINUTE = Limit(ACME, "requests", "minute", Decimal(60))
LEASE_S = 600.0


@pytest.fixture
def ledger(backing: FakeStore | Database) -> Ledger:
    return FakeLedger(backing) if isinstance(backing, FakeStore) else PostgresLedger(backing)


def of(limit: Limit, amount: str | None) -> Amount:
    return Amount(limit, None if amount is None else Decimal(amount))


async def held(
    ledger: Ledger, amount: str, *, limit: Limit = DOLLAR_A_DAY, hold_id: UUID | None = None
) -> UUID:
    """A hold of so much."""
    hold_id = uuid4() if hold_id is None else hold_id
    (standing,) = await ledger.hold(hold_id, [of(limit, amount)], LEASE_S)
    assert not standing.is_over
    return hold_id


async def used(ledger: Ledger, limit: Limit = DOLLAR_A_DAY) -> Decimal:
    (standing,) = await ledger.hold(uuid4(), [of(limit, "0")], LEASE_S)
    return standing.used


async def test_a_hold_counts_before_it_is_settled(ledger: Ledger) -> None:
    await held(ledger, "0.6")

    (standing,) = await ledger.hold(uuid4(), [of(DOLLAR_A_DAY, "0.5")], LEASE_S)

    assert standing.is_over
    assert (standing.used, standing.under_way, standing.left) == (
        Decimal("0.6"),
        Decimal("0.6"),
        Decimal("0.4"),
    )


async def test_a_limit_can_be_used_to_the_last_cent(ledger: Ledger) -> None:
    await held(ledger, "0.6")

    await held(ledger, "0.4")

    assert await used(ledger) == 1


async def test_a_settled_hold_counts_as_what_was_used(ledger: Ledger) -> None:
    hold_id = await held(ledger, "0.9")

    await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.001")])

    assert await used(ledger) == Decimal("0.001")


async def test_a_second_settlement_changes_nothing(ledger: Ledger) -> None:
    hold_id = await held(ledger, "0.9")

    for _ in range(2):
        await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.1")])

    assert await used(ledger) == Decimal("0.1")


async def test_a_use_that_nobody_knows_counts_as_it_was_held(ledger: Ledger) -> None:
    hold_id = await held(ledger, "0.9")

    await ledger.settle(hold_id, [of(DOLLAR_A_DAY, None)])

    assert await used(ledger) == Decimal("0.9")


async def test_a_later_amount_of_a_hold_replaces_the_earlier_one(ledger: Ledger) -> None:
    hold_id = await held(ledger, "0.9")

    await held(ledger, "0.95", hold_id=hold_id)

    assert await used(ledger) == Decimal("0.95")


async def test_a_hold_may_always_become_smaller(ledger: Ledger) -> None:
    hold_id = await held(ledger, "0.9")
    lowered = Limit(ACME, "usd", "day", Decimal("0.5"))  # the operator has lowered it meanwhile

    (standing,) = await ledger.hold(hold_id, [of(lowered, "0.8")], LEASE_S)

    assert not standing.is_over


async def test_one_limit_that_leaves_too_little_holds_nothing_of_the_others(ledger: Ledger) -> None:
    await held(ledger, "1")

    standings = await ledger.hold(uuid4(), [of(SIXTY_A_MINUTE, "1"), of(DOLLAR_A_DAY, "0.1")], LEASE_S)

    assert [standing.is_over for standing in standings] == [False, True]
    assert await used(ledger, SIXTY_A_MINUTE) == 0


async def test_each_share_of_a_limit_is_told_once(ledger: Ledger) -> None:
    told = []
    for cost in ("0.4", "0.2", "0.1", "0.2", "0.05", "0.05"):
        hold_id = await held(ledger, cost)
        told.append([passed.percent for passed in await ledger.settle(hold_id, [of(DOLLAR_A_DAY, cost)])])

    assert told == [[], [50], [], [80], [], [100]]


async def test_what_others_hold_is_not_told_as_used(ledger: Ledger) -> None:
    await held(ledger, "0.9")
    hold_id = await held(ledger, "0.05")

    assert await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.05")]) == []


async def test_a_refusal_tells_that_a_limit_is_used_up_once_and_only_if_nothing_under_way_may_free_it(
    ledger: Ledger,
) -> None:
    hold_id = await held(ledger, "0.95")
    told = []
    for _ in range(2):
        (standing,) = await ledger.hold(uuid4(), [of(DOLLAR_A_DAY, "0.5")], LEASE_S)
        told.append(standing.is_told)
    await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.75")])
    for _ in range(2):
        (standing,) = await ledger.hold(uuid4(), [of(DOLLAR_A_DAY, "0.5")], LEASE_S)
        told.append(standing.is_told)

    assert told == [False, False, True, False]


async def test_a_full_minute_is_no_news(ledger: Ledger) -> None:
    hold_id = await held(ledger, "60", limit=SIXTY_A_MINUTE)

    assert await ledger.settle(hold_id, [of(SIXTY_A_MINUTE, "60")]) == []


# --- PostgreSQL alone


@pytest.fixture
async def dsn(embedded_cluster: Cluster) -> str:
    return await embedded_cluster.fresh_database()


@pytest.fixture
async def database(dsn: str) -> AsyncIterator[Database]:
    database = Database(dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


SPENDER = """
import asyncio, sys, uuid
from decimal import Decimal
from service.domain.limit import Amount, Limit, Subject
from service.store.connection.pool import Database
from service.store.limits import PostgresLedger

LIMIT = Limit(Subject("tenant", "acme"), "usd", "day", Decimal(1))

async def main():
    database = Database(sys.argv[1], connect_timeout_s=60.0, busy_timeout_s=60.0, command_timeout_s=60.0)
    ledger = PostgresLedger(database)
    async def call():
        hold_id = uuid.uuid4()
        (standing,) = await ledger.hold(hold_id, [Amount(LIMIT, Decimal("0.03"))], 600.0)
        if standing.is_over:
            return 0
        await ledger.settle(hold_id, [Amount(LIMIT, Decimal("0.02"))])
        return 1
    print(sum(await asyncio.gather(*(call() for _ in range(50)))))
    await database.close()

asyncio.run(main())
"""


async def test_200_concurrent_calls_of_four_processes_never_pass_a_limit_of_one(
    dsn: str, database: Database
) -> None:
    spenders = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", SPENDER, dsn, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    results = [await spender.communicate() for spender in spenders]

    assert all(spender.returncode == 0 for spender in spenders), results
    n_calls = sum(int(output) for output, _ in results)
    assert n_calls >= 33  # as many as fit at their worst price
    assert await used(PostgresLedger(database)) == n_calls * Decimal("0.02") <= 1


async def test_what_a_killed_process_held_stays_counted_and_is_under_way_until_its_lease_ends(
    database: Database,
) -> None:
    ledger = PostgresLedger(database)
    for lease_s in (0.0, LEASE_S):  # of processes that never came back
        await ledger.hold(uuid4(), [of(DOLLAR_A_DAY, "0.4")], lease_s)

    (standing,) = await ledger.hold(uuid4(), [of(DOLLAR_A_DAY, "0.3")], LEASE_S)

    assert standing.is_over
    assert (standing.used, standing.under_way) == (Decimal("0.8"), Decimal("0.4"))


async def test_a_settlement_after_the_end_of_its_lease_still_counts(database: Database) -> None:
    ledger, hold_id = PostgresLedger(database), uuid4()
    await ledger.hold(hold_id, [of(DOLLAR_A_DAY, "0.4")], 0.0)

    await ledger.prune()
    await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.1")])

    assert await used(ledger) == Decimal("0.1")


async def test_pruning_keeps_the_use_of_the_running_period(database: Database) -> None:
    ledger = PostgresLedger(database)
    await ledger.settle(await held(ledger, "0.4"), [of(DOLLAR_A_DAY, "0.4")])
    async with database.connection() as connection:
        await connection.execute("UPDATE limit_holds SET expires_at = now() - interval '2 days'")
        await connection.execute(
            "INSERT INTO limit_usage VALUES ('tenant:acme', 'usd', 'minute', now() - interval '3 days', 1)"
        )

    await ledger.prune()

    async with database.connection() as connection:
        left = await connection.fetch("SELECT measure, period, used FROM limit_usage")
        assert [tuple(row) for row in left] == [("usd", "day", Decimal("0.4"))]
        assert await connection.fetchval("SELECT count(*) FROM limit_holds") == 0


async def test_a_new_day_begins_unused(database: Database) -> None:
    ledger = PostgresLedger(database)
    await held(ledger, "1")
    async with database.connection() as connection:
        await connection.execute("UPDATE limit_usage SET begins_at = begins_at - interval '1 day'")
        await connection.execute("UPDATE limit_holds SET begins_at = begins_at - interval '1 day'")

    await held(ledger, "1")


async def test_a_request_that_goes_on_after_midnight_is_counted_on_the_day_of_its_first_call(
    database: Database,
) -> None:
    ledger = PostgresLedger(database)
    hold_id = await held(ledger, "0.5")
    async with database.connection() as connection:
        await connection.execute("UPDATE limit_usage SET begins_at = begins_at - interval '1 day'")
        await connection.execute("UPDATE limit_holds SET begins_at = begins_at - interval '1 day'")

    await held(ledger, "0.9", hold_id=hold_id)

    assert await used(ledger) == 0
    await ledger.settle(hold_id, [of(DOLLAR_A_DAY, "0.7")])
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT used FROM limit_usage ORDER BY begins_at") == Decimal("0.7")


def desk_of(keys: PostgresApiKeyStore, folder: Path) -> KeyDesk:
    digests = KeyDigests(["a secret of this test with 32 characters"])
    return KeyDesk(
        keys, digests, lambda: NOW, Keyring(keys, digests, lambda: NOW, KeyCopy(folder / "keys", ""))
    )


async def test_a_key_is_stored_with_its_limits_and_its_successor_counts_with_it(
    database: Database, tmp_path: Path
) -> None:
    keys = PostgresApiKeyStore(database)
    desk = desk_of(keys, tmp_path)
    old = (await desk.create(NewKey("ci", "acme", frozenset({"inference"}), limits={"usd": ["1/day"]}))).key
    new = (await desk.rotate("ci", timedelta(hours=1))).key

    limit = Limit(Subject("key", str(old.key_id)), "usd", "day", Decimal(1))
    assert new.limits == (limit,)
    assert [key.limits for key in await keys.all()] == [(limit,), (limit,)]


async def test_the_limits_of_a_key_can_be_raised_and_what_was_used_stays_counted(
    database: Database, tmp_path: Path
) -> None:
    elsewhere, ledger = PostgresApiKeyStore(database), PostgresLedger(database)
    desk = desk_of(PostgresApiKeyStore(database), tmp_path)
    key = (await desk.create(NewKey("ci", "acme", frozenset({"inference"}), limits={"usd": ["1/day"]}))).key
    await held(ledger, "0.9", limit=key.limits[0])

    await elsewhere.changed()
    await desk.limit("ci", {"usd": ["5/day"]})

    (raised,) = next(each.limits for each in await elsewhere.changed())
    assert await held(ledger, "4", limit=raised)
    assert await used(ledger, raised) == Decimal("4.9")


cents = st.integers(0, 60).map(lambda n: Decimal(n) / 100)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["hold", "settle", "lose"]), cents), max_size=20)
)
def test_in_any_order_of_holds_and_settlements_the_use_is_their_sum_and_below_the_limit(
    dsn: str, steps: list[tuple[int, str, Decimal]]
) -> None:
    asyncio.run(play(dsn, steps))


async def play(dsn: str, steps: list[tuple[int, str, Decimal]]) -> None:
    """Hold, settle with at most what is held, and lose holds; the model is a dictionary."""
    database = Database(dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    ledger = PostgresLedger(database)
    limit = Limit(Subject("tenant", str(uuid4())), "usd", "day", Decimal(1))
    hold_ids = [uuid4() for _ in range(5)]
    under_way: dict[int, Decimal] = {}
    spent = Decimal(0)
    for n, step, amount in steps:
        total = spent + sum(under_way.values())
        if step == "hold":
            (standing,) = await ledger.hold(hold_ids[n], [Amount(limit, amount)], LEASE_S)
            before = under_way.get(n, Decimal(0))
            assert standing.is_over == (amount > before and total - before + amount > 1)
            if not standing.is_over:
                under_way[n] = amount
        elif step == "settle" and n in under_way:
            cost = min(amount, under_way.pop(n))
            spent += cost
            await ledger.settle(hold_ids[n], [Amount(limit, cost)])
        elif step == "lose" and n in under_way:
            spent += under_way.pop(n)
            hold_ids[n] = uuid4()
        assert await used(ledger, limit) == spent + sum(under_way.values()) <= 1
    await database.close()
