"""What programs of command-line agents share: each prompt starts the agent's command in a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.features import HELLO, SEEN, UNKNOWN
from tests.clients.programs.harness import MODELS, Features, report

BIN = Path(sys.argv[1])
UPSTREAM = os.environ["UPSTREAM_URL"]
HOME = Path(tempfile.mkdtemp(prefix="agent-"))
PATIENCE_S = 180.0
SAYS = "The tool says:"
SHELL_COMMAND = "echo sunny in Paris"


@dataclass(frozen=True)
class Agent:
    """A command-line agent.

    Args:
        command: the command line for a prompt, a model, and whether the last conversation goes on.
        tool: its tool that runs a command of the shell, with the tool's arguments; None: it has none.
        environ: what it reads of the environment besides HOME and PATH.
        files: the files of its home, by path.
        usage: the tokens that it prints, read from its output; None: it prints none.
        structured: its command line for an answer by a schema, and the answer in its output.
    """

    command: Callable[[str, str, bool], list[str]]
    tool: tuple[str, dict[str, Any]] | None
    environ: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    usage: Callable[[str], Any] | None = None
    structured: Callable[[str], Any] | None = None

    def report(self) -> None:
        for path, text in self.files.items():
            (HOME / path).parent.mkdir(parents=True, exist_ok=True)
            (HOME / path).write_text(text, "utf-8")
        report(self.features, models=MODELS, on_every_model=("tools",) if self.tool else ("plain",))

    def features(self, model: str) -> Features:
        def prompted(prompt: str = "Hi", name: str = model, resumed: bool = False) -> str:
            return self.run(self.command(prompt, name, resumed))

        def hello(prompt: str = "Hi") -> str:
            output = prompted(prompt)
            return HELLO if HELLO in output else output

        def streamed() -> str:
            output = hello("Good morning")
            return output if any(c["stream"] for c in answered("Good morning")) else "not streamed"

        def tools(name: str, arguments: dict[str, Any]) -> Any:
            output = prompted(f"Use a tool: call {name} {json.dumps(arguments)}")
            there = "sunny in Paris" in output.partition(SAYS)[2]
            return SEEN["tools"] if there else output

        def conversation() -> int:
            texts = ("I am Bob.", "Who is that, Bob?", "And now, Bob?")
            for text in texts:
                prompted(text, resumed=text != texts[0])
            return len({call["model"] for text in texts for call in answered(text)})

        def shows(output: str, status: int, named: str) -> Any:
            return {"status": status, "named": True} if named in output else output

        features: Features = {
            "plain": hello,
            "stream": streamed,
            "unknown model": lambda: shows(prompted(name=UNKNOWN), 404, UNKNOWN),
            "upstream 400": lambda: shows(prompted("fail 9 times with 400"), 400, "as the prompt said"),
            "upstream 429": lambda: hello("fail 1 time with 429"),
            "upstream 500": lambda: hello("fail 1 time with 500"),
            "comes back": lambda: hello("fail 3 times with 500"),
            "conversation": conversation,
        }
        if (tool := self.tool) is not None:
            features["tools"] = lambda: tools(*tool)
        if (usage := self.usage) is not None:
            features["usage"] = lambda: usage(prompted())
        if (structured := self.structured) is not None:
            features["structured output"] = lambda: structured(model)
        return features

    def run(self, command: list[str]) -> str:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=HOME,
            env={"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(HOME), "TERM": "dumb", **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout


def answered(text: str) -> list[dict[str, Any]]:
    """The calls of this client that the upstream answered, whose prompt contains the text."""
    with urllib.request.urlopen(f"{UPSTREAM}/answered") as answer:
        calls: list[dict[str, Any]] = json.load(answer)
    return [call for call in calls if text in call["prompt"]]


def json_lines(output: str) -> list[Any]:
    """The objects of an output of one JSON object a line, among other lines."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
