"""inspect: its models and its loop of tools, in Chat Completions or Messages, as the argument says."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig, ResponseSchema, get_model
from inspect_ai.tool import tool
from inspect_ai.util import json_schema
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, report

API = sys.argv[1]


class City(BaseModel):
    city: str
    population: int


@tool  # type: ignore[untyped-decorator]
def weather() -> Any:
    async def execute(city: str) -> str:
        """The weather in a city.

        Args:
            city: a city
        """
        return f"sunny in {city}"

    return execute


def features(name: str) -> Features:
    def chosen(model: str = name) -> Any:
        return get_model(
            f"{'anthropic' if API == 'messages' else 'openai'}/{model}",
            base_url=URL if API == "messages" else f"{URL}/v1",
            api_key=KEY,
            memoize=False,
            default_headers=HEADERS,
        )

    def generate(given: Any = "Hi", model: str = name, **more: Any) -> Any:
        return asyncio.run(chosen(model).generate(given, config=GenerateConfig(**more)))

    def plain(text: str = "Hi", **more: Any) -> Any:
        return generate(text, **more).completion

    def tools() -> Any:
        messages, output = asyncio.run(chosen().generate_loop(WEATHER, tools=[weather()]))
        [call] = [c for m in messages if isinstance(m, ChatMessageAssistant) for c in m.tool_calls or []]
        return {"name": call.function, "arguments": call.arguments, "answer": output.completion}

    def structured() -> Any:
        schema = ResponseSchema(name="city", json_schema=json_schema(City), strict=True)
        return json.loads(plain(response_schema=schema))

    def usage() -> Any:
        counts = generate().usage
        return [counts.input_tokens, counts.output_tokens]

    def conversation() -> int:
        messages: list[Any] = [ChatMessageUser(content="I am Bob.")]
        models = set()
        for text in ("Who am I?", "And now?", "And then?"):
            output = generate(messages)
            models.add(output.model)
            messages += [output.message, ChatMessageUser(content=text)]
        return len(models)

    def refused(call: Any, status: int, named: str) -> Any:
        """inspect answers with an error in the output, or raises one that has the words."""
        try:
            output = call()
        except Exception as raised:
            output = str(raised)
        return {"status": status, "named": True} if named in output else output

    return {
        "plain": plain,
        "tools": tools,
        "structured output": structured,
        "usage": usage,
        "bad field": lambda: refused(lambda: plain(top_p=7), 400, "top_p"),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), 404, UNKNOWN),
        "upstream 400": lambda: refused(lambda: plain("fail 9 times with 400"), 400, "as the prompt said"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "conversation": conversation,
    }


report(features)
