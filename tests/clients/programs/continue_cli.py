"""Continue's `cn`, with a prompt."""

from __future__ import annotations

import json

from tests.clients.features import UNKNOWN
from tests.clients.programs.agent import HOME, SHELL_COMMAND, Agent
from tests.clients.programs.harness import AUTO, KEY, MODELS, URL


def config(model: str) -> str:
    """A configuration of one model; JSON is YAML."""
    entry = {
        "name": "router",
        "provider": "openai",
        "model": model,
        "apiBase": f"{URL}/v1",
        "apiKey": KEY,
        "roles": ["chat"],
        "capabilities": ["tool_use"],
    }
    return json.dumps({"name": "Local", "version": "1.0.0", "schema": "v1", "models": [entry]})


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    options = ["--config", str(HOME / f"{model}.yaml"), "--auto"]
    return ["cn", *options, *(["--resume"] if resumed else []), "-p", prompt]


Agent(
    command,
    tool=("Bash", {"command": SHELL_COMMAND}),
    environ={"CONTINUE_TELEMETRY_ENABLED": "0"},
    files={f"{model}.yaml": config(model) for model in (AUTO, UNKNOWN, *MODELS)},
).report()
