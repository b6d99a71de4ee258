"""LiteLLM's proxy in front of the router, called with the `openai` package."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import openai

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import (
    AUTO,
    CITY_SCHEMA,
    KEY,
    MODELS,
    URL,
    Features,
    rated,
    refused,
    report,
)

BIN = Path(sys.argv[1])
FOLDER = Path(tempfile.mkdtemp())
PATIENCE_S = 300.0
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]
CONFIG = {
    "model_list": [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": f"{URL}/v1", "api_key": KEY},
        }
        for name in (AUTO, UNKNOWN, *MODELS)
    ],
    "litellm_settings": {"telemetry": False, "num_retries": 2},
}


def started() -> tuple[subprocess.Popen[bytes], str]:
    """The proxy, ready, and its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = FOLDER / "config.yaml"
    config.write_text(json.dumps(CONFIG), "utf-8")  # JSON is YAML
    command = [str(BIN / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    environ = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "HOME": str(FOLDER),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",  # only this program calls it
    }
    output = (FOLDER / "output").open("wb")
    proxy = subprocess.Popen(command, cwd=FOLDER, env=environ, stdout=output, stderr=output)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and proxy.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness"):
            return proxy, f"http://127.0.0.1:{port}"
        time.sleep(0.5)
    proxy.kill()
    raise RuntimeError((FOLDER / "output").read_text())


def features(client: openai.OpenAI, model: str) -> Features:
    def create(text: str = "Hi", **more: Any) -> Any:
        messages = [{"role": "user", "content": text}]
        return client.chat.completions.create(**{"model": model, "messages": messages, **more})

    def plain(text: str = "Hi", **more: Any) -> Any:
        return create(text, **more).choices[0].message.content

    def stream() -> str:
        chunks = create(stream=True)
        return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)

    def tools() -> Any:
        message = create(WEATHER, tools=TOOLS).choices[0].message
        [call] = message.tool_calls
        result = {"role": "tool", "tool_call_id": call.id, "content": "sunny in Paris"}
        messages: Any = [{"role": "user", "content": WEATHER}, message, result]
        answer = create(messages=messages, tools=TOOLS).choices[0].message.content
        return {
            "name": call.function.name,
            "arguments": json.loads(call.function.arguments),
            "answer": answer,
        }

    def structured() -> Any:
        schema = {"name": "city", "schema": CITY_SCHEMA, "strict": True}
        return json.loads(plain(response_format={"type": "json_schema", "json_schema": schema}))

    def usage() -> Any:
        counts = create().usage
        return [counts.prompt_tokens, counts.completion_tokens]

    return {
        "plain": plain,
        "stream": stream,
        "tools": tools,
        "structured output": structured,
        "usage": usage,
        "bad field": lambda: refused(lambda: plain(top_p=7), openai.BadRequestError, "top_p"),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), openai.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), openai.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "feedback": lambda: rated(create().id),
    }


proxy, address = started()
try:
    client = openai.OpenAI(base_url=f"{address}/v1", api_key=KEY)
    report(lambda model: features(client, model))
finally:
    proxy.terminate()
    proxy.wait()
