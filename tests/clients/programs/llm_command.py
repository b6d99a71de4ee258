"""The `llm` command line, with the router's models in its configuration file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.clients.programs.harness import CITY_SCHEMA, HEADERS, KEY, URL, report

FOLDER = Path(tempfile.mkdtemp())
MODEL = {
    "api_base": f"{URL}/v1",
    "headers": HEADERS,
    "supports_tools": True,
    "supports_schema": True,
}
FOLDER.joinpath("extra-openai-models.yaml").write_text(  # JSON is YAML
    json.dumps([MODEL | {"model_id": f"my-{name}", "model_name": name} for name in ("auto", "gpt-0")])
)
WEATHER = 'def weather(city: str) -> str:\n    "The weather in a city."\n    return f"sunny in {city}"\n'


def llm(*arguments: str, model: str = "my-auto") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "llm"), "-m", model, "--key", KEY, *arguments],
        env={**os.environ, "LLM_USER_PATH": str(FOLDER), "OPENAI_API_KEY": KEY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def output(*arguments: str) -> str:
    done = llm(*arguments)
    return done.stdout.strip() or done.stderr


def tools(*arguments: str) -> Any:
    done = llm("--functions", WEATHER, "--tools-debug", *arguments, "What is the weather?")
    called = re.search(r"Tool call: (\w+)\((.*)\)", done.stderr)
    assert called, done.stderr
    return {
        "name": called[1],
        "arguments": json.loads(called[2].replace("'", '"')),
        "answer": done.stdout.strip(),
    }


def usage(*arguments: str) -> Any:
    counted = re.search(r"Token usage: (\d+) input, (\d+) output", llm("-u", *arguments, "Hi").stderr)
    return counted and [int(counted[1]), int(counted[2])]


def refused(done: subprocess.CompletedProcess[str], named: str) -> Any:
    code = re.search(r"Error code: (\d+)", done.stderr)
    return {"status": code and int(code[1]), "named": done.returncode == 1 and named in done.stderr}


def broken() -> str:
    done = llm("break off")
    return "error" if done.returncode == 1 and "Error" in done.stderr else done.stdout


report(
    {
        "plain": lambda: output("--no-stream", "Hi"),
        "stream": lambda: output("Hi"),
        "tools": lambda: tools("--no-stream"),
        "streamed tools": lambda: {k: v for k, v in tools().items() if k != "answer"},
        "structured output": lambda: json.loads(
            output("--no-stream", "--schema", json.dumps(CITY_SCHEMA), "Hi")
        ),
        "usage": lambda: usage("--no-stream"),
        "streamed usage": usage,
        "bad field": lambda: refused(llm("-o", "max_tokens", "0", "Hi"), "max_tokens"),
        "unknown model": lambda: refused(llm("Hi", model="my-gpt-0"), "gpt-0"),
        "upstream 500": lambda: output("--no-stream", "fail 1 time with 500"),
        "upstream 429": lambda: output("--no-stream", "fail 1 time with 429"),
        "comes back": lambda: output("--no-stream", "fail 2 times with 500"),
        "broken stream": broken,
    }
)
