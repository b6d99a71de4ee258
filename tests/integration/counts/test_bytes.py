"""How many bytes a decision takes in PostgreSQL."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import numpy as np

from service.domain.decision import Decision, Neighbour
from service.domain.neighbours import NeighbourColumns
from service.domain.precision import rounded_ease
from service.store.connection.pool import Database
from service.store.log.journal import PostgresJournal
from tests.integration.stores import a_candidate, a_decision, an_attempt, an_outcome

N = 100  # decisions, and neighbours of each
MOST_BYTES_OF_A_ROW = 3_000
MOST_BYTES_OF_LOG = 4_600  # of the write-ahead log, with the outcome and an attempt


def a_weighed_decision(number: int) -> Decision:
    """A decision among three arms, by a hundred neighbours with numbers of full length."""
    rng = np.random.default_rng(number)
    arm_ids = [f"vendor/model-{arm}" for arm in range(3)]
    neighbours = [
        Neighbour(
            UUID(bytes=rng.bytes(16)),
            f"r-{prompt}",
            arm_ids[rng.integers(3)],
            similarity=0.9 - prompt / 500 + float(rng.uniform(0, 1e-3)),
            age_s=float(rng.uniform(0, 1e6)),
            reward=float(rng.choice([0.0, 0.5, 1.0])),
            weight=1.0,
            latency_s=float(rng.uniform(0, 9)),
            cost_usd=float(rng.uniform(0, 0.01)),
            prompt=prompt,
        )
        for prompt in range(N)
    ]
    candidates = [
        replace(
            a_candidate(arm_id, 1 / 3),
            alpha=float(rng.uniform(1, 9)),
            quality=float(rng.uniform()),
            predicted=tuple(rng.uniform(size=4).tolist()),
        )
        for arm_id in arm_ids
    ]
    return replace(
        a_decision(f"r{number}", arm_id=arm_ids[0]),
        candidates=candidates,
        neighbours=NeighbourColumns.of(neighbours).rounded(),
        neighbour_ease=tuple(rounded_ease(rng.normal(0, 0.2, N)).tolist()),
        context=rng.normal(size=384).astype(np.float32),
    )


async def test_a_decision_takes_few_bytes_in_its_table_and_in_the_log(database: Database) -> None:
    journal = PostgresJournal(database)
    decisions = [a_weighed_decision(number) for number in range(N)]
    async with database.connection() as connection:
        await connection.execute("CHECKPOINT", timeout=60.0)
    first, *others = decisions
    await journal.log_answer(
        first, an_outcome(first), [an_attempt(first)]
    )  # its pages are written whole, once
    async with database.connection() as connection:
        before = await connection.fetchval("SELECT pg_current_wal_insert_lsn()")

    for decision in others:
        await journal.log_answer(decision, an_outcome(decision), [an_attempt(decision)])

    async with database.connection() as connection:
        of_log = await connection.fetchval(
            "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1)::float8", before
        )
        of_row = await connection.fetchval("SELECT avg(pg_column_size(d.*))::float8 FROM decisions d")
        outside = await connection.fetchval(
            "SELECT pg_relation_size(reltoastrelid) FROM pg_class WHERE oid = 'decisions'::regclass"
        )
    assert of_row < MOST_BYTES_OF_A_ROW
    assert of_log / len(others) < MOST_BYTES_OF_LOG
    assert outside == 0
