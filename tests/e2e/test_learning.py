"""What the router learns survives a restart and can be recomputed."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from service.domain.basics import Json
from tests.e2e.running import RunningRouter, eventually

Serve = Callable[..., RunningRouter]
QUESTION = "How do I reverse a list in Python?"
SIMILAR = "How do I reverse a string in Python?"
CLEAN = "evidence: 0 differences found, 0 left\nmemory: 0 differences found, 0 left"


def test_evidence_survives_a_restart(serve: Serve) -> None:
    router = serve()
    _teach(router, n=12)
    before = router.route(SIMILAR)

    router.restart()
    after = router.route(SIMILAR)
    record = router.get("/requests/taught-0")

    assert [event["score"] for event in record["feedback"]] == [0.0]
    assert record["outcome"]["status"] == "ok"
    assert len(before["neighbours"]) == 12
    assert _known(after) == _known(before)


def test_rebuild_restores_a_lost_memory(serve: Serve) -> None:
    router = serve()
    _teach(router, n=12)
    before = router.route(SIMILAR)
    router.interrupt()
    shutil.rmtree(router.data_dir / "memory")

    checked = router.run("rebuild", "--check")
    rebuilt = router.run("rebuild")
    router.start()

    assert (checked.returncode, rebuilt.returncode) == (1, 0)
    assert "memory: 12 differences found, 12 left" in checked.stdout
    assert "memory: 12 differences found, 0 left" in rebuilt.stdout
    assert _known(router.route(SIMILAR)) == _known(before)


def test_rebuild_finds_and_repairs_changed_evidence(serve: Serve) -> None:
    router = serve()
    _teach(router, n=4)
    n_rated = router.n_rated(SIMILAR)
    router.fetch(
        "WITH w AS (UPDATE evidence SET n = n + 7, reward_sum = 0 RETURNING 1) SELECT count(*) FROM w"
    )
    router.interrupt()

    rebuilt = router.run("rebuild")
    checked = router.run("rebuild", "--check")
    router.start()

    assert rebuilt.returncode == checked.returncode == 0
    assert "evidence: 0 differences found" not in rebuilt.stdout
    assert CLEAN in checked.stdout
    assert router.n_rated(SIMILAR) == n_rated == 4


def test_rebuild_refuses_while_a_service_is_running(serve: Serve) -> None:
    router = serve()
    _teach(router, n=2)

    refused = router.run("rebuild", LOG_LEVEL="error")

    assert refused.returncode == 1
    assert refused.stderr.startswith("router: ")
    assert refused.stderr.count("\n") == 1
    assert "another process" in refused.stderr
    assert router.n_rated(SIMILAR) == 2


def _teach(router: RunningRouter, n: int) -> None:
    for i in range(n):
        assert router.ask(f"taught-{i}", f"{QUESTION} Give me {i} examples.").status_code == 200
        assert router.rate(f"taught-{i}", i / n).status_code == 202
    eventually(lambda: router.fetch("SELECT count(*) FROM memory_queue") == 0)


def _known(decision: Json) -> object:
    """The parts of a decision that depend neither on the draw nor on the time."""
    beliefs = [
        (c["model"], c["posterior"]["n_rated"], round(c["posterior"]["mean"], 4))
        for c in decision["candidates"]
    ]
    neighbours = [(n["request_id"], n["model"], n["reward"], n["similarity"]) for n in decision["neighbours"]]
    return beliefs, sorted(neighbours)
