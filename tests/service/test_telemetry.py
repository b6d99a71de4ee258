from __future__ import annotations

import json
from decimal import Decimal

import pytest
import structlog

from service.errors import ProviderBroken, ProviderRejected
from service.telemetry import set_up_logs
from tests.fakes import ANY, Reply
from tests.service.world import World


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("{")]


async def test_a_request_and_its_feedback_leave_one_short_line_each(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("info", "json")

    await world.ask(request_id="0f8fad5b-d9cb-469f-a165-70867728950e")
    await world.rate("0f8fad5b-d9cb-469f-a165-70867728950e", 1 / 3)

    lines = logged(capsys)
    assert [json.loads(line)["event"] for line in lines] == ["answered", "feedback"]
    assert [len(line) for line in lines if len(line) >= 200] == []
    assert json.loads(lines[1])["reward"] == 0.333


async def test_a_refused_request_leaves_its_reason(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")

    await world.http.post("/v1/chat/completions", json={"messages": []}, headers={"X-Request-ID": "r-1"})
    await world.http.post("/v1/messages", json={"messages": 1})
    await world.http.get("/nowhere")

    [empty, missing, nowhere] = [json.loads(line) for line in logged(capsys)]
    assert (empty["event"], empty["status"], empty["request_id"]) == ("refused", 400, "r-1")
    assert empty["reason"].startswith("messages: ")
    assert missing["path"] == "POST /v1/messages"
    assert (nowhere["status"], nowhere["reason"]) == (404, "not found")


async def test_a_failure_of_every_model_is_logged_with_its_reason(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("info", "json")
    world.model_client.will(ANY, *[Reply(error=ProviderBroken("down", status=500))] * 9)

    await world.ask(request_id="r-1")

    *calls, unanswered, refused = [json.loads(line) for line in logged(capsys)]
    assert {(line["event"], line["status"], line["reason"]) for line in calls} == {
        ("call_failed", 500, "down")
    }
    assert len(calls) == unanswered["attempts"]
    assert (refused["event"], refused["status"], refused["request_id"]) == ("refused", 503, "r-1")


async def test_a_rejected_call_is_logged_without_words_that_may_be_the_clients(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logs("info", "json")
    world.model_client.will(ANY, Reply(error=ProviderRejected("I dislike 'my secret prompt'", status=400)))

    await world.ask("my secret prompt", model="large")

    call = json.loads(logged(capsys)[0])
    assert (call["event"], call["error"], call["status"]) == ("call_failed", "ProviderRejected", 400)
    assert call["reason"] == "I dislike …"


def test_numbers_are_rounded_long_texts_cut_and_empty_fields_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logs("info", "json")

    structlog.get_logger().info(
        "tried",
        seconds=1.23456789,
        usd=Decimal("0.000123456"),
        n=1234567,
        text="x" * 500,
        none=None,
        no=False,
    )

    [line] = logged(capsys)
    event = json.loads(line)
    assert (event["seconds"], event["usd"], event["n"], event["no"]) == (1.23, 0.000123, 1234567, False)
    assert event["text"] == "x" * 79 + "…"
    assert "none" not in event


def test_a_traceback_shows_no_values(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "text")
    prompt = "my " + "secret"

    try:
        raise ValueError(f"{len(prompt)} characters")
    except ValueError:
        structlog.get_logger().exception("failed")

    written = capsys.readouterr().err
    assert "ValueError: 9 characters" in written
    assert "my secret" not in written
