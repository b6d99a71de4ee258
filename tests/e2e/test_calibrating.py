"""Calibrations of a router's own log, by command and over HTTP."""

from __future__ import annotations

import json

from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter

SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
COMMAND = ("calibrate", "--from-log", "7d", "--sample", "2", "--grader", "json", "--max-usd", "5", "--json")


def ask_about_two_things(router: RunningRouter) -> None:
    for n in range(3):
        router.ask(f"soup{n}", f"How do I cook a leek soup for {n} guests?", response_format=FORM)
    router.ask("sun", "How long does light take from the sun?", response_format=FORM, max_tokens=300)


def test_the_log_is_calibrated_once_by_the_command(new_router: NewRouter) -> None:
    router = new_router(store_texts="true")
    router.start()
    ask_about_two_things(router)

    done = router.run(*COMMAND)
    again = router.run(*COMMAND)

    assert done.returncode == again.returncode == 0, done.stderr
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert len({answer["prompt"] for answer in first["answers"]}) == 2
    assert {answer["model"] for answer in first["answers"]} == set(router.get("/health")["models"])
    assert (first["n_added"], second["n_added"]) == ({"imported": 10}, {"known": 10})
    assert first["spent_usd"] > 0
    assert second["spent_usd"] == 0
    assert router.get("/v1/stats?days=7")["total"]["requests"] == 4


def test_a_log_without_texts_names_the_setting(new_router: NewRouter) -> None:
    router = new_router(store_texts="false")
    router.start()
    ask_about_two_things(router)

    done = router.run(*COMMAND)

    assert done.returncode == 1
    assert "from_log: no request of tenant 'default'" in done.stderr
    assert "STORE_TEXTS is off" in done.stderr
    assert done.stdout == ""
