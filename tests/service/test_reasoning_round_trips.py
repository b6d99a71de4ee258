"""Reasoning of every vendor, out to clients of each dialect and back in a tool loop, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import httpx
import orjson
import pytest

from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import ProviderClients
from service.providers.openai_compatible import OpenAICompatibleClient
from tests.service.providers import scripted
from tests.service.providers.scripted import Upstream, answers, completion, event, refuses, streams
from tests.service.served import serving
from tests.service.world import events_of, opened

THOUGHT = "Add the two numbers."
ID = "functions.add:0"  # a form that clients of Anthropic's dialect reject
CALL: Json = {"id": ID, "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
TEXT_DETAIL: Json = {
    **{"type": "reasoning.text", "text": THOUGHT, "signature": "c2ln+/=", "id": None, "index": 0},
    **{"format": "anthropic-claude-v1"},
}
ENCRYPTED: Json = {
    **{"type": "reasoning.encrypted", "data": "gAAAAB+/é==", "id": "rs_1", "index": 1},
    **{"format": "openai-responses-v1"},
}


@dataclass(frozen=True, slots=True)
class Vendor:
    """How a server gives the reasoning of its model.

    Args:
        whole: the fields of a whole message.
        deltas: those of a stream, one delta each.
        back: the fields of the assistant's message that the server must get back.
        thought: what clients see of it.
    """

    whole: Json
    deltas: Sequence[Json]
    back: Json
    thought: str = THOUGHT


SPLIT = [THOUGHT[:9], THOUGHT[9:]]
TAGGED = f"<think>\n{THOUGHT}\n</think>\n\n"
VENDORS = {
    "DeepSeek, Kimi": Vendor(
        {"reasoning_content": THOUGHT},
        [{"reasoning_content": text} for text in SPLIT],
        {"reasoning_content": THOUGHT},
    ),
    "vLLM, Groq": Vendor(
        {"reasoning": THOUGHT},
        [{"reasoning": text} for text in SPLIT],
        {"reasoning": THOUGHT},
    ),
    "OpenRouter": Vendor(
        {"reasoning": THOUGHT, "reasoning_details": [TEXT_DETAIL, ENCRYPTED]},
        [
            *(
                {"reasoning": text, "reasoning_details": [{**TEXT_DETAIL, "text": text, "signature": None}]}
                for text in SPLIT
            ),
            {"reasoning_details": [{**TEXT_DETAIL, "text": ""}]},
            {"reasoning_details": [ENCRYPTED]},
        ],
        {"reasoning": THOUGHT, "reasoning_details": [TEXT_DETAIL, ENCRYPTED]},
    ),
    "OpenRouter, encrypted alone": Vendor(
        {"reasoning_details": [ENCRYPTED]},
        [{"reasoning_details": [ENCRYPTED]}],
        {"reasoning_details": [ENCRYPTED]},
        thought="",
    ),
    "MiniMax": Vendor(
        {"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
        [{"reasoning_details": [{"type": "reasoning.text", "text": text}]} for text in SPLIT],
        {"reasoning_details": [{"type": "reasoning.text", "text": THOUGHT}]},
    ),
    "Qwen, MiniMax in tags": Vendor(
        {"content": f"{TAGGED}I add."},
        [{"content": t} for t in ("<th", f"ink>\n{SPLIT[0]}", f"{SPLIT[1]}\n</thi", "nk>\n", "\nI add.")],
        {"content": f"{TAGGED}I add."},
    ),
}  # fmt: skip


def whole_answer(vendor: Vendor) -> Json:
    body = completion("")
    message = {"role": "assistant", "content": None, **vendor.whole, "tool_calls": [CALL]}
    body["choices"][0] |= {"message": message, "finish_reason": "tool_calls"}
    return body


def streamed_answer(vendor: Vendor) -> list[bytes]:
    deltas = [
        {"role": "assistant", "content": ""},
        *vendor.deltas,
        {"tool_calls": [{"index": 0, **CALL, "function": {"name": "add", "arguments": '{"a"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [event({**frame, "choices": [{"index": 0, "delta": d, "finish_reason": None}]}) for d in deltas]
    last = {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    return [*chunks, event({**frame, "choices": [last]}), b"data: [DONE]\n\n"]


@dataclass(frozen=True, slots=True)
class Scene:
    http: httpx.AsyncClient
    upstream: Upstream


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with scripted.serving() as upstream:
        arms = [Arm(name, "openai", name, base_url=upstream.base_url) for name in ("kimi", "gpt-4.1")]
        async with opened(tmp_path, arms) as world:
            clients = ProviderClients({"openai": OpenAICompatibleClient({}, world.clock)})
            world.parts.completion = replace(world.parts.completion, model_client=clients)
            async with (
                serving(world) as port,
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http,
            ):
                yield Scene(http, upstream)
            await clients.close()


class ChatClient:
    """A client of Chat Completions that brings the assistant's message back as it got it."""

    path = "/v1/chat/completions"
    tools: ClassVar = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]

    def body(self, turn: Json | None) -> Json:
        messages: list[Json] = [{"role": "user", "content": "1 + 2?"}]
        if turn is not None:
            result = {"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": "3"}
            messages += [turn, result]
        return {"messages": messages, "tools": self.tools}

    def turn(self, response: httpx.Response) -> Json:
        if not response.headers["content-type"].startswith("text/event-stream"):
            turn: Json = response.json()["choices"][0]["message"]
            return turn
        turn = {"role": "assistant", "content": None}
        for chunk in events_of(response):
            for choice in chunk["choices"] if isinstance(chunk, dict) else []:
                for name, value in choice["delta"].items():
                    _collect(turn, name, value)
        for call in turn["tool_calls"]:
            call.pop("index")
        return turn

    def thought(self, turn: Json) -> str:
        return turn.get("reasoning_content") or ""

    def text(self, turn: Json) -> str:
        return turn["content"] or ""


