"""Run the instructions of the Dockerfile without a container engine: `python -m tests.image`.

The COPY and RUN instructions of the build stage run in a scratch folder in place of `/`. Then the image's
command starts with its own environment, its health check must pass, and SIGTERM must end it cleanly. The
base image, the user and the volume need a container and are left out.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.doc_commands import ROOT, say
from tests.ports import free_port

START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
Instruction = tuple[str, str]


def stages(dockerfile: str) -> list[list[Instruction]]:
    """Each stage's instructions, as (word, rest)."""
    lines = [line for line in dockerfile.splitlines() if line and not line.startswith("#")]
    found: list[list[Instruction]] = []
    for line in "\n".join(lines).replace("\\\n", "").splitlines():
        word, _, rest = line.partition(" ")
        if word == "FROM":
            found.append([])
        elif found:
            found[-1].append((word, rest.strip()))
    return found


def build(stage: list[Instruction], scratch: Path) -> None:
    """Run the COPY and RUN instructions."""
    folder = scratch / "src"
    folder.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for word, rest in stage:
        if word == "COPY":
            copy(rest, folder)
        elif word == "RUN":
            command = rest.replace("/opt/router", str(scratch / "router"))
            say(f"$ {command}")
            subprocess.run(["sh", "-ec", command], cwd=folder, env={**os.environ, "PATH": path}, check=True)


def copy(rest: str, folder: Path) -> None:
    *sources, target = rest.split()
    for source in sources:
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / source, folder / target)


def serve(stage: list[Instruction], scratch: Path) -> None:
    """Start the image's command, wait until its health check passes, and end it."""
    folder = scratch / "app"
    folder.mkdir()
    for word, rest in stage:
        if word == "COPY" and not rest.startswith("--from"):
            copy(rest, folder)
    words = dict(stage)
    command = json.loads(words["CMD"])
    check = json.loads(words["HEALTHCHECK"].partition(" CMD ")[2])
    environ = {
        "PATH": os.pathsep.join([str(scratch / "router" / "bin"), os.defpath]),
        "PYTHONUNBUFFERED": "1",
        "DATA_DIR": str(scratch / "data"),
        "PORT": str(free_port()),
    }
    say(f"$ {' '.join(command)}")
    server = subprocess.Popen(command, cwd=folder, env=environ)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(check, cwd=folder, env=environ, capture_output=True).returncode != 0:
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("Dockerfile: not healthy")
            time.sleep(0.5)
        server.send_signal(signal.SIGTERM)
        if (code := server.wait(STOP_TIMEOUT_S)) != 0:
            raise SystemExit(f"Dockerfile: SIGTERM ended the command with {code}")
    finally:
        if server.poll() is None:
            server.kill()


def main() -> None:
    building, final = stages((ROOT / "Dockerfile").read_text("utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        build(building, Path(folder))
        serve(final, Path(folder))
    say("Dockerfile: builds, serves, is healthy, ends")


if __name__ == "__main__":
    main()
