from __future__ import annotations

from typing import Any

import pytest

from service.errors import ProviderBroken
from tests.fakes import ANY, Reply
from tests.service.world import World, error_of


@pytest.fixture
async def asked(world: World) -> World:
    """The service after three answers."""
    for i in range(3):
        await world.ask(f"Question {i}", request_id=f"r-{i}")
    return world


async def test_a_score_is_applied_and_answered_with_what_it_did(asked: World) -> None:
    response = await asked.rate("r-0", 0.75, feedback_text="Nearly.")

    record = await asked.record("r-0")
    assert response.status_code == 202
    assert response.json() == {
        "request_id": "r-0",
        "status": "applied",
        "model": record["model"],
        "reward": 0.75,
        "event_id": record["feedback"][0]["event_id"],
    }
    assert record["reward"] == 0.75
    assert record["feedback"][0]["feedback_text"] == "Nearly."
    assert float(asked.store.sums["default"][record["model"]].reward_sum) == 0.75


@pytest.mark.parametrize("score", [0, 1, 0.0, 1.0, 1e-9, 0.123456789])
async def test_every_score_from_nought_to_one_is_taken(asked: World, score: float) -> None:
    response = await asked.rate("r-0", score)

    assert response.status_code == 202
    assert response.json()["reward"] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        ({"verdict": "good"}, 1.0),
        ({"verdict": "bad", "feedback_text": "wrong"}, 0.0),
        ({"verdict": "good", "score": 0.7}, 0.7),
    ],
)
async def test_a_verdict_stands_for_a_score(asked: World, said: dict[str, Any], reward: float) -> None:
    response = await asked.http.post("/feedback", json={"request_id": "r-0", **said})

    assert (response.status_code, response.json()["status"]) == (202, "applied")
    assert response.json()["reward"] == (await asked.record("r-0"))["reward"] == reward


async def test_the_same_score_again_is_a_duplicate_that_changes_nothing(asked: World) -> None:
    await asked.rate("r-0", 0.5)
    before = dict(asked.store.sums["default"])

    response = await asked.rate("r-0", 0.5)

    assert response.json()["status"] == "duplicate"
    assert response.json()["event_id"] is None
    assert asked.store.sums["default"] == before


async def test_another_score_revises_the_first(asked: World) -> None:
    await asked.rate("r-0", 0.0)

    response = await asked.rate("r-0", 1.0)

    record = await asked.record("r-0")
    assert response.json()["status"] == "revised"
    assert [event["score"] for event in record["feedback"]] == [0.0, 1.0]
    sums = asked.store.sums["default"][record["model"]]
    assert (float(sums.n), float(sums.reward_sum)) == (1, 1)


async def test_a_withdrawn_score_leaves_the_evidence_as_if_it_had_never_been_said(asked: World) -> None:
    before = dict(asked.store.sums["default"])
    await asked.rate("r-0", 0.0)

    response = await asked.http.delete("/feedback/r-0")

    assert response.status_code == 202
    assert response.json()["status"] == "withdrawn"
    assert asked.store.sums["default"] == before
    assert await asked.memory.count() == 0
    assert (await asked.record("r-0"))["reward"] is None


async def test_withdrawing_what_was_never_said_changes_nothing(asked: World) -> None:
    response = await asked.http.delete("/feedback/r-0")

    assert response.json()["status"] == "duplicate"


async def test_a_withdrawn_answer_may_be_rated_again(asked: World) -> None:
    await asked.rate("r-0", 0.5)
    await asked.http.delete("/feedback/r-0")

    assert (await asked.rate("r-0", 0.5)).json()["status"] == "applied"


async def test_a_list_is_applied_one_by_one_and_unknown_requests_do_not_stop_it(asked: World) -> None:
    scores = [
        {"request_id": "r-0", "score": 1},
        {"request_id": "nobody", "score": 1},
        {"request_id": "r-1", "score": 0},
        {"request_id": "r-0", "score": 1},
    ]

    response = await asked.http.post("/feedback", json=scores)

    assert response.status_code == 202
    assert [one["status"] for one in response.json()] == ["applied", "unknown", "applied", "duplicate"]
    assert [one["request_id"] for one in response.json()] == ["r-0", "nobody", "r-1", "r-0"]