def _collect(turn: Json, name: str, value: Any) -> None:
    if name in ("content", "reasoning", "reasoning_content") and value:
        turn[name] = (turn.get(name) or "") + value
    elif name == "tool_calls":
        for piece in value:
            if piece.get("id"):
                turn.setdefault(name, []).append(orjson.loads(orjson.dumps(piece)))
            else:
                turn[name][-1]["function"]["arguments"] += piece["function"]["arguments"]
    elif name == "reasoning_details":
        for piece in value:
            known = turn.setdefault(name, [])
            if known and known[-1]["type"] == piece["type"] == "reasoning.text":
                text = known[-1]["text"] + piece["text"]
                known[-1] = {**known[-1], **piece, "text": text}
            else:
                known.append(piece)


class MessagesClient:
    """A client of Anthropic's dialect that enables thinking and brings all blocks back."""

    path = "/v1/messages"
    tools: ClassVar = [{"name": "add", "input_schema": {"type": "object"}}]

    def body(self, turn: Json | None) -> Json:
        messages: list[Json] = [{"role": "user", "content": "1 + 2?"}]
        if turn is not None:
            use = next(block for block in turn["content"] if block["type"] == "tool_use")
            result = {"type": "tool_result", "tool_use_id": use["id"], "content": "3"}
            messages += [turn, {"role": "user", "content": [result]}]
        thinking = {"type": "enabled", "budget_tokens": 2000}
        return {"max_tokens": 9000, "thinking": thinking, "messages": messages, "tools": self.tools}

    def turn(self, response: httpx.Response) -> Json:
        if not response.headers["content-type"].startswith("text/event-stream"):
            return {"role": "assistant", "content": response.json()["content"]}
        blocks: list[Json] = []
        for line in response.text.splitlines():
            data = orjson.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
            if data.get("type") == "content_block_start":
                blocks.append({**data["content_block"], "json": ""})
            if data.get("type") == "content_block_delta":
                delta = data["delta"]
                name = {"input_json_delta": "json", "signature_delta": "signature"}.get(delta["type"])
                name = name or delta["type"].removesuffix("_delta")
                blocks[-1][name] += delta.get("partial_json", delta.get(name))
        for block in blocks:
            arguments = block.pop("json")
            if block["type"] == "tool_use":
                block["input"] = orjson.loads(arguments)
        return {"role": "assistant", "content": blocks}

    def thought(self, turn: Json) -> str:
        return "".join(b["thinking"] for b in turn["content"] if b["type"] == "thinking")

    def text(self, turn: Json) -> str:
        return "".join(b["text"] for b in turn["content"] if b["type"] == "text")


class ResponsesClient:
    """A client of the Responses API that stores nothing and brings all items back."""

    path = "/v1/responses"
    tools: ClassVar = [{"type": "function", "name": "add", "parameters": {"type": "object"}}]

    def body(self, turn: Json | None) -> Json:
        items: list[Json] = [{"role": "user", "content": "1 + 2?"}]
        if turn is not None:
            call = next(item for item in turn["output"] if item["type"] == "function_call")
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "3"}
            items += [*turn["output"], result]
        return {"input": items, "store": False, "tools": self.tools}

    def turn(self, response: httpx.Response) -> Json:
        if not response.headers["content-type"].startswith("text/event-stream"):
            return {"output": response.json()["output"]}
        last = [line for line in response.text.splitlines() if line.startswith("data: {")][-1]
        return {"output": orjson.loads(last.removeprefix("data: "))["response"]["output"]}

    def thought(self, turn: Json) -> str:
        items = [item for item in turn["output"] if item["type"] == "reasoning"]
        return "".join(part["text"] for item in items for part in item["summary"])

    def text(self, turn: Json) -> str:
        items = [item for item in turn["output"] if item["type"] == "message"]
        return "".join(part["text"] for item in items for part in item["content"])


