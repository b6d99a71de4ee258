"""Qwen Code, with a prompt."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.programs.agent import SHELL_COMMAND, Agent
from tests.clients.programs.harness import KEY, URL


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    options = ["--auth-type", "openai", "--yolo", "--telemetry=false", "-o", "json", "-m", model]
    return ["qwen", *options, *(["--continue"] if resumed else []), "-p", prompt]


def usage(output: str) -> Any:
    counts = json.loads(output[output.index("[") :])[-1]["usage"]
    return [counts["input_tokens"], counts["output_tokens"]]


Agent(
    command,
    tool=("run_shell_command", {"command": SHELL_COMMAND, "is_background": False}),
    environ={"OPENAI_BASE_URL": f"{URL}/v1", "OPENAI_API_KEY": KEY},
    usage=usage,
).report()
