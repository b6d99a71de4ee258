"""LangGraph: the agent of `langchain.agents`, over `ChatOpenAI`."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report


class City(BaseModel):
    city: str
    population: int


def forecast(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


weather = StructuredTool.from_function(forecast, name="weather")


def user(text: str = "Hi") -> Any:
    return {"role": "user", "content": text}


def answers(state: Any) -> list[AIMessage]:
    return [message for message in state["messages"] if isinstance(message, AIMessage)]


def features(name: str) -> Features:
    def agent(model: str = name, tools: Any = (), chat: Any = None, **more: Any) -> Any:
        options: Any = {"base_url": f"{URL}/v1", "api_key": KEY, "default_headers": HEADERS}
        return create_agent(ChatOpenAI(model=model, **options, **(chat or {})), list(tools), **more)

    def run(*messages: Any, **more: Any) -> Any:
        return agent(**more).invoke({"messages": list(messages) or [user()]})

    def plain(text: str = "Hi", **more: Any) -> Any:
        return answers(run(user(text), **more))[-1].text

    def stream(text: str = "Hi") -> str:
        pieces = agent().stream({"messages": [user(text)]}, stream_mode="messages")
        return "".join(chunk.text for chunk, _ in pieces if isinstance(chunk, AIMessageChunk))

    def asynchronous() -> Any:
        return answers(asyncio.run(agent().ainvoke({"messages": [user()]})))[-1].text

    def tools() -> Any:
        first, last = answers(run(user(WEATHER), tools=[weather]))
        [call] = first.tool_calls
        return {"name": call["name"], "arguments": call["args"], "answer": last.text}

    def structured() -> Any:
        return run(response_format=ProviderStrategy(City))["structured_response"].model_dump()

    def usage() -> Any:
        counts: Any = answers(run())[-1].usage_metadata
        return [counts["input_tokens"], counts["output_tokens"]]

    def conversation() -> int:
        messages: list[Any] = []
        for text in ("I am Bob.", "Who am I?", "And now?"):
            messages = run(*messages, user(text))["messages"]
        return len({m.response_metadata["model_name"] for m in answers({"messages": messages})})

    return {
        "plain": plain,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "structured output": structured,
        "usage": usage,
        "bad field": lambda: refused(lambda: plain(chat={"top_p": 7}), openai.BadRequestError, "top_p"),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), openai.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), openai.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), openai.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(answers(run())[-1].response_metadata["id"]),
    }


report(features)