@pytest.mark.parametrize("method", ["post", "delete"])
async def test_feedback_for_an_unknown_request_is_not_found(asked: World, method: str) -> None:
    if method == "post":
        response = await asked.rate("nobody", 1.0)
    else:
        response = await asked.http.delete("/feedback/nobody")

    assert response.status_code == 404
    error = error_of(response)
    assert (error["param"], error["code"]) == ("request_id", "request_not_found")
    assert "'nobody'" in error["message"]


@pytest.mark.parametrize(
    ("raw", "param", "says"),
    [
        ('{"request_id": "r-0", "score": 1.5}', "score", "less than or equal to 1, got 1.5"),
        ('{"request_id": "r-0", "score": -0.1}', "score", "greater than or equal to 0, got -0.1"),
        ('{"request_id": "r-0", "score": NaN}', "score", "finite number, got nan"),
        ('{"request_id": "r-0", "score": Infinity}', "score", "got inf"),
        ('{"request_id": "r-0", "score": 1e999}', "score", "got inf"),
        ('{"request_id": "r-0", "score": true}', "score", "valid number, got True"),
        ('{"request_id": "r-0", "score": "0.5"}', "score", "valid number, got '0.5'"),
        ('{"request_id": "r-0", "score": null}', "score", "valid number, got None"),
        ('{"request_id": "r-0"}', "score", "field is required"),
        ('{"score": 1}', "request_id", "field is required"),
        ('{"request_id": 5, "score": 1}', "request_id", "valid string, got 5"),
        ('{"request_id": "", "score": 1}', "request_id", "must be 1 to 128 visible ASCII characters"),
        ('{"request_id": "a b", "score": 1}', "request_id", "must be 1 to 128 visible ASCII characters"),
        ('{"request_id": "r-0", "verdict": "great"}', "verdict", "'good' or 'bad', got 'great'"),
        ('{"request_id": "r-0", "verdict": ["good"]}', "verdict", "'good' or 'bad', got a list of 1"),
        ('{"request_id": "r-0", "verdict": null}', "score", "field is required"),
        ('{"request_id": "r-0", "score": 1, "idempotency_key": "k"}', "idempotency_key", "not permitted"),
        ('{"request_id": "r-0", "score": 1, "source": "user"}', "source", "not permitted"),
        ('{"request_id": "r-0", "score": 1, "metric": "tone"}', "metric", "not permitted"),
        ('{"request_id": "r-0", "score": 1, "dry_run": true}', "dry_run", "not permitted"),
        ('{"request_id": "r-0", "score": 1, "scoer": 1}', "scoer", "not permitted"),
        ('{"request_id": "r-0", "score": 1, "feedback_text": 5}', "feedback_text", "got 5"),
        ('{"request_id": "r-0", "score": 1, "feedback_text": "a\\u0000b"}', "feedback_text", "NUL"),
        ('{"request_id": "r-0", "score": 1, "feedback_text": "\\ud800"}', "feedback_text", "valid string"),
        ("[]", None, "body: List should have at least 1 item"),
        ('[{"request_id": "r-0", "score": 1}, {"request_id": "r-1", "score": 2}]', "[1].score", "got 2"),
        ("[5]", "[0]", "got 5"),
        ("5", None, "body: "),
        ("{", None, "body must be JSON in UTF-8"),
        ("", None, "body must be JSON in UTF-8"),
        ("[" * 100_000, None, "body must be JSON in UTF-8"),
    ],
    ids=range(31),
)
async def test_bad_feedback_is_refused_by_name_and_teaches_nothing(
    asked: World, raw: str, param: str | None, says: str
) -> None:
    response = await asked.http.post("/feedback", content=raw)

    error = error_of(response)
    assert response.status_code == 400
    assert error["param"] == param
    assert says in error["message"]
    assert asked.store.events == {}


async def test_feedback_in_other_bytes_than_utf_8_is_refused(asked: World) -> None:
    response = await asked.http.post("/feedback", content=b'{"request_id": "\xff", "score": 1}')

    assert response.status_code == 400
    assert "body must be JSON in UTF-8" in error_of(response)["message"]


@pytest.mark.parametrize("many", [False, True])
async def test_feedback_is_not_acknowledged_while_it_cannot_be_kept(asked: World, many: bool) -> None:
    one: Any = {"request_id": "r-0", "score": 1}
    asked.store.is_down = True

    response = await asked.http.post("/feedback", json=[one] if many else one)
    withdrawal = await asked.http.delete("/feedback/r-0")

    assert response.status_code == withdrawal.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert error_of(response)["code"] == "unavailable"
    asked.store.is_down = False
    assert (await asked.http.post("/feedback", json=one)).json()["status"] == "applied"


