"""Run the commands of documentation pages as a reader does: `python -m tests.doc_commands README.md ...`.

Every `sh` and `python` block of a page runs, in the order of the page. A `json` or `text` block below a
command shows its output, and the output must look like it. Blocks titled "Terminal 1" are typed into one
terminal that stays open, because servers run there; `make serve` always does. The others run beside it.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(sh|python|json|text)(?: title=\"([^\"]*)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERVE = "make serve"
SERVERS = "Terminal 1"
RUN_BY_CI_ITSELF = {"make test"}
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0
COMMAND_TIMEOUT_S = 180.0
TOLERANCE = 30  # points by which a percentage may differ from the one shown
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


@dataclass(frozen=True, slots=True)
class Step:
    """A command of the page, and the output printed below it."""

    language: str
    code: str
    terminal: str | None = None
    answer: str | None = None  # JSON
    output: str | None = None  # text


def steps(page: str) -> list[Step]:
    """The commands of a page, in order."""
    found: list[Step] = []
    blocks = BLOCK.findall(page)
    for (language, title, code), (following, _, shown) in zip(
        blocks, [*blocks[1:], ("", "", "")], strict=True
    ):
        if language in ("sh", "python"):
            terminal = SERVERS if title == SERVERS or code.strip() == SERVE else None
            answer = shown if following == "json" else None
            output = shown if following == "text" else None
            found.append(Step(language, code.strip(), terminal, answer, output))
    return found


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


def text_mismatch(shown: str, actual: str) -> str | None:
    """Where a printed output differs from the one shown: other words, or a percentage that is far off.

    Other numbers may have any value.
    """
    shown_lines, actual_lines = shown.strip().splitlines(), actual.strip().splitlines()
    if len(shown_lines) != len(actual_lines):
        return f"shown with {len(shown_lines)} lines, got {len(actual_lines)}"
    for expected, line in zip(shown_lines, actual_lines, strict=True):
        if masked(expected) != masked(line):
            return f"shown as {expected!r}, got {line!r}"
        for a, b in zip(percentages(expected), percentages(line), strict=True):
            if abs(a - b) > TOLERANCE:
                return f"shown as {expected!r}, got {line!r}: {a:g} % and {b:g} % differ too much"
    return None


def masked(line: str) -> str:
    return " ".join(re.sub(r"\d+(\.\d+)?(e-\d+)?", "0", ESCAPES.sub("", line)).split())


def percentages(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"(\d+(?:\.\d+)?) ?%", line)]


class Terminal:
    """An interactive shell: what is typed runs there, and Ctrl-C ends what is in the foreground."""

    def __init__(self) -> None:
        self.is_serving = False
        self._output = ""  # since the last command
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(ROOT)
            os.environ.update(TERM="dumb", PS1="")
            os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
        threading.Thread(target=self._read, daemon=True).start()

    def type(self, code: str) -> None:
        self._output = ""
        os.write(self._fd, f"{code}\n".encode())

    def interrupt(self) -> None:
        """Press Ctrl-C, and wait for the prompt."""
        self.is_serving = False
        os.write(self._fd, b"\x03")
        self.type("echo back at the prompt")
        self.until(lambda: self.has_printed("back at the prompt"), STOP_TIMEOUT_S, "Ctrl-C did not end it")

    def has_printed(self, text: str) -> bool:
        lines = {masked(line) for line in self._output.splitlines()}
        return all(masked(line) in lines for line in text.strip().splitlines())

    def until(self, fact: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not fact():
            if time.monotonic() > deadline:
                raise SystemExit(f"{self._output[-4000:]}\n{otherwise}")
            time.sleep(0.2)

    def leave(self) -> None:
        """Check that no command of the page is left running."""
        if self.is_serving:
            self.interrupt()
        self.type("wait; echo nothing is left running")
        left = "a command of the page is still running at its end"
        self.until(lambda: self.has_printed("nothing is left running"), STOP_TIMEOUT_S, left)

    def close(self) -> None:
        """End everything that runs in it, servers first."""
        if self.is_serving:
            self.interrupt()
        os.kill(self._pid, signal.SIGHUP)  # bash passes it on to its jobs
        os.waitpid(self._pid, 0)

    def _read(self) -> None:
        while True:
            try:
                self._output += os.read(self._fd, 65536).decode(errors="replace")
            except OSError:  # the shell has ended
                return


@contextmanager
def terminal() -> Iterator[Terminal]:
    opened = Terminal()
    try:
        yield opened
        opened.leave()
    finally:
        opened.close()


def run_in(shell: Terminal, step: Step) -> None:
    """Type a command into the servers' terminal, and wait for what it shows."""
    if shell.is_serving:
        shell.interrupt()
    say(f"{step.terminal}$ {step.code}")
    shell.type(step.code)
    if step.code.endswith(SERVE):
        shell.is_serving = True
        shell.until(is_ready, START_TIMEOUT_S, f"{step.code}: not ready")
    if step.output is not None:
        shown = step.output
        shell.until(
            lambda: shell.has_printed(shown), COMMAND_TIMEOUT_S, f"{step.code}: did not print {shown}"
        )


def run(step: Step) -> None:
    """Run one command; it must succeed, and answer as shown."""
    say(f"$ {step.code}")
    command = ["bash", "-euo", "pipefail", "-c", step.code]
    if step.language == "python":
        command = [str(ROOT / ".venv" / "bin" / "python"), "-c", step.code]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S, check=True)
    output = done.stdout.decode()
    say(output.rstrip()[-2000:])
    if step.answer is not None:
        found = mismatch(json.loads(step.answer), json.loads(output))
    elif step.output is not None:
        found = text_mismatch(step.output, output)
    else:
        found = "that is an error" if step.code.startswith("curl") and "error" in json.loads(output) else None
    if found:
        raise SystemExit(f"{step.code}\n{found}")


def run_page(name: str) -> None:
    if is_ready():
        raise SystemExit("another process serves on port 8080")
    found = steps((ROOT / name).read_text("utf-8"))
    with terminal() as servers:
        for step in found:
            if step.code in RUN_BY_CI_ITSELF:
                continue
            if step.terminal == SERVERS:
                run_in(servers, step)
            else:
                run(step)
    if is_ready():
        raise SystemExit(f"{name}: Ctrl-C left the router running")
    data = ROOT / os.environ.get("DATA_DIR", "data")
    if (data / "postgres" / "postmaster.pid").exists():
        raise SystemExit(f"{name}: Ctrl-C left PostgreSQL running")
    say(f"{name}: {len(found)} commands, as printed")


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
    for name in sys.argv[1:]:
        run_page(name)


if __name__ == "__main__":
    main()
