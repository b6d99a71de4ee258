"""A conversation through a restart: it stays on its model, is rated as a whole, and can be recomputed."""

from __future__ import annotations

from collections.abc import Callable

import httpx

from service.domain.basics import Json
from tests.e2e.running import PLAIN, RunningRouter
from tests.e2e.test_learning import CLEAN

Serve = Callable[..., RunningRouter]


def test_a_conversation_keeps_its_model_through_a_restart_and_is_rated_as_a_whole(serve: Serve) -> None:
    router = serve()
    messages: list[Json] = []
    models = [_turn(router, messages, i) for i in range(3)]
    router.restart()
    models += [_turn(router, messages, i) for i in range(3, 6)]

    rated = router.post("/feedback", {"session_id": "s-1", "score": 0.25})
    record = router.get("/requests/turn-5")
    router.interrupt()
    checked = router.run("rebuild", "--check")

    assert len(set(models)) == 1
    assert (record["decision"], record["conversation"]["turn"]) == ("sticky", 6)
    assert [r["status"] for r in rated.json()["requests"]] == ["applied"] * 6
    assert checked.returncode == 0
    assert CLEAN in checked.stdout


def _turn(router: RunningRouter, messages: list[Json], i: int) -> str:
    """Send one more question; the answer becomes part of the conversation. Return the model."""
    messages.append({"role": "user", "content": f"Tell me {i} things about bandits."})
    answer = httpx.post(
        f"{router.url}/v1/chat/completions",
        json={"messages": messages},
        headers={"X-Request-ID": f"turn-{i}", "X-Router-Session-Id": "s-1"},
        **PLAIN,
    ).raise_for_status()
    messages.append(answer.json()["choices"][0]["message"])
    return answer.headers["x-router-model"]
