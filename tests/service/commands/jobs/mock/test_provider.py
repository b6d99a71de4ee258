from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from service.commands.jobs.mock.canned import AnswersFile, read_answers
from service.commands.jobs.mock.provider import MockProvider, router_settings
from service.errors import StartupError

Serve = Callable[..., Awaitable[MockProvider]]
WEATHER = {"name": "weather", "arguments": {"place": "Paris"}}


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    opened: list[MockProvider] = []

    async def serve(*answers: dict[str, Any]) -> MockProvider:
        content = AnswersFile.model_validate({"models": ["m"], "answers": answers})
        opened.append(await MockProvider(content).__aenter__())
        return opened[-1]

    yield serve
    for provider in opened:
        await provider.__aexit__()


async def ask(provider: MockProvider, text: str = "Hello", model: str = "m", **body: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
        return await client.post(
            f"{provider.url}/v1/chat/completions", json={"model": model, "messages": messages, **body}
        )


async def text_of(provider: MockProvider, text: str = "Hello", model: str = "m") -> str:
    answer: str = (await ask(provider, text, model)).json()["choices"][0]["message"]["content"]
    return answer


async def test_the_first_answer_that_fits_is_given(serve: Serve) -> None:
    provider = await serve(
        {"when": "*CAPITAL of france?", "text": "Paris"}, {"model": "other", "text": "B"}, {"text": "C"}
    )

    assert await text_of(provider, "What is the capital of France?") == "Paris"
    assert await text_of(provider, model="other") == "B"
    assert await text_of(provider) == "C"


async def test_an_answer_is_given_as_often_as_it_says(serve: Serve) -> None:
    provider = await serve({"text": "first", "times": 1}, {"text": "second", "times": 1})

    assert [await text_of(provider), await text_of(provider)] == ["first", "second"]
    unmatched = await ask(provider)
    assert (unmatched.status_code, unmatched.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_a_failure_has_its_status_its_message_and_its_wait(serve: Serve) -> None:
    provider = await serve({"status": 429, "text": "slow down", "retry_after_s": 2})

    response = await ask(provider)

    assert (response.status_code, response.headers["retry-after"]) == (429, "2")
    assert response.json()["error"]["message"] == "slow down"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_connection_can_break_off_in_the_middle(serve: Serve, stream: bool) -> None:
    provider = await serve({"text": "a b c d", "breaks_off": True})

    with pytest.raises(httpx.RemoteProtocolError):
        await ask(provider, stream=stream)


async def test_openais_client_reads_texts_tools_and_usage(serve: Serve) -> None:
    provider = await serve(
        {"when": "tool", "tool_calls": [WEATHER]},
        {"text": "one two", "usage": {"input_tokens": 7, "output_tokens": 3}},
    )
    async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="none") as client:
        whole = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "tool"}]
        )
        stream = await client.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "text"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]

    (call,) = whole.choices[0].message.tool_calls or []
    assert (whole.choices[0].finish_reason, call.type) == ("tool_calls", "function")
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "one two"
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (7, 3, 10)


async def test_anthropics_client_reads_texts_tools_and_errors(serve: Serve) -> None:
    provider = await serve(
        {"when": "tool", "text": "I look.", "tool_calls": [WEATHER]},
        {"when": "fail", "status": 529, "text": "overloaded"},
        {"text": "one two"},
    )
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="none", max_retries=0) as client:

        async def message(text: str) -> anthropic.types.Message:
            return await client.messages.create(
                model="m", max_tokens=9, messages=[{"role": "user", "content": text}]
            )

        whole = await message("tool")
        async with client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "tool"}]
        ) as stream:
            streamed = await stream.get_final_message()
        with pytest.raises(anthropic.APIStatusError, match="overloaded"):
            await message("fail")

    for answer in (whole, streamed):
        assert [block.type for block in answer.content] == ["text", "tool_use"]
        assert answer.content[1].to_dict()["input"] == {"place": "Paris"}
        assert answer.stop_reason == "tool_use"


async def test_calls_are_kept_and_answers_replaced_over_http(serve: Serve) -> None:
    provider = await serve({"text": "old"})
    await ask(provider, "remember me")
    async with httpx.AsyncClient(base_url=provider.url, trust_env=False) as client:
        (call,) = (await client.get("/calls")).json()["calls"]
        await client.delete("/calls")
        replaced = await client.put("/answers", json={"answers": [{"text": "new"}]})
        refused = await client.put("/answers", json={"answers": [{"texts": "new"}]})

    assert (call["question"], call["model"], call["dialect"], call["status"]) == (
        "remember me",
        "m",
        "openai",
        200,
    )
    assert (replaced.status_code, refused.status_code) == (200, 400)
    assert await text_of(provider) == "new"
    assert len(provider.calls) == 1


def test_a_faulty_file_is_reported_by_entry(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("answers:\n- text: ok\n- delay_s: -1\n")

    with pytest.raises(StartupError, match=r"answers\.yaml: answers\.1\.delay_s: .*greater than or equal"):
        read_answers(file)


async def test_the_printed_configuration_is_that_of_a_router(serve: Serve) -> None:
    provider = await serve()

    (model,) = router_settings(provider.url, ["m"])["models"]

    assert (model["id"], model["base_url"]) == ("m", f"{provider.url}/v1")
