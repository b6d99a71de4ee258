from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from service.errors import ProviderBroken
from service.store.spool.spool import Spool
from service.store.spool.spooling_journal import SpoolingJournal
from tests.fakes import ANY, Reply
from tests.fakes_store import FakeJournal
from tests.integration.stores import a_decision
from tests.service.world import World, error_of, opened

JSON = {"Content-Type": "application/json"}


@pytest.fixture
async def answered(world: World) -> World:
    """The service after three answers."""
    for i in range(3):
        await world.ask(f"Question {i}", request_id=f"r-{i}")
    return world


async def test_a_score_is_applied_and_its_effect_is_returned(answered: World) -> None:
    response = await answered.rate("r-0", 0.75, feedback_text="Nearly.")

    record = await answered.record("r-0")
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
    assert float(answered.store.sums["default"][record["model"]].reward_sum) == 0.75


@pytest.mark.parametrize("score", [0, 1, 0.0, 1.0, 1e-9, 0.123456789])
async def test_every_score_from_zero_to_one_is_accepted(answered: World, score: float) -> None:
    response = await answered.rate("r-0", score)

    assert response.status_code == 202
    assert response.json()["reward"] == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    ("fields", "reward"),
    [
        ({"verdict": "good"}, 1.0),
        ({"verdict": "bad", "feedback_text": "wrong"}, 0.0),
        ({"verdict": "good", "score": 0.7}, 0.7),
    ],
)
async def test_a_verdict_is_translated_into_a_score(
    answered: World, fields: dict[str, Any], reward: float
) -> None:
    response = await answered.http.post("/feedback", json={"request_id": "r-0", **fields})

    assert (response.status_code, response.json()["status"]) == (202, "applied")
    assert response.json()["reward"] == (await answered.record("r-0"))["reward"] == reward


async def test_the_same_score_again_is_a_duplicate_that_changes_nothing(answered: World) -> None:
    await answered.rate("r-0", 0.5)
    before = dict(answered.store.sums["default"])

    response = await answered.rate("r-0", 0.5)

    assert response.json()["status"] == "duplicate"
    assert response.json()["event_id"] is None
    assert answered.store.sums["default"] == before


async def test_another_score_revises_the_first(answered: World) -> None:
    await answered.rate("r-0", 0.0)

    response = await answered.rate("r-0", 1.0)

    record = await answered.record("r-0")
    assert response.json()["status"] == "revised"
    assert [event["score"] for event in record["feedback"]] == [0.0, 1.0]
    sums = answered.store.sums["default"][record["model"]]
    assert (float(sums.n), float(sums.reward_sum)) == (1, 1)


async def test_withdrawing_a_score_removes_its_evidence(answered: World) -> None:
    before = dict(answered.store.sums["default"])
    await answered.rate("r-0", 0.0)

    response = await answered.http.delete("/feedback/r-0")

    assert response.status_code == 202
    assert response.json()["status"] == "withdrawn"
    assert answered.store.sums["default"] == before
    assert await answered.memory.count() == 0
    assert (await answered.record("r-0"))["reward"] is None


async def test_withdrawing_feedback_that_does_not_exist_changes_nothing(answered: World) -> None:
    response = await answered.http.delete("/feedback/r-0")

    assert response.json()["status"] == "duplicate"


async def test_a_withdrawn_answer_may_be_rated_again(answered: World) -> None:
    await answered.rate("r-0", 0.5)
    await answered.http.delete("/feedback/r-0")

    assert (await answered.rate("r-0", 0.5)).json()["status"] == "applied"


async def test_a_list_is_applied_one_by_one_and_unknown_requests_do_not_stop_it(
    answered: World,
) -> None:
    scores = [
        {"request_id": "r-0", "score": 1},
        {"request_id": "unknown", "score": 1},
        {"request_id": "r-1", "score": 0},
        {"request_id": "r-0", "score": 1},
    ]

    response = await answered.http.post("/feedback", json=scores)

    assert response.status_code == 202
    assert [result["status"] for result in response.json()] == ["applied", "unknown", "applied", "duplicate"]
    assert [result["request_id"] for result in response.json()] == ["r-0", "unknown", "r-1", "r-0"]


