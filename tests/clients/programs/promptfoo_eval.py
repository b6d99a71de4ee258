"""promptfoo: its provider for the API in the argument, with answers compared by the router's embeddings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.features import HELLO, UNKNOWN
from tests.clients.programs.harness import KEY, URL, Features, report

BIN = Path(sys.argv[1])
API = sys.argv[2]
FOLDER = Path(tempfile.mkdtemp(prefix="promptfoo-"))
CONFIG, RESULTS = FOLDER / "promptfooconfig.json", FOLDER / "results.json"
VERSION = "" if API.startswith("anthropic") else "/v1"
EMBEDDINGS = "openai:embedding:router-minilm"
ENVIRON = {
    "PATH": os.environ["PATH"],
    "HOME": str(FOLDER),
    "PROMPTFOO_DISABLE_TELEMETRY": "1",
    "PROMPTFOO_DISABLE_UPDATE": "1",
    "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1",
}


def provider(name: str, version: str) -> dict[str, Any]:
    return {"id": name, "config": {"apiBaseUrl": URL + version, "apiKey": KEY}}


def evaluated(prompt: str, model: str) -> dict[str, Any]:
    """The result of one test: the answer is the greeting, and like the greeting."""
    likeness = {"type": "similar", "value": HELLO, "threshold": 0.99, "provider": provider(EMBEDDINGS, "/v1")}
    config = {
        "prompts": ["{{prompt}}"],
        "providers": [provider(f"{API}:{model}", VERSION)],
        "tests": [
            {"vars": {"prompt": prompt}, "assert": [{"type": "equals", "value": HELLO}, likeness]},
        ],
    }
    CONFIG.write_text(json.dumps(config), "utf-8")
    RESULTS.unlink(missing_ok=True)
    done = subprocess.run(
        [
            *(str(BIN / "promptfoo"), "eval", "--config", str(CONFIG), "--output", str(RESULTS)),
            *("--no-cache", "--no-write", "--no-table", "--no-progress-bar"),
        ],
        cwd=FOLDER,
        env=ENVIRON,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if not RESULTS.exists():
        raise RuntimeError(done.stdout)
    [result] = json.loads(RESULTS.read_text("utf-8"))["results"]["results"]
    return dict(result)


def features(model: str) -> Features:
    def plain(prompt: str = "Hi") -> Any:
        result = evaluated(prompt, model)
        return HELLO if result["success"] else result

    def usage() -> list[int]:
        counts = evaluated("Hi", model)["response"]["tokenUsage"]
        return [counts["prompt"], counts["completion"]]

    def shows(prompt: str, name: str, status: int, named: str) -> Any:
        error = evaluated(prompt, name).get("error") or ""
        return {"status": status, "named": True} if str(status) in error and named in error else error

    return {
        "plain": plain,
        "usage": usage,
        "unknown model": lambda: shows("Hi", UNKNOWN, 404, UNKNOWN),
        "upstream 400": lambda: shows("fail 9 times with 400", model, 400, "as the prompt said"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
    }


report(features, on_every_model=("plain",))