async def test_feedback_is_acknowledged_while_the_memory_is_down(asked: World) -> None:
    asked.memory.is_down = True

    response = await asked.rate("r-0", 1.0)

    assert response.status_code == 202
    assert response.json()["status"] == "applied"
    assert len(asked.store.queue) == 1


async def test_feedback_on_a_fallback_teaches_about_the_arm_that_answered(world: World) -> None:
    world.model_client.will(ANY, Reply(error=ProviderBroken("gone")))
    answered = (await world.ask(request_id="r-1")).headers["X-Router-Model"]

    response = await world.rate("r-1", 1.0)

    assert response.json()["model"] == answered
    assert float(world.store.sums["default"][answered].n) == 1


# --- of whole conversations ----------------------------------------------------------------------------


@pytest.fixture
async def talked(world: World) -> World:
    """The service after a conversation of two requests."""
    for i in range(2):
        await world.ask(f"Question {i}", request_id=f"t-{i}", headers={"X-Router-Session-Id": "s-1"})
        world.clock.advance(1.0)
    return world


async def test_a_conversation_is_rated_by_its_session_id(talked: World) -> None:
    response = await talked.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    assert response.status_code == 202
    body = response.json()
    assert (body["session_id"], body["weight"]) == ("s-1", 0.5)
    assert [(r["request_id"], r["status"], r["reward"]) for r in body["requests"]] == [
        ("t-1", "applied", 1.0),
        ("t-0", "applied", 1.0),
    ]
    assert sum(sums.n for sums in talked.store.sums["default"].values()) == 1


async def test_claude_codes_header_names_a_conversation_too(world: World) -> None:
    await world.ask(request_id="r-1", headers={"X-Claude-Code-Session-Id": "cc-1"})

    response = await world.http.post("/feedback", json={"session_id": "cc-1", "score": 0.0})

    assert [r["status"] for r in response.json()["requests"]] == ["applied"]


async def test_a_withdrawal_of_nothing_is_refused_in_the_envelope(world: World) -> None:
    response = await world.http.delete("/feedback")

    assert response.status_code == 400
    assert error_of(response)["param"] == "session_id"


async def test_a_conversations_rating_is_withdrawn_by_its_session_id(talked: World) -> None:
    await talked.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    response = await talked.http.delete("/feedback", params={"session_id": "s-1"})

    assert response.status_code == 202
    assert {r["status"] for r in response.json()["requests"]} == {"withdrawn"}
    assert sum(sums.n for sums in talked.store.sums["default"].values()) == 0


async def test_a_list_may_name_requests_and_conversations(talked: World) -> None:
    said = [
        {"request_id": "t-0", "score": 0.5},
        {"session_id": "s-1", "score": 1.0},
        {"session_id": "nobody", "score": 1.0},
    ]

    answered = (await talked.http.post("/feedback", json=said)).json()

    assert answered[0]["status"] == "applied"
    assert [r["status"] for r in answered[1]["requests"]] == ["applied", "kept"]
    assert answered[2] == {"session_id": "nobody", "status": "unknown"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"session_id": "", "score": 1.0}, "session_id"),
        ({"session_id": "s" * 257, "score": 1.0}, "session_id"),
        ({"session_id": "s-1", "score": 2.0}, "score"),
        ({"session_id": "s-1", "request_id": "t-0", "score": 1.0}, "session_id"),
        ([{"session_id": "s-1"}], "[0].score"),
    ],
)
async def test_bad_feedback_on_a_conversation_is_refused_by_name(
    talked: World, body: object, param: str
) -> None:
    response = await talked.http.post("/feedback", json=body)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert not any(sums.n for sums in talked.store.sums["default"].values())


async def test_feedback_on_an_unknown_conversation_is_not_found(world: World) -> None:
    response = await world.http.delete("/feedback", params={"session_id": "nobody"})

    assert response.status_code == 404
    assert error_of(response)["param"] == "session_id"


async def test_a_conversations_feedback_waits_until_its_requests_are_written(talked: World) -> None:
    talked.store.is_down = True
    await talked.ask(request_id="t-2", headers={"X-Router-Session-Id": "s-1"})
    response = await talked.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    assert response.status_code == 503
