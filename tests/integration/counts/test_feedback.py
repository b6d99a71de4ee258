"""What feedback makes of PostgreSQL, alone and in a burst; the memory costs no round trip."""

from __future__ import annotations

import asyncio

from service.learning.learner import Learner
from service.store.connection.pool import Database
from service.store.evidence.evidence import PostgresEvidence
from service.store.log.journal import PostgresJournal
from tests.counting import counting
from tests.fakes import FakeMemory
from tests.integration.postgres_server import Cluster
from tests.integration.stores import ENCODER, Stores, a_feedback, answered
from tests.postgres_wire import postgres_wire

N_BURST = 32


async def test_feedback_stays_within_its_counts(embedded_cluster: Cluster) -> None:
    with postgres_wire(await embedded_cluster.fresh_database()) as wire:
        database = Database(wire.dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
        stores = Stores(PostgresJournal(database), PostgresEvidence(database))
        learner = Learner(stores.evidence, FakeMemory(encoder=ENCODER), stores.journal, ENCODER)
        for i in range(N_BURST + 2):
            await answered(stores, f"r{i}", arm_id=("small", "large")[i % 2])
        await learner.learn(a_feedback(0.5, "r0"))  # the statements are prepared
        await learner.idle()

        async with counting(wire) as alone:
            await learner.learn(a_feedback(0.5, "r1"))
            await learner.idle()
        async with counting(wire) as burst:
            await asyncio.gather(*(learner.learn(a_feedback(0.5, f"r{i}")) for i in range(2, N_BURST + 2)))
            await learner.idle()
        await database.close()

    # Begin, lock and read, write, commit; and the memory's queue is cleared in the background.
    assert (alone.round_trips, alone.commits) == (5, 2)
    assert (burst.round_trips, burst.commits) == (5, 2)
