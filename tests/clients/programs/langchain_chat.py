"""LangChain's `ChatOpenAI`, in Chat Completions or Responses, and `ChatAnthropic`: as the argument says."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anthropic
import openai
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import (
    CITY_SCHEMA,
    HEADERS,
    KEY,
    URL,
    Features,
    raises,
    rated,
    refused,
    report,
)

API = sys.argv[1]
SHARED: Any = {"api_key": KEY, "default_headers": HEADERS}
ERRORS: Any = anthropic if API == "messages" else openai


def forecast(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


weather = StructuredTool.from_function(forecast, name="weather")


def features(model: str) -> Features:
    def chat(**more: Any) -> Any:
        options = {"model": model, **SHARED, **more}
        if API == "messages":
            return ChatAnthropic(base_url=URL, **options)
        return ChatOpenAI(base_url=f"{URL}/v1", use_responses_api=API == "responses", **options)

    def stream(text: str = "Hi") -> str:
        return "".join(str(chunk.text) for chunk in chat().stream(text))

    def asynchronous() -> str:
        async def ask() -> str:
            whole = await chat().ainvoke("Hi")
            texts = [str(chunk.text) async for chunk in chat().astream("Hi")]
            assert "".join(texts) == whole.text
            return "".join(texts)

        return asyncio.run(ask())

    def tools() -> Any:
        bound = chat().bind_tools([weather])
        question = HumanMessage(WEATHER)
        message: Any = bound.invoke([question])
        call = message.tool_calls[0]
        result = ToolMessage(weather.invoke(call["args"]), tool_call_id=call["id"])
        answer = bound.invoke([question, message, result])
        return {"name": call["name"], "arguments": call["args"], "answer": answer.text}

    def streamed_tools() -> Any:
        first, *rest = chat().bind_tools([weather]).stream(WEATHER)
        whole: Any = sum(rest, first)
        return {"name": whole.tool_calls[0]["name"], "arguments": whole.tool_calls[0]["args"]}

    def structured() -> Any:
        return chat().with_structured_output(CITY_SCHEMA, method="json_schema").invoke("Hi")

    def usage() -> Any:
        answer: Any = chat().invoke("Hi")
        return [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]

    def streamed_usage() -> Any:
        first, *rest = chat(stream_usage=True).stream("Hi")
        answer: Any = sum(rest, first)
        return [answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]]

    def conversation() -> int:
        messages: list[Any] = [HumanMessage("I am Bob.")]
        models = set()
        for text in ("Who am I?", "And now?", "And then?"):
            answer = chat().invoke(messages)
            models.add(answer.response_metadata.get("model_name") or answer.response_metadata["model"])
            messages += [answer, HumanMessage(text)]
        return len(models)

    def answer_id() -> str:
        answer = chat().invoke("Hi")
        return str(answer.response_metadata.get("id") or answer.id)

    return {
        "plain": lambda: chat().invoke("Hi").text,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "streamed tools": streamed_tools,
        "structured output": structured,
        "usage": usage,
        "streamed usage": streamed_usage,
        "bad field": lambda: refused(
            lambda: chat(model_kwargs={"top_p": 7}).invoke("Hi"), ERRORS.BadRequestError, "top_p"
        ),
        "unknown model": lambda: refused(
            lambda: chat(model=UNKNOWN).invoke("Hi"), ERRORS.NotFoundError, UNKNOWN
        ),
        "upstream 400": lambda: refused(
            lambda: chat().invoke("fail 9 times with 400"), ERRORS.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: chat().invoke("fail 1 time with 429").text,
        "upstream 500": lambda: chat().invoke("fail 1 time with 500").text,
        "comes back": lambda: chat().invoke("fail 3 times with 500").text,
        "broken stream": lambda: raises(lambda: stream("break off"), ERRORS.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(answer_id()),
    }


report(features)
