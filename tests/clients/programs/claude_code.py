"""Claude Code, in print mode."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.programs.agent import SHELL_COMMAND, Agent, json_lines
from tests.clients.programs.harness import AUTO, CITY_SCHEMA, KEY, URL


def command(prompt: str, model: str, resumed: bool, *more: str) -> list[str]:
    options = ["--model", model, "--allowedTools", "Bash", "--output-format", "stream-json", "--verbose"]
    return ["claude", "-p", prompt, *options, *(["--continue"] if resumed else []), *more]


def usage(output: str) -> Any:
    counts = json_lines(output)[-1]["usage"]
    return [counts["input_tokens"], counts["output_tokens"]]


def structured(model: str) -> Any:
    city = json.dumps({"city": "Paris", "population": 2})
    prompt = f"call StructuredOutput {city}"
    return json_lines(agent.run(command(prompt, model, False, "--json-schema", json.dumps(CITY_SCHEMA))))[-1][
        "structured_output"
    ]


agent = Agent(
    command,
    tool=("Bash", {"command": SHELL_COMMAND, "description": "Greet"}),
    environ={
        "ANTHROPIC_BASE_URL": URL,
        "ANTHROPIC_AUTH_TOKEN": KEY,
        "ANTHROPIC_SMALL_FAST_MODEL": AUTO,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
    },
    usage=usage,
    structured=structured,
)
agent.report()
