"""Calibrations of a router's own log, by command and over HTTP."""

from __future__ import annotations

import json

from service.domain.basics import Json
from tests.e2e.conftest import NewRouter
from tests.e2e.running import RunningRouter, eventually

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

    tried = router.run(*COMMAND, "--dry-run")
    n_rows = router.fetch("SELECT count(*) FROM decisions WHERE dialect = 'import'")
    has_folder = (router.data_dir / "calibrations").exists()
    done = router.run(*COMMAND)
    again = router.run(*COMMAND)

    assert tried.returncode == done.returncode == again.returncode == 0, tried.stderr + done.stderr
    assert (n_rows, has_folder) == (0, False)
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert len({answer["prompt"] for answer in first["answers"]}) == 2
    assert {answer["model"] for answer in first["answers"]} == set(router.get("/health")["models"])
    assert (first["n_added"], second["n_added"]) == ({"imported": 10}, {"known": 10})
    assert first["spent_usd"] > 0
    assert second["spent_usd"] == 0
    assert router.get("/v1/stats?days=7")["total"]["requests"] == 4

    wish = {"from_log": "7d", "sample": 2, "grader": "json", "max_usd": 5}
    started = router.post(PATH, wish).raise_for_status().json()
    eventually(lambda: calibration(router, started["id"])["state"] == "done")
    over_http = calibration(router, started["id"])
    assert over_http["rows"] == {"known": 10}  # the same requests, whose scores are the same
    assert sum(topic["n_prompts"] for topic in over_http["report"]["topics"]) == 2


def test_a_log_without_texts_names_the_setting(new_router: NewRouter) -> None:
    router = new_router(store_texts="false")
    router.start()
    ask_about_two_things(router)

    done = router.run(*COMMAND)

    assert done.returncode == 1
    assert "from_log: no request of tenant 'default'" in done.stderr
    assert "STORE_TEXTS is off" in done.stderr
    assert done.stdout == ""


PATH = "/admin/calibrations"
WISH = {
    "models": ["sim-small", "sim-large"],
    "grader": "contains",
    "max_usd": 1,
    "prompts": [{"prompt": f"What is {n} * 7?", "expected": str(7 * n)} for n in range(12)],
    "concurrency": 1,
}


def calibration(router: RunningRouter, calibration_id: str) -> Json:
    return router.get(f"{PATH}/{calibration_id}")


def test_a_killed_router_leaves_a_calibration_that_goes_on_without_paying_twice(
    new_router: NewRouter,
) -> None:
    router = new_router()
    router.start()
    started = router.post(PATH, WISH).raise_for_status().json()
    eventually(lambda: calibration(router, started["id"])["progress"]["answers"] >= 4)
    router.kill()
    router.start()

    killed = calibration(router, started["id"])
    n_known = n_answered(router, started["id"])
    same = router.post(PATH, WISH).raise_for_status().json()
    eventually(lambda: calibration(router, started["id"])["state"] == "done")

    done = calibration(router, started["id"])
    assert killed["state"] == "interrupted"
    assert same["id"] == started["id"]
    assert n_known >= 4
    assert done["progress"]["answers"] == 24
    assert done["rows"] == {"imported": 24}
    assert router.n_rated("What is 3 * 7?") == 24
    assert not list((router.data_dir / "calibrations").iterdir())


def test_a_router_that_ends_in_order_says_that_it_was_interrupted(new_router: NewRouter) -> None:
    router = new_router()
    router.start()
    started = router.post(PATH, WISH).raise_for_status().json()
    eventually(lambda: calibration(router, started["id"])["progress"]["answers"] >= 1)

    router.restart()

    ended = calibration(router, started["id"])
    assert (ended["state"], ended["error"]) == ("interrupted", None)
    assert ended["ended_at"] is not None
    assert router.fetch("SELECT count(*) FROM calibrations WHERE state = 'interrupted'") == 1


def n_answered(router: RunningRouter, calibration_id: str) -> int:
    """The answers in the journal of a calibration."""
    lines = (router.data_dir / "calibrations" / f"{calibration_id}.journal").read_text().splitlines()
    return sum(bool(json.loads(line).get("answered_at")) for line in lines)
