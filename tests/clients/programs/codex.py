"""Codex, as `codex exec`."""

from __future__ import annotations

import json
from typing import Any

from tests.clients.programs.agent import HOME, SHELL_COMMAND, Agent, json_lines
from tests.clients.programs.harness import CITY_SCHEMA, KEY, URL

CONFIG = f"""
model_provider = "router"
approval_policy = "never"
sandbox_mode = "danger-full-access"
check_for_update_on_startup = false
[analytics]
enabled = false
[model_providers.router]
name = "LLM Router"
base_url = "{URL}/v1"
env_key = "ROUTER_KEY"
wire_api = "responses"
"""


def command(prompt: str, model: str, resumed: bool, *more: str) -> list[str]:
    options = ["--skip-git-repo-check", "--json", "-m", model, *more]
    return ["codex", "exec", *options, *(["resume", "--last"] if resumed else []), prompt]


def usage(output: str) -> Any:
    counts = json_lines(output)[-1]["usage"]
    return [counts["input_tokens"], counts["output_tokens"]]


def structured(model: str) -> Any:
    schema = str(HOME / "schema.json")
    messages = json_lines(agent.run(command("Hi", model, False, "--output-schema", schema)))
    [text] = [m["item"]["text"] for m in messages if m.get("item", {}).get("type") == "agent_message"]
    return json.loads(text)


agent = Agent(
    command,
    tool=("exec_command", {"cmd": SHELL_COMMAND}),
    environ={"ROUTER_KEY": KEY},
    files={".codex/config.toml": CONFIG, "schema.json": json.dumps(CITY_SCHEMA)},
    usage=usage,
    structured=structured,
)
agent.report()