@pytest.mark.parametrize("method", ["post", "delete"])
async def test_feedback_for_an_unknown_request_is_not_found(answered: World, method: str) -> None:
    if method == "post":
        response = await answered.rate("unknown", 1.0)
    else:
        response = await answered.http.delete("/feedback/unknown")

    assert response.status_code == 404
    error = error_of(response)
    assert (error["param"], error["code"]) == ("request_id", "request_not_found")
    assert "'unknown'" in error["message"]


@pytest.mark.parametrize(
    ("raw", "param", "message"),
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
        ('{"request_id": "r-0", "score": 1, "source": ""}', "source", "at least 1 character"),
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
        ("[" * 100_000, None, "body must be nested at most 20 levels deep"),
    ],
    ids=range(31),
)
async def test_invalid_feedback_is_rejected_with_its_field_and_is_not_learned(
    answered: World, raw: str, param: str | None, message: str
) -> None:
    response = await answered.http.post("/feedback", content=raw, headers=JSON)

    error = error_of(response)
    assert response.status_code == 400
    assert error["param"] == param
    assert message in error["message"]
    assert answered.store.events == {}


async def test_feedback_in_other_bytes_than_utf_8_is_refused(answered: World) -> None:
    response = await answered.http.post(
        "/feedback", content=b'{"request_id": "\xff", "score": 1}', headers=JSON
    )

    assert response.status_code == 400
    assert "body must be JSON in UTF-8" in error_of(response)["message"]


@pytest.mark.parametrize("many", [False, True])
async def test_feedback_is_not_acknowledged_while_the_store_is_down(answered: World, many: bool) -> None:
    item: Any = {"request_id": "r-0", "score": 1}
    answered.store.is_down = True

    response = await answered.http.post("/feedback", json=[item] if many else item)
    withdrawal = await answered.http.delete("/feedback/r-0")

    assert response.status_code == withdrawal.status_code == 503
    assert int(response.headers["Retry-After"]) >= 1
    assert error_of(response)["code"] == "unavailable"
    answered.store.is_down = False
    assert (await answered.http.post("/feedback", json=item)).json()["status"] == "applied"


async def test_feedback_is_acknowledged_while_the_memory_is_down(answered: World) -> None:
    answered.memory.is_down = True

    response = await answered.rate("r-0", 1.0)

    assert response.status_code == 202
    assert response.json()["status"] == "applied"
    assert len(answered.store.queue) == 1


async def test_feedback_on_a_fallback_counts_for_the_arm_that_answered(world: World) -> None:
    world.model_client.will(ANY, Reply(error=ProviderBroken("gone")))
    answered = (await world.ask(request_id="r-1")).headers["X-Router-Model"]

    response = await world.rate("r-1", 1.0)

    assert response.json()["model"] == answered
    assert float(world.store.sums["default"][answered].n) == 1


# --- on whole conversations


@pytest.fixture
async def with_conversation(world: World) -> World:
    """The service after a conversation of two requests."""
    for i in range(2):
        await world.ask(f"Question {i}", request_id=f"t-{i}", headers={"X-Router-Session-Id": "s-1"})
        world.clock.advance(1.0)
    return world


async def test_a_conversation_is_rated_by_its_session_id(with_conversation: World) -> None:
    response = await with_conversation.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    assert response.status_code == 202
    body = response.json()
    assert (body["session_id"], body["weight"]) == ("s-1", 0.5)
    assert [(r["request_id"], r["status"], r["reward"]) for r in body["requests"]] == [
        ("t-1", "applied", 1.0),
        ("t-0", "applied", 1.0),
    ]
    assert sum(sums.n for sums in with_conversation.store.sums["default"].values()) == 1


