"""Several workers and replicas on a PostgreSQL and a Qdrant server, also while these are unavailable."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.e2e.running import RunningRouter, eventually
from tests.integration.postgres_server import PostgresServer
from tests.integration.qdrant_server import QdrantServer

Serve = Callable[..., RunningRouter]
QUESTION = "How do I reverse a list in Python?"


def test_every_worker_knows_what_one_worker_learns(
    serve: Serve, postgres_server: PostgresServer, qdrant_server: QdrantServer
) -> None:
    router = serve("--workers", "2", database_url=postgres_server.dsn, qdrant_url=qdrant_server.url)
    workers = _workers(router)
    _answer_to_clients(router, "Name a colour.", "Who wrote Faust?", "What is 3 * 4?", "Why is it raining?")

    for number, worker in enumerate(workers):
        with _only(worker, workers):
            assert router.ask(f"asked-{number}", QUESTION).status_code == 200
            assert router.rate(f"asked-{number}", 1.0).status_code == 202
        for other in workers:
            with _only(other, workers):
                _knows_within_a_second(router, number + 1)
                assert len(router.route(QUESTION)["neighbours"]) == number + 1

    assert len(workers) == 2
    assert _total(router, "router_requests_total") == 6
    assert _total(router, "router_feedback_total") == 2
    assert router.interrupt() == 0


def test_every_replica_knows_what_one_replica_learns(
    serve: Serve, postgres_server: PostgresServer, qdrant_server: QdrantServer
) -> None:
    stores = {"database_url": postgres_server.dsn, "qdrant_url": qdrant_server.url}
    one, other = serve(**stores), serve(**stores)

    assert one.ask("a", QUESTION).status_code == 200
    assert other.rate("a", 1.0).status_code == 202

    for router in (one, other):
        _knows_within_a_second(router, 1)
        assert [n["request_id"] for n in router.route(QUESTION)["neighbours"]] == ["a"]
        assert router.get("/requests/a")["outcome"]["status"] == "ok"


def test_a_router_started_without_its_servers_answers_and_catches_up_when_they_return(
    serve: Serve, postgres_server: PostgresServer, qdrant_server: QdrantServer
) -> None:
    postgres_server.stop()
    qdrant_server.kill()
    router = serve(
        database_url=postgres_server.dsn,
        qdrant_url=qdrant_server.url,
        log_level="error",
        allow_anonymous="true",  # before PostgreSQL has answered once nobody knows whether there are keys
    )

    alone = [router.ask(f"alone-{i}", QUESTION) for i in range(3)]
    refused = router.rate("alone-0", 1.0)
    health = router.get("/health")

    assert [answer.status_code for answer in alone] == [200] * 3
    for answer in alone:
        assert {"store", "memory"} <= set(answer.headers["x-router-degraded"].split(", "))
    assert refused.status_code == 503
    assert health["status"] == "degraded"
    assert health["dependencies"]["postgresql"]["spooled"] == 6  # decisions and outcomes
    assert health["dependencies"]["qdrant"]["status"] == "unavailable"

    postgres_server.start()
    qdrant_server.start()
    eventually(lambda: router.get("/health")["dependencies"]["qdrant"]["status"] == "ok")
    eventually(lambda: router.route(QUESTION) and router.get("/health")["status"] == "ok")
    eventually(lambda: router.get("/health")["dependencies"]["postgresql"]["spooled"] == 0)

    assert router.get("/requests/alone-2")["outcome"]["status"] == "ok"
    assert router.rate("alone-2", 1.0).status_code == 202
    eventually(lambda: len(router.route(QUESTION)["neighbours"]) == 1)
    assert "x-router-degraded" not in router.ask("together", QUESTION).headers


def test_decisions_that_wait_for_postgresql_survive_the_process(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    router = serve(database_url=postgres_server.dsn, log_level="error")
    postgres_server.kill()
    assert "store" in router.ask("waiting", QUESTION).headers["x-router-degraded"]

    router.kill()
    postgres_server.start()
    router.start()
    eventually(lambda: router.get("/health")["dependencies"]["postgresql"]["spooled"] == 0)

    assert router.get("/requests/waiting")["outcome"]["status"] == "ok"


def _knows_within_a_second(router: RunningRouter, n_rated: int) -> None:
    eventually(lambda: router.n_rated(QUESTION) == n_rated, within_s=1.0)


def _answer_to_clients(router: RunningRouter, *questions: str) -> None:
    for question in questions:  # all different: a repeated question would be an implicit signal
        with router.client() as client:  # a new connection, perhaps to another worker
            answer = client.chat.completions.create(
                model="auto", messages=[{"role": "user", "content": question}]
            )
            assert answer.choices[0].message.content


def _workers(router: RunningRouter) -> list[int]:
    """The pids of the workers, after each of them is ready."""
    children = Path(f"/proc/{router.pid}/task/{router.pid}/children").read_text().split()
    workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    for worker in workers:
        with _only(worker, workers):
            assert router.get("/ready") == {"ready": True}
    return workers


@contextmanager
def _only(worker: int, workers: list[int]) -> Iterator[None]:
    """Stop the other workers, so that this one answers."""
    others = [pid for pid in workers if pid != worker]
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)


def _total(router: RunningRouter, metric: str) -> float:
    lines = httpx.get(f"{router.url}/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"{metric}{{"))


def test_workers_end_with_their_parent_however_it_ends(
    serve: Serve, postgres_server: PostgresServer, qdrant_server: QdrantServer
) -> None:
    stores = {"database_url": postgres_server.dsn, "qdrant_url": qdrant_server.url}
    router = serve("--workers", "2", **stores, log_level="error")
    workers = _workers(router)
    assert len(workers) == 2

    router.kill()

    eventually(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))
    router.start()  # on the same port
    assert router.ask("again", QUESTION).status_code == 200
    assert router.interrupt() == 0
