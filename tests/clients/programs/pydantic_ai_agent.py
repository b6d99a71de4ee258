"""pydantic-ai's `Agent`, in Chat Completions, Responses or Messages: as the argument says."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anthropic
import openai
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report

API = sys.argv[1]
SHARED: Any = {"api_key": KEY, "default_headers": HEADERS}


class City(BaseModel):
    city: str
    population: int


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def chosen(name: str) -> Any:
    if API == "messages":
        client: Any = anthropic.AsyncAnthropic(base_url=URL, **SHARED)
        return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client))
    client = openai.AsyncOpenAI(base_url=f"{URL}/v1", **SHARED)
    kind: Any = OpenAIResponsesModel if API == "responses" else OpenAIChatModel
    return kind(name, provider=OpenAIProvider(openai_client=client))


def answers(result: Any) -> list[ModelResponse]:
    return [message for message in result.all_messages() if isinstance(message, ModelResponse)]


def called(result: Any) -> Any:
    [call] = [part for answer in answers(result) for part in answer.parts if isinstance(part, ToolCallPart)]
    return {"name": call.tool_name, "arguments": call.args_as_dict()}


def features(name: str) -> Features:
    def agent(model: str = name, **more: Any) -> Agent[None, Any]:
        return Agent(chosen(model), **more)

    def run(text: str = "Hi", **more: Any) -> Any:
        return agent(**more).run_sync(text)

    def plain(text: str = "Hi", **more: Any) -> Any:
        return run(text, **more).output

    def streamed(text: str = "Hi", **more: Any) -> Any:
        async def ask() -> Any:
            async with agent(**more).run_stream(text) as result:
                text_of_result = "".join([piece async for piece in result.stream_text(delta=True)])
            return text_of_result, result

        return asyncio.run(ask())

    def asynchronous() -> Any:
        async def ask() -> Any:
            return (await agent().run("Hi")).output

        return asyncio.run(ask())

    def tools() -> Any:
        result = run(WEATHER, tools=[weather])
        return {**called(result), "answer": result.output}

    city: Any = City if API == "messages" else NativeOutput(City)  # as a call of a tool, or as JSON

    def usage() -> Any:
        counted = run().usage
        return [counted.input_tokens, counted.output_tokens]

    def streamed_usage() -> Any:
        counted = streamed()[1].usage
        return [counted.input_tokens, counted.output_tokens]

    def conversation() -> int:
        result = run("I am Bob.")
        for text in ("Who am I?", "And now?"):
            result = agent().run_sync(text, message_history=result.all_messages())
        return len({answer.model_name for answer in answers(result)})

    return {
        "plain": plain,
        "stream": lambda: streamed()[0],
        "async": asynchronous,
        "tools": tools,
        "streamed tools": lambda: called(streamed(WEATHER, tools=[weather])[1]),
        "structured output": lambda: run(output_type=city).output.model_dump(),
        "usage": usage,
        "streamed usage": streamed_usage,
        "bad field": lambda: refused(lambda: plain(model_settings={"top_p": 7}), ModelHTTPError, "top_p"),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), ModelHTTPError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), ModelHTTPError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: streamed("break off")[0], Exception),
        "conversation": conversation,
        "feedback": lambda: rated(answers(run())[-1].provider_response_id or ""),
    }


report(features)
