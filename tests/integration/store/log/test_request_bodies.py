"""Which bodies the journal stores, and which requests can be asked again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from service.domain.decision import Decision
from service.domain.query import Native, SideCall, Turn
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from service.store.log.request_bodies import MAX_BODY_BYTES, PostgresRequestBodies
from service.store.spool.codec import decode, encode
from tests.integration.postgres_server import Cluster
from tests.integration.stores import NOW, TENANT, a_decision, an_attempt, an_outcome

TEXT = "NUL \0, an emoji \U0001f642 and “quotes”"
FROM, UNTIL = NOW - timedelta(days=1), NOW + timedelta(days=1)


@pytest.fixture
async def database(system_cluster: Cluster) -> AsyncIterator[Database]:
    database = Database(await system_cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


def asked(request_id: str = "r1", **changes: Any) -> Decision:
    """A decision for a user's request that restricts nothing."""
    decision = a_decision(request_id, text=TEXT, tenant=changes.pop("tenant", TENANT))
    options = replace(decision.query.options, models=None, exclude=frozenset(), require_data_use=frozenset())
    query = replace(decision.query, options=options, native=None)
    return replace(decision, query=replace(query, **changes))


def with_options(decision: Decision, **options: Any) -> Decision:
    query = decision.query
    return replace(decision, query=replace(query, options=replace(query.options, **options)))


async def log(
    database: Database, decision: Decision, *, store_texts: bool = True, **outcome: Any
) -> PostgresRequestBodies:
    """Log a request with its outcome."""
    journal = PostgresJournal(database, store_texts=store_texts)
    await journal.log_decision(decision)
    await journal.log_outcome(an_outcome(decision, **outcome), [an_attempt(decision)])
    return PostgresRequestBodies(database)


async def n_stored(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM request_bodies"))


async def test_a_request_comes_back_with_its_body(database: Database) -> None:
    decision = asked()
    bodies = await log(database, decision)

    [found] = await bodies.newest(TENANT, FROM, UNTIL, 10)

    assert found.decision_id == decision.decision_id
    assert (found.decided_at, found.body_digest) == (NOW, decision.query.body_digest)
    assert (found.task, found.encoder) == ("triage/v2", "minilm")
    assert found.context is not None
    assert decision.context is not None
    assert found.context.tolist() == decision.context.tolist()
    assert await bodies.bodies(TENANT, [found.decision_id]) == {decision.decision_id: decision.query.body}


async def test_nothing_is_stored_unless_texts_are(database: Database) -> None:
    bodies = await log(database, asked(), store_texts=False)

    assert await bodies.newest(TENANT, FROM, UNTIL, 10) == []
    assert await n_stored(database) == 0


SIDE_CALL: SideCall = "title"


@pytest.mark.parametrize(
    "changed",
    [
        lambda d: replace(d, query=replace(d.query, turn=Turn(side_call=SIDE_CALL))),
        lambda d: replace(d, query=replace(d.query, turn=Turn(in_tool_loop=True))),
        lambda d: replace(d, query=replace(d.query, turn=Turn(continues_thread=True))),
        lambda d: replace(d, query=replace(d.query, dialect="import")),
        lambda d: replace(d, query=replace(d.query, text=" \n")),
        lambda d: replace(d, query=replace(d.query, native=Native({}, {}, needs=("a container",)))),
        lambda d: replace(d, query=replace(d.query, body={**d.query.body, "store": False})),
        lambda d: replace(d, query=replace(d.query, _form={"store": False})),
        lambda d: replace(d, query=replace(d.query, body={**d.query.body, "user": "u" * MAX_BODY_BYTES})),
        lambda d: with_options(d, learn=False),
        lambda d: with_options(d, models=frozenset({"small"})),
        lambda d: with_options(d, exclude=frozenset({"large"})),
        lambda d: with_options(d, require_data_use=frozenset({"no_training"})),
    ],
    ids=[
        "side call",
        "tool loop",
        "thread",
        "imported",
        "without words",
        "only Anthropic's",
        "store: false",
        "store: false of a response",
        "too large",
        "learn: false",
        "models",
        "exclude",
        "require_data_use",
    ],
)
async def test_what_cannot_or_must_not_be_asked_again_is_not_stored(
    database: Database, changed: Callable[[Decision], Decision]
) -> None:
    await log(database, changed(asked()))

    assert await n_stored(database) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": True},
        {"requested_model": "small"},
        {"n_client_retries": 1},
        {"native": Native({}, {})},
        {"turn": Turn(key=b"k")},
    ],
    ids=str,
)
async def test_other_requests_of_users_are_stored(database: Database, changes: dict[str, Any]) -> None:
    await log(database, asked(**changes))

    assert await n_stored(database) == 1


async def test_answers_of_the_cache_and_failures_are_left_out(database: Database) -> None:
    for n, (kind, outcome) in enumerate(
        [("cache", {}), ("exploit", {"kind": "cache"}), ("exploit", {"status": "failed"}), ("exploit", {})]
    ):
        decision = replace(asked(f"r{n}"), kind=kind)  # type: ignore[arg-type]
        bodies = await log(database, decision, **outcome)  # type: ignore[arg-type]

    assert [r.decision_id for r in await bodies.newest(TENANT, FROM, UNTIL, 10)] == [decision.decision_id]


async def test_a_decision_without_an_outcome_is_left_out(database: Database) -> None:
    await PostgresJournal(database, store_texts=True).log_decision(asked())

    assert await PostgresRequestBodies(database).newest(TENANT, FROM, UNTIL, 10) == []


async def test_only_the_newest_of_the_tenant_and_the_range_are_read(database: Database) -> None:
    at = [NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2), NOW + timedelta(hours=3)]
    for n, moment in enumerate(at):
        bodies = await log(database, replace(asked(f"r{n}"), decided_at=moment))
    await log(database, asked("r1", tenant="other"))

    found = await bodies.newest(TENANT, at[0] + timedelta(seconds=1), at[3], 10)

    assert [request.decided_at for request in found] == [at[2], at[1]]
    assert [r.decided_at for r in await bodies.newest(TENANT, at[0], UNTIL, 2)] == [at[3], at[2]]


async def test_old_bodies_are_deleted_and_their_decisions_stay(database: Database) -> None:
    await log(database, asked("old"))
    bodies = await log(database, replace(asked("new"), decided_at=NOW + timedelta(days=2)))

    assert await bodies.prune(NOW + timedelta(days=1)) == 1

    assert await n_stored(database) == 1
    assert await PostgresJournal(database).find(TENANT, "old") is not None


async def test_a_spooled_request_has_its_body_when_it_is_drained(database: Database) -> None:
    decision = asked()
    spooled = decode(encode(decision, store_texts=True))
    assert isinstance(spooled, Decision)

    bodies = await log(database, spooled)

    assert await bodies.bodies(TENANT, [decision.decision_id]) == {decision.decision_id: decision.query.body}


def test_the_spool_has_no_body_that_the_journal_would_not_store() -> None:
    for decision, store_texts in [(asked(), False), (with_options(asked(), learn=False), True)]:
        spooled = decode(encode(decision, store_texts=store_texts))
        assert isinstance(spooled, Decision)
        assert spooled.query.body == {}
