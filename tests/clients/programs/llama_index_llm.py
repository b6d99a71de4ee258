"""LlamaIndex's `OpenAILike`."""

from __future__ import annotations

import asyncio
from typing import Any

import openai
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import HEADERS, KEY, URL, Features, raises, rated, refused, report


class City(BaseModel):
    city: str
    population: int


def forecast(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


weather = FunctionTool.from_defaults(forecast, name="weather")


def user(text: str = "Hi") -> list[ChatMessage]:
    return [ChatMessage(role="user", content=text)]


def features(model: str) -> Features:
    def llm(**more: Any) -> Any:
        options = {"model": model, **more}
        return OpenAILike(
            api_base=f"{URL}/v1",
            api_key=KEY,
            default_headers=HEADERS,
            is_chat_model=True,
            is_function_calling_model=True,
            should_use_structured_outputs=True,
            **options,
        )

    def plain(text: str = "Hi", **more: Any) -> Any:
        return llm(**more).chat(user(text)).message.content

    def stream(text: str = "Hi") -> Any:
        return "".join(chunk.delta or "" for chunk in llm().stream_chat(user(text)))

    def asynchronous() -> Any:
        async def ask() -> Any:
            return (await llm().achat(user())).message.content

        return asyncio.run(ask())

    def tools() -> Any:
        chosen = llm()
        answer = chosen.chat_with_tools([weather], chat_history=user(WEATHER))
        [call] = chosen.get_tool_calls_from_response(answer)
        result = ChatMessage(
            role="tool",
            content=str(weather(**call.tool_kwargs)),
            additional_kwargs={"tool_call_id": call.tool_id},
        )
        history = [*user(WEATHER), answer.message, result]
        said = chosen.chat_with_tools([weather], chat_history=history).message.content
        return {"name": call.tool_name, "arguments": call.tool_kwargs, "answer": said}

    def streamed_tools() -> Any:
        chosen = llm()
        *_, last = chosen.stream_chat_with_tools([weather], chat_history=user(WEATHER))
        [call] = chosen.get_tool_calls_from_response(last)
        return {"name": call.tool_name, "arguments": call.tool_kwargs}

    def conversation() -> int:
        messages, models = user("I am Bob."), set()
        for text in ("Who am I?", "And now?", "And then?"):
            answer = llm().chat(messages)
            models.add(answer.raw.model)
            messages += [answer.message, *user(text)]
        return len(models)

    def answer_id() -> str:
        return str(llm().chat(user()).raw.id)

    return {
        "plain": plain,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "streamed tools": streamed_tools,
        "structured output": lambda: llm().as_structured_llm(City).complete("Hi").raw.model_dump(),
        "bad field": lambda: refused(
            lambda: plain(additional_kwargs={"top_p": 7}), openai.BadRequestError, "top_p"
        ),
        "unknown model": lambda: refused(lambda: plain(model=UNKNOWN), openai.NotFoundError, UNKNOWN),
        "upstream 400": lambda: refused(
            lambda: plain("fail 9 times with 400"), openai.BadRequestError, "as the prompt said"
        ),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), openai.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(answer_id()),
    }


report(features)
