"""The clients, how to start each one, and what it needs to run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from tests.clients.features import SEEN
from tests.e2e.running import REPOSITORY

NODE = REPOSITORY / "tests" / "clients" / "node"
VENV = REPOSITORY / ".venv-clients"
TIMEOUT_S = 120.0


class Program(Protocol):
    """A client's program."""

    def missing(self) -> str | None:
        """What must be installed first; None: nothing."""
        ...

    @property
    def command(self) -> list[str]: ...


@dataclass(frozen=True)
class PythonProgram:
    """A module of `programs`, run by an interpreter that has the package."""

    module: str
    interpreter: Path = VENV / "bin" / "python"

    def missing(self) -> str | None:
        return None if self.interpreter.exists() else "`make clients` installs the Python clients"

    @property
    def command(self) -> list[str]:
        return [str(self.interpreter), "-m", f"tests.clients.programs.{self.module}"]


@dataclass(frozen=True)
class NodeProgram:
    """A script beside the packages for Node."""

    script: str

    def missing(self) -> str | None:
        if shutil.which("node") is None:
            return "there is no Node on this machine"
        return (
            None
            if (NODE / "node_modules" / "installed").exists()
            else "`make clients` installs the packages for Node"
        )

    @property
    def command(self) -> list[str]:
        return ["node", str(NODE / self.script)]


@dataclass(frozen=True)
class Client:
    """A package, and the features that its program tries."""

    name: str
    program: Program
    without: frozenset[str] = frozenset()  # features that the package does not have

    @cached_property
    def features(self) -> list[str]:
        return [feature for feature in SEEN if feature not in self.without]

    @property
    def key(self) -> str:
        """The name as part of a model's id."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower())

    @property
    def models(self) -> list[str]:
        """Two models of its own, so that other clients' failures do not open their circuit breakers."""
        return [f"{self.key}-a", f"{self.key}-b"]

    def run(self, url: str) -> dict[str, Any]:
        """Run the program, and return the package's result of every feature."""
        done = subprocess.run(
            self.program.command,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "ROUTER_URL": url, "ROUTER_MODELS": ",".join(self.models)},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return seen


NO_ASYNC = frozenset({"async"})
CLIENTS = {
    client.name: client
    for client in (
        Client("openai (Python)", PythonProgram("openai_python", Path(sys.executable))),
        Client("openai (Node)", NodeProgram("openai.mjs"), NO_ASYNC),
        Client("anthropic (Python)", PythonProgram("anthropic_python", Path(sys.executable))),
        Client("@anthropic-ai/sdk (Node)", NodeProgram("anthropic.mjs"), NO_ASYNC),
        Client("LangChain ChatOpenAI", PythonProgram("langchain_openai_chat")),
        Client("LangChain ChatAnthropic", PythonProgram("langchain_anthropic_chat")),
        Client("litellm", PythonProgram("litellm_client")),
        Client("llm", PythonProgram("llm_command"), NO_ASYNC),
    )
}
