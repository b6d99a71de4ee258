"""The clients: what each one is, how its program starts, and which features it lacks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.clients.environments import CommandProgram, NodeProgram, Program, PythonProgram
from tests.clients.features import ON_EVERY_MODEL, SEEN, UNKNOWN, WEATHER
from tests.e2e.running import REPOSITORY

TIMEOUT_S = 1200.0
# features.py, for programs that cannot import it
FEATURES = json.dumps(
    {"SEEN": SEEN, "ON_EVERY_MODEL": ON_EVERY_MODEL, "WEATHER": WEATHER, "UNKNOWN": UNKNOWN}
)


@dataclass(frozen=True)
class Client:
    """A package, and the features that its program tries.

    Args:
        package: its name in the registry.
        without: features that are not tried, and why.
        every_run: False: only `make check-clients-all` runs it, with a router of its own.
    """

    name: str
    package: str
    program: Program
    without: Mapping[str, str] = field(default_factory=dict)
    every_run: bool = True

    @property
    def features(self) -> list[str]:
        return [feature for feature in SEEN if feature not in self.without]

    @property
    def key(self) -> str:
        """The name as part of a model's id."""
        return "".join(c if c.isalnum() else "-" for c in self.name.lower())

    @property
    def version(self) -> str:
        return self.program.version(self.package)

    def run(self, url: str, models: list[str], upstream: str) -> dict[str, Any]:
        """Run the program, and return the package's result of every feature."""
        done = subprocess.run(
            self.program.command,
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "ROUTER_URL": url,
                "ROUTER_MODELS": ",".join(models),
                "UPSTREAM_URL": f"{upstream}/{self.key}",
                "FEATURES": FEATURES,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # threads of LiteLLM still write while its interpreter ends, and then anything
            timeout=TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        results = [line for line in done.stdout.splitlines() if line.startswith("{")]
        seen: dict[str, Any] = json.loads(results[-1])
        return seen


OURS: Any = {
    "interpreter": Path(sys.executable),
    "lock": REPOSITORY / "requirements-dev.txt",
}
NO_ASYNC = {"async": "it has one way of calling"}
SDKS = (
    Client("openai (Python)", "openai", PythonProgram("openai_python", **OURS)),
    Client("openai (Node)", "openai", NodeProgram("openai.mjs"), NO_ASYNC),
    Client("anthropic (Python)", "anthropic", PythonProgram("anthropic_python", **OURS)),
    Client("@anthropic-ai/sdk (Node)", "@anthropic-ai/sdk", NodeProgram("anthropic.mjs"), NO_ASYNC),
    Client("google-genai (Python)", "google-genai", PythonProgram("google_genai")),
)
FRAMEWORKS = (
    Client("LangChain ChatOpenAI", "langchain-openai", PythonProgram("langchain_chat", "chat")),
    Client("LangChain ChatAnthropic", "langchain-anthropic", PythonProgram("langchain_chat", "messages")),
    Client(
        "LangChain ChatOpenAI, responses", "langchain-openai", PythonProgram("langchain_chat", "responses")
    ),
    Client(
        "LangGraph",
        "langgraph",
        PythonProgram("langgraph_agent"),
        {"streamed tools": "it calls tools itself", "streamed usage": "its last state has the usage"},
    ),
    Client("litellm", "litellm", PythonProgram("litellm_client")),
    Client(
        "llm",
        "llm",
        PythonProgram("llm_command"),
        NO_ASYNC | {"every model": "it calls the `openai` package, and each prompt starts a process"},
    ),
)
NO_ID = {"feedback": "it shows no id of an answer"}
OPENAI_AGENTS_LACKS = NO_ASYNC | {"conversation": "its results do not name the model"}
INSTRUCTOR_LACKS = {
    "tools": "it uses tools for structured output only",
    "streamed tools": "it uses tools for structured output only",
    "streamed usage": "its partial objects have no usage",
    "broken stream": "an object that ends early is its validation's error",
    "conversation": "each call is one request",
}
AGENT_FRAMEWORKS = (
    Client(
        "instructor from_openai", "instructor", PythonProgram("instructor_client", "chat"), INSTRUCTOR_LACKS
    ),
    Client(
        "instructor from_anthropic",
        "instructor",
        PythonProgram("instructor_client", "messages"),
        INSTRUCTOR_LACKS,
    ),
    Client(
        "openai-agents",
        "openai-agents",
        PythonProgram("openai_agents", "responses"),
        OPENAI_AGENTS_LACKS,
    ),
    Client(
        "openai-agents, chat completions",
        "openai-agents",
        PythonProgram("openai_agents", "chat"),
        OPENAI_AGENTS_LACKS | NO_ID,
    ),
    Client(
        "LlamaIndex OpenAILike",
        "llama-index-llms-openai-like",
        PythonProgram("llama_index_llm"),
        {"usage": "it hands out the raw answer only", "streamed usage": "it hands out raw chunks only"},
    ),
    Client(
        "DSPy",
        "dspy",
        PythonProgram("dspy_module"),
        {
            "stream": "it streams within programs that listen",
            "tools": "its agents write calls as text",
            "streamed tools": "its agents write calls as text",
            "streamed usage": "it streams within programs that listen",
            "broken stream": "it streams within programs that listen",
            "conversation": "each call is one request",
        },
    ),
)
INSPECT_LACKS = {
    "feedback": "it shows ids of its own",
    "stream": "its models answer whole",
    "async": "it has no other interface",
    "streamed tools": "its models answer whole",
    "streamed usage": "its models answer whole",
    "broken stream": "its models answer whole",
}
NO_TOP_P = {"bad field": "it sends no `top_p` to Anthropic"}
INSPECT = tuple(
    Client(
        f"inspect {provider}",
        "inspect-ai",
        PythonProgram.apart("inspect_model", "inspect", api),
        INSPECT_LACKS | lacks,
        every_run=False,
    )
    for provider, api, lacks in (("openai", "chat", {}), ("anthropic", "messages", NO_TOP_P))
)
AI_SDK = (
    Client("AI SDK openai", "@ai-sdk/openai", NodeProgram("ai-sdk.mjs", "openai-responses"), NO_ASYNC),
    Client("AI SDK openai.chat", "@ai-sdk/openai", NodeProgram("ai-sdk.mjs", "openai-chat"), NO_ASYNC),
    Client(
        "AI SDK openai-compatible",
        "@ai-sdk/openai-compatible",
        NodeProgram("ai-sdk.mjs", "compatible"),
        NO_ASYNC,
    ),
    Client("AI SDK anthropic", "@ai-sdk/anthropic", NodeProgram("ai-sdk.mjs", "anthropic"), NO_ASYNC),
)
PYDANTIC_AI = {
    name: PythonProgram.apart("pydantic_ai_agent", "pydantic-ai", name)
    for name in ("chat", "messages", "responses")
}
APART = (
    Client("pydantic-ai OpenAIChatModel", "pydantic-ai-slim", PYDANTIC_AI["chat"], every_run=False),
    Client("pydantic-ai OpenAIResponsesModel", "pydantic-ai-slim", PYDANTIC_AI["responses"], every_run=False),
    Client("pydantic-ai AnthropicModel", "pydantic-ai-slim", PYDANTIC_AI["messages"], every_run=False),
)
OF_AGENTS = NO_ASYNC | {
    "feedback": "it shows no id of an answer",
    "streamed tools": "it streams always",
    "streamed usage": "it streams always",
    "bad field": "it sends no field that a user chooses",
    "broken stream": "it asks again",
}
NO_SCHEMA = {"structured output": "it has no schema for its answers"}
NO_USAGE = {"usage": "it prints no tokens"}


def all_but(*tried: str, reason: str) -> dict[str, str]:
    """The features that are not tried, all for the same reason."""
    return {feature: reason for feature in SEEN if feature not in tried}


def agent(name: str, package: str, module: str, argument: str = "", **more: Any) -> Client:
    """An agent of the command line, in the folder of its module."""
    return Client(name, package, CommandProgram(module, module, argument), every_run=False, **more)


AGENTS = (
    agent(
        "Claude Code",
        "@anthropic-ai/claude-code",
        "claude_code",
        without=OF_AGENTS,
    ),
    agent("Codex", "@openai/codex", "codex", without=OF_AGENTS),
    agent("opencode", "opencode-ai", "opencode", "openai-compatible", without=OF_AGENTS | NO_SCHEMA),
    agent("opencode, messages", "opencode-ai", "opencode", "anthropic", without=OF_AGENTS | NO_SCHEMA),
    agent("Gemini CLI", "@google/gemini-cli", "gemini_cli", without=OF_AGENTS | NO_SCHEMA),
    agent(
        "Qwen Code",
        "@qwen-code/qwen-code",
        "qwen_code",
        without=OF_AGENTS | NO_SCHEMA | {"usage": "it adds the tokens of its side calls"},
    ),
    agent("Copilot CLI", "@github/copilot", "copilot", "chat", without=OF_AGENTS | NO_SCHEMA | NO_USAGE),
    agent(
        "Copilot CLI, messages",
        "@github/copilot",
        "copilot",
        "messages",
        without=OF_AGENTS | NO_SCHEMA | NO_USAGE,
    ),
    agent(
        "Copilot CLI, responses",
        "@github/copilot",
        "copilot",
        "responses",
        without=OF_AGENTS | NO_SCHEMA | NO_USAGE,
    ),
    agent(
        "aider",
        "aider-chat",
        "aider",
        without=OF_AGENTS
        | NO_SCHEMA
        | {"tools": "it reads edits from the text", "usage": "it rounds tokens"},
    ),
    agent("Continue CLI", "@continuedev/cli", "continue_cli", without=OF_AGENTS | NO_SCHEMA | NO_USAGE),
)
AGENT_SDK_LACKS = OF_AGENTS | {"stream": "it streams always", "async": "it has no other interface"}
HARNESSES = (
    Client(
        "claude-agent-sdk (Python)",
        "claude-agent-sdk",
        PythonProgram.apart("claude_agent_sdk_query", "claude_agent_sdk"),
        AGENT_SDK_LACKS,
        every_run=False,
    ),
    Client(
        "claude-agent-sdk (Node)",
        "@anthropic-ai/claude-agent-sdk",
        NodeProgram.apart("query.mjs", "claude_agent_sdk_node"),
        AGENT_SDK_LACKS,
        every_run=False,
    ),
    Client(
        "litellm proxy",
        "litellm",
        CommandProgram("litellm_proxy", "litellm_proxy"),
        NO_ASYNC
        | {
            "streamed tools": "it passes the events of the router on",
            "streamed usage": "it passes the events of the router on",
            "broken stream": "it passes the events of the router on",
            "conversation": "it passes messages on, and its answers name its own model",
        },
        every_run=False,
    ),
    Client(
        "lm-eval",
        "lm-eval",
        CommandProgram("lm_eval_task", "lm_eval"),
        all_but(
            *("plain", "upstream 429", "upstream 500", "every model"), reason="it has samples and scores only"
        ),
        every_run=False,
    ),
)
NO_STATUS = dict.fromkeys(("unknown model", "upstream 400"), "its error has no status")
PROMPTFOO = tuple(
    Client(
        f"promptfoo {api}",
        "promptfoo",
        CommandProgram("promptfoo_eval", "promptfoo", api),
        lacks
        | all_but(
            *(
                "plain",
                "usage",
                "unknown model",
                "upstream 400",
                "upstream 429",
                "upstream 500",
                "every model",
            ),
            reason="it compares whole answers",
        ),
        every_run=False,
    )
    for api, lacks in (
        ("openai:chat", {}),
        ("openai:responses", {}),
        ("openai:completion", NO_STATUS),
        ("anthropic:messages", {}),
    )
)
GROUPS = (SDKS, FRAMEWORKS, AGENT_FRAMEWORKS, INSPECT, AI_SDK, APART, AGENTS, HARNESSES, PROMPTFOO)
CLIENTS = {client.name: client for group in GROUPS for client in group}
