"""openai-agents, in Chat Completions or Responses: as the argument says."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import openai
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report

API = sys.argv[1]
set_tracing_disabled(True)


class City(BaseModel):
    city: str
    population: int


def forecast(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


weather: Any = function_tool(forecast, name_override="weather")


def called(result: Any) -> Any:
    [call] = [item.raw_item for item in result.new_items if item.type == "tool_call_item"]
    return {"name": call.name, "arguments": json.loads(call.arguments)}


def features(model: str) -> Features:
    def agent(name: str = model, **more: Any) -> Any:
        client = openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, default_headers=HEADERS)
        kind: Any = OpenAIResponsesModel if API == "responses" else OpenAIChatCompletionsModel
        return Agent(name="A", model=kind(name, client), **more)

    def run(given: Any = "Hi", **more: Any) -> Any:
        return asyncio.run(Runner.run(agent(**more), given))

    def plain(text: str = "Hi", **more: Any) -> Any:
        return run(text, **more).final_output

    def streamed(text: str = "Hi", **more: Any) -> Any:
        async def ask() -> Any:
            result = Runner.run_streamed(agent(**more), text)
            deltas = [
                event.data.delta
                async for event in result.stream_events()
                if event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
            ]
            return "".join(deltas), result

        return asyncio.run(ask())

    def tools() -> Any:
        result = run(WEATHER, tools=[weather])
        return {**called(result), "answer": result.final_output}

    def usage() -> Any:
        counted = run().context_wrapper.usage
        return [counted.input_tokens, counted.output_tokens]

    def streamed_usage() -> Any:
        counted = streamed(model_settings=ModelSettings(include_usage=True))[1].context_wrapper.usage
        return [counted.input_tokens, counted.output_tokens]

    return {
        "plain": plain,
        "stream": lambda: streamed()[0],
        "tools": tools,
        "streamed tools": lambda: called(streamed(WEATHER, tools=[weather])[1]),
        "structured output": lambda: plain(output_type=City).model_dump(),
        "usage": usage,
        "streamed usage": streamed_usage,
        "bad field": lambda: refused(
            lambda: plain(model_settings=ModelSettings(top_p=7)), openai.BadRequestError, "top_p"
        ),
        "unknown model": lambda: refused(lambda: plain(name=UNKNOWN), openai.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), openai.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: streamed("break off")[0], openai.APIError),
        "feedback": lambda: rated(run().last_response_id),
    }


report(features)