class GeminiClient:
    """A client of Google's Gemini API that asks for thoughts and brings all parts back."""

    path = "/v1beta/models"
    tools: ClassVar = [{"functionDeclarations": [{"name": "add", "parameters": {"type": "OBJECT"}}]}]

    def body(self, turn: Json | None) -> Json:
        contents: list[Json] = [{"role": "user", "parts": [{"text": "1 + 2?"}]}]
        if turn is not None:
            call = next(part["functionCall"] for part in turn["parts"] if "functionCall" in part)
            result = {"id": call["id"], "name": "add", "response": {"output": "3"}}
            contents += [turn, {"role": "user", "parts": [{"functionResponse": result}]}]
        thinking = {"thinkingConfig": {"includeThoughts": True}}
        return {"contents": contents, "tools": self.tools, "generationConfig": thinking}

    def turn(self, response: httpx.Response) -> Json:
        if response.headers["content-type"].startswith("text/event-stream"):
            bodies = [
                orjson.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")
            ]
        else:
            bodies = [response.json()]
        parts = [part for body in bodies for part in body["candidates"][0]["content"]["parts"]]
        return {"role": "model", "parts": parts}

    def thought(self, turn: Json) -> str:
        return "".join(part["text"] for part in turn["parts"] if part.get("thought"))

    def text(self, turn: Json) -> str:
        return "".join(part.get("text", "") for part in turn["parts"] if not part.get("thought"))


CLIENTS = {
    **{"chat": ChatClient(), "messages": MessagesClient()},
    **{"responses": ResponsesClient(), "gemini": GeminiClient()},
}
Client = ChatClient | MessagesClient | ResponsesClient | GeminiClient


async def ask(scene: Scene, client: Client, turn: Json | None = None, **fields: Any) -> httpx.Response:
    body = {"model": "kimi", **client.body(turn), **fields}
    path = client.path
    if isinstance(client, GeminiClient):
        method = "streamGenerateContent?alt=sse" if body.pop("stream", False) else "generateContent"
        path = f"{path}/{body.pop('model')}:{method}"
    response = await scene.http.post(path, json=body, headers={"X-Session-Id": "s-1"})
    assert response.status_code == 200, response.text
    return response


async def first_turn(scene: Scene, client: Client, vendor: Vendor, *, stream: bool) -> Json:
    scene.upstream.script = streams(*streamed_answer(vendor)) if stream else answers(whole_answer(vendor))
    turn = client.turn(await ask(scene, client, stream=stream))
    scene.upstream.script = answers(completion("3"))
    return turn


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
async def test_reasoning_and_ids_come_back_to_their_vendor(
    scene: Scene, vendor: Vendor, client: Client, stream: bool
) -> None:
    turn = await first_turn(scene, client, vendor, stream=stream)

    assert client.thought(turn).strip() == vendor.thought
    assert "<think>" not in client.text(turn)
    await ask(scene, client, turn)

    _, assistant, result = scene.upstream.bodies[-1]["messages"]
    assert {name: assistant.get(name) for name in vendor.back} == vendor.back
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == ID


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
@pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS)
async def test_reasoning_goes_to_no_other_vendor(
    scene: Scene, vendor: Vendor, client: Client, stream: bool
) -> None:
    turn = await first_turn(scene, client, vendor, stream=stream)

    await ask(scene, client, turn, model="gpt-4.1")

    _, assistant, result = scene.upstream.bodies[-1]["messages"]
    assert assistant.keys() <= {"role", "content", "tool_calls", "refusal"}
    assert "think" not in str(assistant["content"])
    assert assistant["tool_calls"][0]["id"] == result["tool_call_id"]


async def test_thinking_that_the_client_does_not_ask_for_is_left_out(scene: Scene) -> None:
    client, vendor = MessagesClient(), VENDORS["OpenRouter"]
    scene.upstream.script = answers(whole_answer(vendor))

    turn = client.turn(await ask(scene, client, thinking={"type": "disabled"}))

    assert [block["type"] for block in turn["content"]] == ["tool_use"]


async def test_a_server_that_knows_one_name_of_reasoning_gets_that_one(scene: Scene) -> None:
    client = MessagesClient()
    turn = await first_turn(scene, client, VENDORS["vLLM, Groq"], stream=False)
    said = "'messages.1' : property 'reasoning_content' is unsupported"
    refusal, accepted = refuses(400, said), scene.upstream.script

    async def script(request: Any) -> Any:
        has_name = any("reasoning_content" in m for m in scene.upstream.bodies[-1]["messages"])
        return await (refusal if has_name else accepted)(request)

    scene.upstream.script = script
    await ask(scene, client, turn)

    assistant = scene.upstream.bodies[-1]["messages"][1]
    assert (assistant["reasoning"], "reasoning_content" in assistant) == (THOUGHT, False)
