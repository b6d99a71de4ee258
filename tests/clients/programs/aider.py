"""aider, with one message."""

from __future__ import annotations

import re
from typing import Any

from tests.clients.programs.agent import Agent
from tests.clients.programs.harness import KEY, URL

OPTIONS = (
    "--no-git --yes-always --no-check-update --analytics-disable --no-show-model-warnings --no-pretty "
    "--no-show-release-notes --no-detect-urls --map-tokens 0 --chat-history-file history.md"
)


def command(prompt: str, model: str, resumed: bool) -> list[str]:
    more = ["--restore-chat-history"] if resumed else []
    return ["aider", *OPTIONS.split(), "--model", f"openai/{model}", *more, "--message", prompt]


def usage(output: str) -> Any:
    counted = re.search(r"Tokens: (\d+) sent, (\d+) received", output)
    return counted and [int(counted[1]), int(counted[2])]


Agent(
    command,
    tool=None,
    environ={"OPENAI_API_BASE": f"{URL}/v1", "OPENAI_API_KEY": KEY},
    usage=usage,
).report()