async def test_claude_codes_header_names_a_conversation_too(world: World) -> None:
    await world.ask(request_id="r-1", headers={"X-Claude-Code-Session-Id": "cc-1"})

    response = await world.http.post("/feedback", json={"session_id": "cc-1", "score": 0.0})

    assert [r["status"] for r in response.json()["requests"]] == ["applied"]


async def test_a_withdrawal_of_nothing_is_refused_in_the_envelope(world: World) -> None:
    response = await world.http.delete("/feedback")

    assert response.status_code == 400
    assert error_of(response)["param"] == "session_id"


async def test_a_conversations_rating_is_withdrawn_by_its_session_id(with_conversation: World) -> None:
    await with_conversation.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    response = await with_conversation.http.delete("/feedback", params={"session_id": "s-1"})

    assert response.status_code == 202
    assert {r["status"] for r in response.json()["requests"]} == {"withdrawn"}
    assert sum(sums.n for sums in with_conversation.store.sums["default"].values()) == 0


async def test_a_list_may_name_requests_and_conversations(with_conversation: World) -> None:
    items = [
        {"request_id": "t-0", "score": 0.5},
        {"session_id": "s-1", "score": 1.0},
        {"session_id": "unknown", "score": 1.0},
    ]

    answered = (await with_conversation.http.post("/feedback", json=items)).json()

    assert answered[0]["status"] == "applied"
    assert [r["status"] for r in answered[1]["requests"]] == ["applied", "kept"]
    assert answered[2] == {"session_id": "unknown", "status": "unknown"}


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
async def test_invalid_feedback_on_a_conversation_is_rejected_with_its_field(
    with_conversation: World, body: object, param: str
) -> None:
    response = await with_conversation.http.post("/feedback", json=body)

    assert response.status_code == 400
    assert error_of(response)["param"] == param
    assert not any(sums.n for sums in with_conversation.store.sums["default"].values())


async def test_feedback_on_an_unknown_conversation_is_not_found(world: World) -> None:
    response = await world.http.delete("/feedback", params={"session_id": "unknown"})

    assert response.status_code == 404
    assert error_of(response)["param"] == "session_id"


async def test_feedback_on_a_conversation_is_unavailable_until_its_requests_are_written(
    with_conversation: World,
) -> None:
    with_conversation.store.is_down = True
    await with_conversation.ask(request_id="t-2", headers={"X-Router-Session-Id": "s-1"})
    response = await with_conversation.http.post("/feedback", json={"session_id": "s-1", "score": 1.0})

    assert response.status_code == 503


async def test_a_request_in_the_spool_of_another_process_is_not_unknown(tmp_path: Path) -> None:
    async with opened(tmp_path) as world:
        spool = Spool(tmp_path / "spool", 1_000_000)
        another = SpoolingJournal(FakeJournal(world.store), spool, retry_every_s=3600.0)
        await another.start()
        world.store.is_down = True
        await another.log_decision(a_decision("spooled"))
        world.store.is_down = False

        early = await world.rate("spooled", 1.0)
        shown = await world.http.get("/requests/spooled")
        await another.drain()
        late = await world.rate("spooled", 1.0)
        await another.close()

    assert (early.status_code, shown.status_code, late.status_code) == (503, 503, 202)
    assert early.headers["Retry-After"] == "5"
    assert "not written to PostgreSQL yet" in error_of(early)["message"]


async def test_soon_after_an_outage_an_unknown_request_may_be_in_another_spool(answered: World) -> None:
    answered.store.was_away = True
    of_conversation = await answered.http.post("/feedback", json={"session_id": "elsewhere", "score": 1.0})
    of_request, known = await answered.rate("elsewhere", 1.0), await answered.rate("r-0", 1.0)
    answered.store.was_away = False
    later = await answered.rate("elsewhere", 1.0)

    assert (of_conversation.status_code, of_request.status_code) == (503, 503)
    assert (known.status_code, later.status_code) == (202, 404)
