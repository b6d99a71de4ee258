"""LangChain's `ChatOpenAI`."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from tests.clients.programs.harness import CITY_SCHEMA, HEADERS, KEY, URL, raises, refused, report


def forecast(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


weather = StructuredTool.from_function(forecast, name="weather")


def chat(**more: Any) -> ChatOpenAI:
    options: Any = {"model": "auto", "base_url": f"{URL}/v1", "api_key": KEY, "default_headers": HEADERS}
    return ChatOpenAI(**{**options, **more})


def stream(text: str = "Hi") -> str:
    return "".join(str(chunk.content) for chunk in chat().stream(text))


def asynchronous() -> str:
    async def ask() -> str:
        whole = await chat().ainvoke("Hi")
        texts = [str(chunk.content) async for chunk in chat().astream("Hi")]
        assert "".join(texts) == whole.content
        return "".join(texts)

    return asyncio.run(ask())


def tools() -> Any:
    model = chat().bind_tools([weather])
    question = HumanMessage("What is the weather?")
    message: Any = model.invoke([question])
    call = message.tool_calls[0]
    result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
    answer = model.invoke([question, message, result])
    return {"name": call["name"], "arguments": call["args"], "answer": answer.content}


def streamed_tools() -> Any:
    first, *rest = chat().bind_tools([weather]).stream("What is the weather?")
    whole: Any = sum(rest, first)
    return {"name": whole.tool_calls[0]["name"], "arguments": whole.tool_calls[0]["args"]}


def usage() -> Any:
    answer: Any = chat().invoke("Hi")
    return [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]


def streamed_usage() -> Any:
    first, *rest = chat(stream_usage=True).stream("Hi")
    answer: Any = sum(rest, first)
    return [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]


report(
    {
        "plain": lambda: chat().invoke("Hi").content,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "streamed tools": streamed_tools,
        "structured output": lambda: chat().with_structured_output(CITY_SCHEMA).invoke("Hi"),
        "usage": usage,
        "streamed usage": streamed_usage,
        "bad field": lambda: refused(lambda: chat(top_p=7).invoke("Hi"), openai.BadRequestError, "top_p"),
        "unknown model": lambda: refused(
            lambda: chat(model="gpt-0").invoke("Hi"), openai.NotFoundError, "gpt-0"
        ),
        "upstream 500": lambda: chat().invoke("fail 1 time with 500").content,
        "upstream 429": lambda: chat().invoke("fail 1 time with 429").content,
        "comes back": lambda: chat().invoke("fail 2 times with 500").content,
        "broken stream": lambda: raises(lambda: stream("break off"), openai.APIError),
    }
)
