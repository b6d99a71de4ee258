"""Gemini CLI, with a prompt."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.programs.agent import SHELL_COMMAND, Agent
from tests.clients.programs.harness import AUTO, KEY, URL

CHOSEN_HERE = "router/auto"  # by `auto` it chooses among Google's models itself
SETTINGS = {"security": {"auth": {"selectedType": "gemini-api-key"}}}


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    options = ["--skip-trust", "--yolo", "-o", "json", "-m", CHOSEN_HERE if model == AUTO else model]
    return ["gemini", *options, *(["--resume", "latest"] if resumed else []), "-p", prompt]


def usage(output: str) -> Any:
    [model] = json.loads(output[output.index("{\n") :])["stats"]["models"].values()
    return [model["tokens"]["prompt"], model["tokens"]["candidates"]]


Agent(
    command,
    tool=("run_shell_command", {"command": SHELL_COMMAND, "description": "Greet"}),
    environ={"GOOGLE_GEMINI_BASE_URL": URL, "GEMINI_API_KEY": KEY},
    files={".gemini/settings.json": json.dumps(SETTINGS)},
    usage=usage,
).report()
