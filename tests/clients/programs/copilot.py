"""GitHub Copilot CLI with a provider of its own, in the API that the argument names."""

from __future__ import annotations

import sys

from tests.clients.programs.agent import SHELL_COMMAND, Agent
from tests.clients.programs.harness import KEY, URL

API = sys.argv[2]
WIRE = {
    "messages": {"COPILOT_PROVIDER_TYPE": "anthropic"},
    "responses": {"COPILOT_PROVIDER_WIRE_API": "responses"},
}


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    more = ["--continue"] if resumed else []
    return ["copilot", "--allow-all-tools", "--no-auto-update", "--model", model, *more, "-p", prompt]


Agent(
    command,
    tool=("bash", {"command": SHELL_COMMAND, "description": "Greet"}),
    environ={
        "COPILOT_PROVIDER_BASE_URL": URL if API == "messages" else f"{URL}/v1",
        "COPILOT_PROVIDER_API_KEY": KEY,
        **WIRE.get(API, {}),
    },
).report()
