"""Commands that talk to a running router or read its data, run in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.cli import main
from tests.e2e.conftest import NewRouter


def test_a_question_and_a_tool_are_answered(
    new_router: NewRouter, capsys: pytest.CaptureFixture[str]
) -> None:
    router = new_router()
    router.start()

    asked = main(["ask", "--url", router.url, "--json", "Hello"])
    answer = json.loads(capsys.readouterr().out)
    streamed = main(["ask", "--url", router.url, "--stream", "--system", "Be brief.", "Hello"])
    text = capsys.readouterr().out
    called = main(["mcp", "client", "route", "--json", '{"prompt": "Hello"}', "--url", router.url])
    decided = json.loads(capsys.readouterr().out)

    assert asked == streamed == called == 0
    assert "[simulated]" in json.dumps(answer)
    assert text.startswith("[simulated]")
    assert decided["model"].startswith("sim-")


def test_what_was_learned_is_exported(
    new_router: NewRouter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    router = new_router()
    rows, policy = tmp_path / "rows.jsonl", tmp_path / "policy.jsonl"
    rows.write_text(json.dumps({"prompt": "Why?", "model": "sim-large", "score": 1}))
    assert router.run("import", str(rows)).returncode == 0
    monkeypatch.chdir(router.folder)
    monkeypatch.setenv("DATA_DIR", str(router.folder / "data"))

    code = main(["export", "--policy", str(policy), "--json"])

    assert code == 0
    assert json.loads(capsys.readouterr().out)["n_by_arm"] == {"sim-large": 1}
    assert json.loads(policy.read_text())["model"] == "sim-large"


def test_nothing_is_optimised_without_requests(
    new_router: NewRouter, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    router = new_router()
    router.start()
    monkeypatch.chdir(router.folder)
    monkeypatch.setenv("DATA_DIR", str(router.folder / "data"))
    monkeypatch.setenv("STORE_TEXTS", "true")

    prompt = main(["optimize", "--task", "poems", "--budget-usd", "1", "--url", router.url])
    of_prompt = capsys.readouterr().err
    policy = main(["optimize", "policy"])
    of_policy = capsys.readouterr().err

    assert prompt == policy == 1
    assert "task 'poems' has 0 distinct requests to optimise on, and 20 are needed" in of_prompt
    assert "no policy can be proposed: the range has 0 decisions" in of_policy
