"""Every case against the real service over HTTP, and its answer through the vendor's own library."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import pytest

from service.domain.basics import Json
from tests.service.cases.case import Case, load, names
from tests.service.cases.checks import CHECKS, READABLE
from tests.service.cases.played import Stage, staged


def test_every_case_has_a_check() -> None:
    assert names() == sorted(CHECKS)


@pytest.mark.parametrize("name", names())
async def test_what_is_expected_comes(name: str, tmp_path: Path) -> None:
    async with staged(load(name), tmp_path, store_texts=True) as stage:
        raw = stage.changed().replace(b"%ID%", await _id_of_the_first_turn(tmp_path, stage.case))

        answered = await stage.send(raw)

        await CHECKS[name](stage, answered)


async def _id_of_the_first_turn(folder: Path, case: Case) -> bytes:
    """The id of the tool use that the client was given in the turn before this case."""
    if case.case_id != "r09-kimi-ids":
        return b""
    async with staged(load("kimi-first"), folder / "first") as stage:
        [use] = (await stage.ask()).tool_uses
        return str(use["id"]).encode()


@pytest.mark.parametrize("name", READABLE)
async def test_the_vendors_library_reads_the_answer(name: str, tmp_path: Path) -> None:
    async with staged(load(name), tmp_path) as stage:
        body = orjson.loads(stage.changed())

        if stage.case.request["path"] == "/v1/messages":
            await _read_by_anthropic(stage, body)
        else:
            await _read_by_openai(stage, body)


async def _read_by_openai(stage: Stage, body: Json) -> None:
    stream = body.pop("stream", False)
    completion: Any
    if stream:  # the library puts together the arguments of strict tools only
        for tool in body.get("tools", []):
            tool["function"]["strict"] = True
    extra = {name: body.pop(name) for name in ("router", "reasoning") if name in body}
    async with openai.AsyncOpenAI(base_url=f"{stage.base_url}/v1", api_key="none", max_retries=0) as client:
        if stream:
            async with client.chat.completions.stream(**body, extra_body=extra) as events:
                async for _ in events:
                    pass
                completion = await events.get_final_completion()
        else:
            completion = await client.chat.completions.create(**body, extra_body=extra)
    choice = completion.choices[0]
    assert choice.message.content or choice.message.tool_calls
    for call in choice.message.tool_calls or []:
        assert call.id
        assert orjson.loads(call.function.arguments)["city"]


async def _read_by_anthropic(stage: Stage, body: Json) -> None:
    stream = body.pop("stream", False)
    message: Any
    async with anthropic.AsyncAnthropic(base_url=stage.base_url, api_key="none", max_retries=0) as client:
        if stream:
            async with client.messages.stream(**body) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**body)
    assert message.content
    ids = [block.id for block in message.content if block.type == "tool_use"]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+", use_id) for use_id in ids)
