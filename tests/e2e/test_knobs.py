"""Knobs of the whole process: persistence and logs."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import NewRouter


def test_without_persistence_evidence_ends_with_the_process(new_router: NewRouter) -> None:
    router = new_router(enable_persistence="false")
    router.start()
    router.ask("a", "What is 2 + 2?")
    rated = router.rate("a", 1.0)
    before = router.n_rated("What is 2 + 2?")

    router.restart()
    after = router.n_rated("What is 2 + 2?")
    router.terminate()

    assert rated.status_code == 202
    assert (before, after) == (1, 0)
    assert [path.name for path in router.data_dir.iterdir()] == ["encoder"]


@pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("text", False), ("auto", True)])
def test_each_request_is_a_line_of_json_or_text(
    new_router: NewRouter, log_format: str, is_json: bool
) -> None:
    router = new_router(log_format=log_format, enable_persistence="false")
    router.start()

    router.ask("asked-once", "hello")
    router.terminate()

    [line] = [line for line in router.stderr.splitlines() if "asked-once" in line]
    assert line.startswith("{") == is_json
    assert not is_json or json.loads(line)["event"] == "answered"


def test_a_command_reports_on_standard_output_and_logs_on_standard_error(new_router: NewRouter) -> None:
    router = new_router(log_format="json")

    migrated = router.run("migrate", "--json")

    applied = json.loads(migrated.stdout)["applied"]
    logged = [json.loads(line) for line in migrated.stderr.splitlines()]
    assert applied
    assert [line["migration"] for line in logged if line["event"] == "migrated"] == applied


def test_lines_below_the_log_level_are_not_shown(new_router: NewRouter) -> None:
    router = new_router(log_level="warning", enable_persistence="false")
    router.start()

    router.ask("asked-once", "hello")
    router.terminate()

    assert router.stderr == ""
