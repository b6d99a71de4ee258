"""The `google-genai` package: synchronous, asynchronous, chats with automatic function calling."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from google import genai
from google.genai import errors, types

from tests.clients.features import UNKNOWN, WEATHER
from tests.clients.programs.harness import (
    CITY_SCHEMA,
    HEADERS,
    KEY,
    URL,
    Features,
    raises,
    rated,
    report,
)

RETRIES = types.HttpRetryOptions(attempts=3)
OPTIONS = types.HttpOptions(base_url=URL, headers=HEADERS, retry_options=RETRIES)
client = genai.Client(api_key=KEY, http_options=OPTIONS)


class Called:
    """A function that the package calls by itself, and its arguments."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def weather(self, city: str) -> str:
        """The weather in a city."""
        self.seen = {"name": "weather", "arguments": {"city": city}}
        return f"sunny in {city}"


def config(**fields: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**fields)


def refused(call: Any, named: str) -> Any:
    try:
        return call()
    except errors.APIError as error:
        return {"status": error.code, "named": named in str(error.message)}


def features(model: str) -> Features:
    def create(text: Any = "Hi", **fields: Any) -> types.GenerateContentResponse:
        return client.models.generate_content(model=model, contents=text, config=config(**fields))

    def plain(text: Any = "Hi", **fields: Any) -> Any:
        return create(text, **fields).text

    def streamed(text: Any = "Hi", **fields: Any) -> list[types.GenerateContentResponse]:
        return list(
            client.models.generate_content_stream(model=model, contents=text, config=config(**fields))
        )

    def stream(text: str = "Hi") -> str:
        return "".join(chunk.text or "" for chunk in streamed(text))

    def asynchronous() -> str:
        async def ask() -> str:
            whole = await client.aio.models.generate_content(model=model, contents="Hi")
            chunks = await client.aio.models.generate_content_stream(model=model, contents="Hi")
            text = "".join([chunk.text or "" async for chunk in chunks])
            assert text == whole.text
            return text

        return asyncio.run(ask())

    def tools() -> Any:
        called = Called()
        chat = client.chats.create(model=model, config=config(tools=[called.weather]))
        answer = chat.send_message(WEATHER)
        return {**called.seen, "answer": answer.text}

    def streamed_tools() -> Any:
        called = Called()
        off = types.AutomaticFunctionCallingConfig(disable=True)
        chunks = streamed(WEATHER, tools=[called.weather], automatic_function_calling=off)
        [call] = [call for chunk in chunks for call in chunk.function_calls or []]
        return {"name": call.name, "arguments": call.args}

    def structured() -> Any:
        answer = create(response_mime_type="application/json", response_json_schema=CITY_SCHEMA)
        return json.loads(answer.text or "")

    def counts(answer: types.GenerateContentResponse) -> Any:
        usage = answer.usage_metadata
        return usage and [usage.prompt_token_count, usage.candidates_token_count]

    def conversation() -> int:
        chat = client.chats.create(model=model)
        return len({chat.send_message(text).model_version for text in ("I am Bob.", "Who am I?", "And now?")})

    def unknown() -> Any:
        return client.models.generate_content(model=UNKNOWN, contents="Hi").text

    return {
        "plain": plain,
        "stream": stream,
        "async": asynchronous,
        "tools": tools,
        "streamed tools": streamed_tools,
        "structured output": structured,
        "usage": lambda: counts(create()),
        "streamed usage": lambda: counts(streamed()[-1]),
        "bad field": lambda: refused(lambda: plain(top_p=7), "topP"),
        "unknown model": lambda: refused(unknown, UNKNOWN),
        "upstream 400": lambda: refused(lambda: plain("fail 9 times with 400"), "as the prompt said"),
        "upstream 429": lambda: plain("fail 1 time with 429"),
        "upstream 500": lambda: plain("fail 1 time with 500"),
        "comes back": lambda: plain("fail 3 times with 500"),
        "broken stream": lambda: raises(lambda: stream("break off"), errors.APIError),
        "conversation": conversation,
        "feedback": lambda: rated(str(create().response_id)),
    }


report(features)
