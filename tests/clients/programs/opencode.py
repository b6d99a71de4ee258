"""opencode, as `opencode run`, with the provider of the AI SDK that the argument names."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.clients.features import UNKNOWN
from tests.clients.programs.agent import SHELL_COMMAND, Agent, json_lines
from tests.clients.programs.harness import AUTO, KEY, MODELS, URL

CONFIG = {
    "autoupdate": False,
    "share": "disabled",
    "small_model": f"router/{AUTO}",
    "permission": {"bash": "allow"},
    "provider": {
        "router": {
            "npm": f"@ai-sdk/{sys.argv[2]}",
            "options": {"baseURL": f"{URL}/v1", "apiKey": KEY},
            "models": {name: {"name": name} for name in (AUTO, UNKNOWN, *MODELS)},
        }
    },
}


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    more = ["--continue"] if resumed else []
    return ["opencode", "run", "--format", "json", "-m", f"router/{model}", *more, prompt]


def usage(output: str) -> Any:
    tokens = json_lines(output)[-1]["part"]["tokens"]
    return [tokens["input"], tokens["output"]]


Agent(
    command,
    tool=("bash", {"command": SHELL_COMMAND, "description": "Greet"}),
    environ={"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"},
    files={".config/opencode/opencode.json": json.dumps(CONFIG)},
    usage=usage,
).report()
