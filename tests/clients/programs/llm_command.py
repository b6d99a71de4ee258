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

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import AUTO, CITY_SCHEMA, HEADERS, KEY, URL, rated, report

FOLDER = Path(tempfile.mkdtemp())
MODEL = {
    "api_base": f"{URL}/v1",
    "headers": HEADERS,
    "supports_tools": True,
    "supports_schema": True,
}
FOLDER.joinpath("extra-openai-models.yaml").write_text(  # JSON is YAML
    json.dumps([MODEL | {"model_id": f"my-{name}", "model_name": name} for name in (AUTO, UNKNOWN)])
)
WEATHER_TOOL = 'def weather(city: str) -> str:\n    "The weather in a city."\n    return f"sunny in {city}"\n'


def llm(*arguments: str, model: str = f"my-{AUTO}") -> subprocess.CompletedProcess[str]:
    named = [] if "-c" in arguments or "logs" in arguments else ["-m", model, "--key", KEY]
    return subprocess.run(
        [str(Path(sys.executable).parent / "llm"), *named, *arguments],
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
    done = llm("--functions", WEATHER_TOOL, "--tools-debug", *arguments, WEATHER)
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


def newest(n: int) -> Any:
    """The newest answers of the command's own log."""
    return [entry["response_json"] for entry in json.loads(llm("logs", "-n", str(n), "--json").stdout)]


def conversation() -> int:
    llm("--no-stream", "I am Bob.")
    for text in ("Who am I?", "And now?"):
        llm("-c", "--no-stream", text)
    return len({answer["model"] for answer in newest(3)})


def feedback() -> Any:
    llm("--no-stream", "Hi")
    return rated(newest(1)[0]["id"])


report(
    lambda _: {
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
        "unknown model": lambda: refused(llm("Hi", model=f"my-{UNKNOWN}"), UNKNOWN),
        "upstream 400": lambda: refused(llm("fail 9 times with 400"), "as the prompt said"),
        "upstream 429": lambda: output("--no-stream", "fail 1 time with 429"),
        "upstream 500": lambda: output("--no-stream", "fail 1 time with 500"),
        "comes back": lambda: output("--no-stream", "fail 3 times with 500"),
        "broken stream": broken,
        "conversation": conversation,
        "feedback": feedback,
    },
    models=[],
)
