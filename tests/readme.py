"""Run README.md's commands in order, as a reader would, and compare the answers: `python -m tests.readme`."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(sh|python|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVE = "make serve"
RUN_BY_CI_ITSELF = {"make test"}
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, and the answer printed below it."""

    language: str
    code: str
    answer: str | None


def steps(page: str) -> list[Step]:
    """The commands of a page, in order."""
    blocks = BLOCK.findall(page)
    answers = [text if language == "json" else None for language, text in blocks[1:]] + [None]
    return [
        Step(language, code.strip(), answer)
        for (language, code), answer in zip(blocks, answers, strict=True)
        if language != "json"
    ]


def mismatch(shown: Any, actual: Any, path: str = "answer") -> str | None:
    """Where an answer has another shape than the one shown: other keys, or values of another kind."""
    if isinstance(shown, dict) and isinstance(actual, dict):
        if shown.keys() != actual.keys():
            return f"{path}: shown with {sorted(shown)}, got {sorted(actual)}"
        found = (mismatch(shown[key], actual[key], f"{path}.{key}") for key in shown)
        return next(filter(None, found), None)
    if isinstance(shown, list) and isinstance(actual, list):
        pairs = enumerate(zip(shown, actual, strict=False))
        return next(filter(None, (mismatch(a, b, f"{path}[{i}]") for i, (a, b) in pairs)), None)
    return None if type(shown) is type(actual) else f"{path}: shown as {shown!r}, got {actual!r}"


def run(step: Step) -> None:
    """Run one command; it must succeed, and answer as shown."""
    say(f"$ {step.code}")
    command = ["bash", "-euo", "pipefail", "-c", step.code]
    if step.language == "python":
        command = [str(ROOT / ".venv" / "bin" / "python"), "-c", step.code]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S, check=True)
    output = done.stdout.decode()
    say(output.rstrip()[-2000:])
    if step.answer is None:
        if step.code.startswith("curl") and "error" in json.loads(output):
            raise SystemExit("README.md: that is an error")
        return
    if found := mismatch(json.loads(step.answer), json.loads(output)):
        raise SystemExit(f"README.md: {found}")


@contextmanager
def served() -> Iterator[None]:
    """`make serve`, until Ctrl-C; it must end cleanly, and its PostgreSQL with it."""
    say(f"$ {SERVE}")
    server = subprocess.Popen(SERVE.split(), cwd=ROOT, start_new_session=True)
    try:
        until_ready(server)
        yield
        os.killpg(server.pid, signal.SIGINT)
        server.wait(STOP_TIMEOUT_S)
        data = ROOT / os.environ.get("DATA_DIR", "data")
        if (data / "postgres" / "postmaster.pid").exists():
            raise SystemExit("Ctrl-C left PostgreSQL running")
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)


def until_ready(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not is_ready():
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{SERVE}: not ready")
        time.sleep(0.2)


def is_ready() -> bool:
    connection = HTTPConnection("127.0.0.1", 8080, timeout=5)
    try:
        connection.request("GET", "/ready")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    if is_ready():
        raise SystemExit("something else serves on port 8080")
    found = steps((ROOT / "README.md").read_text("utf-8"))
    if found[0].code != SERVE:
        raise SystemExit(f"README.md: the first command must be {SERVE}")
    with served():
        for step in found[1:]:
            if step.code not in RUN_BY_CI_ITSELF:
                run(step)
    say(f"README.md: {len(found)} commands, as printed")


if __name__ == "__main__":
    main()
