"""The requests of a task with their texts and ratings, from real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from service.store.connection.pool import Database
from service.store.log.rated_requests import rated_requests
from tests.integration.postgres_server import Cluster
from tests.integration.store.log.test_request_bodies import FROM, UNTIL, asked, log, with_options
from tests.integration.stores import NOW, TENANT


@pytest.fixture
async def database(system_cluster: Cluster) -> AsyncIterator[Database]:
    database = Database(await system_cluster.fresh_database(), connect_timeout_s=10.0, command_timeout_s=10.0)
    yield database
    await database.close()


async def test_requests_of_a_task_come_with_body_answer_and_newest_rating(database: Database) -> None:
    task = with_options(asked("r1"), task="sums")
    later = replace(with_options(asked("r2"), task="sums"), decided_at=NOW + timedelta(hours=1))
    for decision in (task, later, with_options(asked("r3"), task="poems"), asked("r4")):
        await log(database, decision, answer_text="An answer.")
    await log(database, with_options(asked("r5"), task="sums"), store_texts=False)

    found = await rated_requests(database, TENANT, "sums", FROM, UNTIL, 10)

    assert [request.decision_id for request in found] == [later.decision_id, task.decision_id]
    assert found[0].body == task.query.body
    assert (found[0].answer, found[0].reward) == ("An answer.", None)
    assert await rated_requests(database, "other", "sums", FROM, UNTIL, 10) == []
    assert len(await rated_requests(database, TENANT, "sums", FROM, UNTIL, 1)) == 1
