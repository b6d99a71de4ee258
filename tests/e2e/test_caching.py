"""Answers given again: to the same request, by another replica, and to the same question in other words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.e2e.running import PLAIN, RunningRouter, eventually
from tests.integration.postgres_server import PostgresServer

Serve = Callable[..., RunningRouter]


def ask(router: RunningRouter, text: str, request_id: str, **body: Any) -> httpx.Response:
    return _post(router, "/v1/chat/completions", text, request_id, body)


def message(router: RunningRouter, text: str, request_id: str, **body: Any) -> httpx.Response:
    return _post(router, "/v1/messages", text, request_id, {"max_tokens": 500, **body})


def _post(
    router: RunningRouter, path: str, text: str, request_id: str, body: dict[str, Any]
) -> httpx.Response:
    asked = {"model": "auto", "messages": [{"role": "user", "content": text}], **body}
    response = httpx.post(router.url + path, json=asked, headers={"X-Request-ID": request_id}, **PLAIN)
    assert response.status_code == 200, response.text
    return response


def is_cached(response: httpx.Response) -> bool:
    return response.headers["X-Router-Decision"] == "cache"


def test_replicas_share_their_answers_and_go_on_alone_without_postgresql(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    stores = {"database_url": postgres_server.dsn, "cache_enabled": "true", "cache_shared": "true"}
    one, other = serve(**stores), serve(**stores)

    first = ask(one, "Name a colour.", "a-1")
    eventually(lambda: one.get("/cache/stats")["shared_size"] == 1)
    again = ask(other, " Name a colour.\n", "a-2", user="somebody", metadata={"team": "x"})

    assert is_cached(again)
    assert again.json() == first.json()
    assert other.get("/requests/a-2")["cached"] == {"match": "exact", "request_id": "a-1", "similarity": 1.0}
    assert not is_cached(message(other, "Name a colour.", "a-3"))
    stats = other.get("/cache/stats")
    assert (stats["hits"], stats["misses"], stats["hit_rate"]) == (1, 1, 0.5)

    postgres_server.stop()
    assert is_cached(ask(one, "Name a colour.", "a-4"))
    assert not is_cached(ask(other, "Name a colour.", "a-5"))
    assert other.get("/cache/stats")["shared_size"] is None
    assert other.post("/cache/clear", {}).status_code == 503

    postgres_server.start()
    eventually(lambda: None not in {router.get("/cache/stats")["shared_size"] for router in (one, other)})
    eventually(lambda: other.post("/cache/clear", {}).status_code == 200)
    assert not is_cached(ask(one, "Name a colour.", "a-6"))


def test_the_same_question_in_other_words_gets_the_answer_in_both_dialects(
    serve: Serve, postgres_server: PostgresServer
) -> None:
    router = serve(
        database_url=postgres_server.dsn,
        cache_enabled="true",
        cache_shared="true",
        semantic_cache_enabled="true",
    )
    for name, send in (("chat", ask), ("messages", message)):
        first = send(router, "What is the capital of France?", f"{name}-first")
        eventually(lambda: router.get("/cache/stats")["shared_size"] == 1)

        same = send(router, "Hi, what's the capital of France? Thanks!", f"{name}-same")
        other = send(router, "What is the capital of Finland?", f"{name}-other")
        cached = router.get(f"/requests/{name}-same")["cached"]
        eventually(lambda: router.get("/cache/stats")["shared_size"] == 2)
        router.post("/cache/clear", {})

        assert is_cached(same)
        assert same.json() == first.json()
        assert not is_cached(other)
        assert (cached["match"], cached["request_id"]) == ("semantic", f"{name}-first")
        assert 0.9 <= cached["similarity"] <= 1


def test_a_semantic_hit_can_be_streamed_and_teaches_nothing(serve: Serve) -> None:
    router = serve(cache_enabled="true", semantic_cache_enabled="true")
    ask(router, "How do I reverse a list in Python?", "first")

    streamed = ask(router, "Please show me how to reverse a list in Python.", "second", stream=True)
    rated = router.rate("second", 1.0)

    assert is_cached(streamed)
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert rated.status_code == 202
    assert router.n_rated("How do I reverse a list in Python?") == 0
    assert router.get("/health")["dependencies"]["qdrant"]["points"] == 0
