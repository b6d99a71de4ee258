from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import COMMANDS, main
from service.domain.basics import DEFAULT_TENANT

ROOT = Path(__file__).parents[2]
REPORTING = {
    "ask",
    "calibrate",
    "check",
    "forget",
    "models",
    "stats",
    "migrate",
    "rebuild",
    "import",
    "export",
    "evaluate",
    "replay",
    "demo",
    "optimize",
}


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


# --- help and completion -------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], command: str, option: str) -> None:
    code = main([command, option])

    printed = capsys.readouterr()
    assert code == 0
    assert printed.out.startswith(f"Usage: router {command} ")
    assert ("--json" in printed.out) == (command in REPORTING)
    assert printed.err == ""


def test_without_a_command_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0

    bare = capsys.readouterr()
    main(["--help"])
    assert bare == capsys.readouterr()


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0

    assert capsys.readouterr().out == f"llm-router {importlib.metadata.version('llm-router')}\n"


def test_the_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    commands = capsys.readouterr().out.split("\nCommands:\n")[1]
    assert [line.split()[0] for line in commands.splitlines()] == list(COMMANDS)


@pytest.mark.parametrize("command", ["import", "evaluate"])
def test_the_help_shows_the_default_tenant(capsys: pytest.CaptureFixture[str], command: str) -> None:
    main([command, "--help"])

    assert f"(default: {DEFAULT_TENANT})" in capsys.readouterr().out


def test_help_imports_only_what_parses_arguments() -> None:
    script = (
        "import sys; from service.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    )

    loaded = {name.split(".")[0] for name in run("-c", script).stderr.split()}

    assert {"service", "typer"} <= loaded
    assert not loaded & {"aiohttp", "asyncpg", "fastapi", "httpx", "numpy", "pydantic", "rich", "yaml"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_completion_script(shell: str) -> None:
    done = run("-m", "service.cli", _ROUTER_COMPLETE=f"source_{shell}")

    assert "_ROUTER_COMPLETE" in done.stdout
    assert done.stderr == ""


def test_a_shell_completes_commands_and_options() -> None:
    def completed(words: str) -> list[str]:
        n = str(len(words.split()) - 1)
        environ = {"_ROUTER_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": n}
        return run("-m", "service.cli", **environ).stdout.split()

    assert completed("router re") == ["rebuild", "replay"]
    assert completed("router evaluate --s") == ["--since"]


# --- arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["rebuild", "--nonsense"], "No such option: --nonsense"),
        (["evaluate"], "Missing option '--config'."),
        (["import"], "Missing argument 'FILE'."),
        (["import", "any.jsonl", "--map", "old"], "Invalid value for '--map': must be NAME=MODEL, got 'old'"),
        (
            ["import", "any.jsonl", "--map", "=new"],
            "Invalid value for '--map': must be NAME=MODEL, got '=new'",
        ),
        (
            ["calibrate", "--grader", "exact", "--max-usd", "1"],
            "Invalid value: either PROMPTS.jsonl or --from-log is required, and not both",
        ),
        (
            ["calibrate", "any.jsonl", "--from-log", "7d", "--grader", "exact", "--max-usd", "1"],
            "Invalid value: either PROMPTS.jsonl or --from-log is required, and not both",
        ),
        (
            ["calibrate", "--from-log", "7x", "--grader", "exact", "--max-usd", "1"],
            "Invalid value for '--from-log': must be a time (2026-11-24T08:00) or an age (7d, 12h, 30m), got",
        ),
        (["serve", "--workers", "many"], "Invalid value for '--workers': "),
        (["replay", "any.parquet", "another.parquet"], "Got unexpected extra argument"),
    ],
)
def test_wrong_arguments_are_reported_in_one_line_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], rule: str
) -> None:
    code = main(arguments)

    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith(f"router: {rule}")
    assert printed.err.count("\n") == 1


@pytest.mark.parametrize("given", ["yesterday", "7x", "999999999d", "2026-11-28T99:00"])
def test_a_time_that_cannot_be_read_is_rejected(capsys: pytest.CaptureFixture[str], given: str) -> None:
    assert main(["evaluate", "--config", "any.yaml", "--since", given]) == 2

    rule = f"must be a time (2026-11-24T08:00) or an age (7d, 12h, 30m), got {given!r}"
    assert f"'--since': {rule}" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["evaluate", "--config", "any.yaml"], ["import", "any.jsonl"]])
@pytest.mark.parametrize("tenant", ["", "two words", "t" * 129])
def test_an_invalid_tenant_is_rejected(
    capsys: pytest.CaptureFixture[str], command: list[str], tenant: str
) -> None:
    assert main([*command, "--tenant", tenant]) == 2

    assert "'--tenant': must be 1 to 128 visible ASCII characters" in capsys.readouterr().err


# --- evaluate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["max_similar_requests: 1000", "escalation: true"])
def test_settings_that_the_log_cannot_judge_are_refused_with_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    candidate = tmp_path / "candidate.yaml"
    candidate.write_text(f"{key}\n")
    arguments = ["evaluate", "--config", str(candidate), "--since", "2026-11-01T00:00"]

    code, text = main(arguments), capsys.readouterr().out
    code_of_json, printed = main([*arguments, "--json"]), capsys.readouterr().out

    assert code == code_of_json == 3
    assert text.startswith("2026-11-01 00:00 to ")
    assert json.loads(printed)["refusal"] in text


def test_a_missing_file_of_settings_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--config", str(tmp_path / "nothing.yaml")]) == 1

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("router: --config: cannot read ")
    assert printed.err.count("\n") == 1


def test_a_range_that_ends_before_it_begins_is_rejected(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--config", "any.yaml", "--since", "1d", "--until", "2d"]) == 1

    assert "--since must be before --until" in capsys.readouterr().err
