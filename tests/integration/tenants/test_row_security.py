"""What a transaction of one tenant sees and writes; the service owns its tables and is no superuser."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import asyncpg
import pytest

from service.domain.registration import ShadowAnswer
from service.domain.stored_response import StoredResponse
from service.errors import StoreUnavailable
from service.learning.rewards import reward_of
from service.store.arm_registry import PostgresArmRegistry
from service.store.connection.pool import Connection, Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.cached_answers import PostgresAnswerStore
from service.store.log.journal import PostgresJournal
from service.store.log.responses import PostgresResponseStore
from service.store.log.shadow import PostgresShadowLog
from tests.integration.store.log.test_cached_answers import an_answer
from tests.integration.stores import NOW, a_decision, a_feedback, an_attempt, an_outcome

TENANTS = ("one", "other")
# Tables without rows of tenants, and the operator's books, which no path of a tenant reads.
OF_NOBODY = {"arms", "price_changes", "oauth_logins", "oauth_tokens", "schema_migrations"}
OF_THE_OPERATOR = {
    "database_ids",
    "forgotten",
    "forgotten_decisions",
    "imported_logs",
    "key_limits",
    "limit_holds",
    "limit_usage",
}
OF_TENANTS = (
    "attempts", "cached_answers", "decisions", "evidence", "feedback_events", "histories", "memory_queue",
    "outcomes", "request_bodies", "responses", "sessions", "shadow_answers", "verdicts",
)  # fmt: skip
TABLES = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
    SELECT FROM pg_policy p WHERE p.polrelid = c.oid) AS is_secured
FROM pg_class c
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
"""


async def test_every_table_but_those_of_nobody_is_secured(owned: Database) -> None:
    async with owned.connection() as connection:
        tables = {row["relname"]: row["is_secured"] for row in await connection.fetch(TABLES)}

    assert {name for name, is_secured in tables.items() if not is_secured} <= OF_NOBODY | OF_THE_OPERATOR
    assert {"decisions", "request_bodies", "evidence"} <= tables.keys()


async def test_a_statement_without_a_condition_sees_one_tenant(owned: Database) -> None:
    await _write_for_both(owned)

    seen = {}
    for table in OF_TENANTS:
        async with owned.as_tenant("one") as connection:
            own = await connection.fetchval(f"SELECT count(*) FROM {table}")
        async with owned.connection() as connection:  # as by writers for all tenants, and by earlier versions
            seen[table] = own, await connection.fetchval(f"SELECT count(*) FROM {table}")
    assert seen == dict.fromkeys(seen, (1, 2))


async def test_a_transaction_of_one_tenant_writes_nothing_of_another(owned: Database) -> None:
    await _write_for_both(owned)

    async with owned.as_tenant("one") as connection:
        assert await connection.execute("DELETE FROM responses WHERE tenant = 'other'") == "DELETE 0"
        assert await connection.execute("UPDATE evidence SET n = 9 WHERE tenant = 'other'") == "UPDATE 0"
    with pytest.raises(StoreUnavailable):  # as for every privilege that is missing
        async with owned.as_tenant("one") as connection:
            await _take_over(connection)
    async with owned.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM responses WHERE tenant = 'other'") == 1


async def _take_over(connection: Connection) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        await connection.execute("UPDATE responses SET tenant = 'other'")
    raise StoreUnavailable("the transaction has failed")


async def test_the_tenant_ends_with_its_transaction(owned: Database) -> None:
    await _write_for_both(owned)

    async with owned.connection() as connection:
        async with connection.transaction():
            await connection.execute("SELECT set_config('router.tenant', 'one', true)")
            within = await connection.fetchval("SELECT count(*) FROM decisions")
        after = await connection.fetchval("SELECT count(*) FROM decisions")

    assert (within, after) == (1, 2)


async def _write_for_both(database: Database) -> None:
    """One row of each table for both tenants; the request ids are equal."""
    registry = PostgresArmRegistry(database)
    await registry.start(["small", "shadow"], lambda _: None)
    await registry.close()
    evidence = PostgresEvidence(database)
    journal = PostgresJournal(database, store_texts=True, snapshot=evidence.snapshot)
    for tenant in TENANTS:
        await _write(database, journal, evidence, tenant)


async def _write(
    database: Database, journal: PostgresJournal, evidence: PostgresEvidence, tenant: str
) -> None:
    decision = a_decision("r-1", tenant=tenant)
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO sessions VALUES ($1, 'k', 'small', 'v', 0, 1, NULL, $2, now())",
            tenant,
            decision.decision_id,
        )
    await journal.log_answer(decision, an_outcome(decision), [an_attempt(decision)])
    async with database.connection() as connection:
        await connection.execute("INSERT INTO request_bodies VALUES ($1, '{}', now())", decision.decision_id)
    feedback = replace(a_feedback(1.0, "r-1"), tenant=tenant)
    await evidence.learn(feedback, reward_of(feedback))
    shadow = replace(an_attempt(decision), arm_id="shadow", status="failed")
    shadow_log = PostgresShadowLog(database, snapshot=evidence.snapshot)
    await shadow_log.keep(ShadowAnswer(tenant, shadow, None, Decimal(0), price_version=0))
    response = StoredResponse(tenant, "resp_1", None, (), {"id": "resp_1", "output": []}, NOW)
    await PostgresResponseStore(database).keep(response)
    answer = replace(an_answer(1), tenant=tenant, expires_at=NOW + timedelta(days=9_000))
    await PostgresAnswerStore(database).keep(answer)
