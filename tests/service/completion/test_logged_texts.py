from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.completion.logged_texts import MAX_CHARS, shown
from service.telemetry import set_up_logs
from tests.fakes import ANY, Reply
from tests.service.world import opened

KEY = "sk-proj-abcdefghijklmnop1234"
QUESTION = f"Why is {KEY} refused? " + "It is a long story. " * 10


async def logged(tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, **settings: Any) -> str:
    async with opened(tmp_path, **settings) as world:
        set_up_logs(level, "json")
        world.model_client.will(ANY, Reply(words=("Because ", "of ", "rain.")))
        await world.ask(QUESTION, request_id="r1")
        await world.background.drain(5.0)
    return capsys.readouterr().err


async def test_on_request_the_debug_log_has_the_question_and_the_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (await logged(tmp_path, capsys, "debug", log_texts=True)).splitlines()

    (line,) = [entry for text in lines if (entry := json.loads(text))["event"] == "texts"]
    assert line["request_id"] == "r1"
    assert line["prompt"] == QUESTION.replace(KEY, "[masked]").strip()
    assert line["answer"] == "Because of rain."


@pytest.mark.parametrize(("level", "is_on"), [("debug", False), ("info", True)])
async def test_otherwise_no_line_has_a_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str, is_on: bool
) -> None:
    lines = await logged(tmp_path, capsys, level, log_texts=is_on)

    assert "long story" not in lines
    assert "rain" not in lines


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"use {KEY} now", "use [masked] now"),
        ("use sk-ant-api03-abcdefghijklmnop", "use [masked]"),
        ("use ghp_abcdefghijklmnopqrstuvwxyz", "use [masked]"),
        ("use AKIAABCDEFGHIJKLMNOP", "use [masked]"),
        ("use AIzaSyA-abcdefghijklmnopqrstuvwxyz01234", "use [masked]"),
        ("use eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "use [masked]"),
        ('{"password": "hunter2"}', '{"password": [masked]"}'),
        ("PASSWORD=hunter2 next", "PASSWORD=[masked] next"),
        ("Authorization: Bearer c29tZS10b2tlbg==", "Authorization: Bearer [masked]"),
    ],
)
def test_what_looks_like_a_secret_is_masked(text: str, masked: str) -> None:
    assert shown(text) == masked


@pytest.mark.parametrize(
    "text", ["The secret garden is a novel", "reset my password please", "a bearer of news"]
)
def test_plain_words_stay(text: str) -> None:
    assert shown(text) == text


def test_a_long_text_is_cut() -> None:
    assert len(shown("word " * MAX_CHARS)) == MAX_CHARS
