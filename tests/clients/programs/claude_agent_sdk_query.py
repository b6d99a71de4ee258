"""claude-agent-sdk for Python, which brings the command of Claude Code with it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ClaudeSDKClient,
    ResultMessage,
    ToolUseBlock,
    create_sdk_mcp_server,
    query,
    tool,
)

from tests.clients.features import UNKNOWN
from tests.clients.programs.agent import HOME
from tests.clients.programs.harness import AUTO, CITY_SCHEMA, KEY, URL, Features, report

MCP_WEATHER = 'What is the weather? call mcp__w__weather {"city": "Paris"}'
ENVIRON = {
    "ANTHROPIC_BASE_URL": URL,
    "ANTHROPIC_AUTH_TOKEN": KEY,
    "ANTHROPIC_SMALL_FAST_MODEL": AUTO,
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "HOME": str(HOME),
}


@tool("weather", "The weather in a city.", {"city": str})  # type: ignore[untyped-decorator]
async def weather(arguments: Any) -> Any:
    return {"content": [{"type": "text", "text": f"sunny in {arguments['city']}"}]}


SERVER = create_sdk_mcp_server("w", tools=[weather])


def features(model: str) -> Features:
    def options(**more: Any) -> Any:
        return ClaudeAgentOptions(env=ENVIRON, model=more.pop("name", model), cwd=HOME, **more)

    def run(prompt: str = "Hi", **more: Any) -> list[Any]:
        async def ask() -> list[Any]:
            return [message async for message in query(prompt=prompt, options=options(**more))]

        return asyncio.run(ask())

    def result(messages: list[Any]) -> Any:
        return next(message for message in messages if isinstance(message, ResultMessage))

    def plain(text: str = "Hi", **more: Any) -> Any:
        return result(run(text, **more)).result

    def tools() -> Any:
        messages = run(MCP_WEATHER, mcp_servers={"w": SERVER}, allowed_tools=["mcp__w__weather"])
        blocks = [block for m in messages if isinstance(m, AssistantMessage) for block in m.content]
        [call] = [block for block in blocks if isinstance(block, ToolUseBlock)]
        name = call.name.removeprefix("mcp__w__")
        answer = result(messages).result.partition("\n")[0]  # reminders of the SDK follow the tool's result
        return {"name": name, "arguments": call.input, "answer": answer}

    def structured() -> Any:
        city = json.dumps({"city": "Paris", "population": 2})
        form = {"type": "json_schema", "schema": CITY_SCHEMA}
        return result(run(f"call StructuredOutput {city}", output_format=form)).structured_output

    def usage() -> Any:
        counts = result(run()).usage
        return [counts["input_tokens"], counts["output_tokens"]]

    def conversation() -> int:
        async def talk() -> set[str]:
            models = set()
            async with ClaudeSDKClient(options()) as client:
                for text in ("I am Bob.", "Who am I?", "And now?"):
                    await client.query(text)
                    async for message in client.receive_response():
                        if isinstance(message, AssistantMessage):
                            models.add(message.model)
            return models

        return len(asyncio.run(talk()))

    def shows(text: str, status: int, named: str, **more: Any) -> Any:
        """The SDK hands out the error as a result, or raises it."""
        try:
            said = str(plain(text, **more))
        except Exception as raised:
            said = str(raised)
        return {"status": status, "named": True} if named in said else said

    return {
        "plain": plain,
        "tools": tools,
        "structured output": structured,
        "usage": usage,
        "unknown model": lambda: shows("Hi", 404, UNKNOWN, name=UNKNOWN),
        "upstream 400": lambda: shows("fail 9 times with 400", 400, "as the prompt said"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "conversation": conversation,
    }


report(features, on_every_model=("tools",))
