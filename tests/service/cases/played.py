"""Plays a case: the service over HTTP with the real adapters, and a provider that follows the case."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from service.arms.configured import arm_of
from service.domain.arm import Arm
from service.domain.basics import Json
from service.providers.clients import build_provider_clients
from service.providers.simulator.simulator import SimulatedClient
from service.settings.models import ModelSettings
from service.settings.settings import Settings
from tests.service.cases.case import Case
from tests.service.cases.provider import Provider, serving
from tests.service.served import serving as serving_world
from tests.service.world import World, opened

REQUEST_ID = "r-1"
KEYS = {"FAKE_KEY": "a secret"}


@dataclass(frozen=True, slots=True)
class Stage:
    """The service and the provider of one case."""

    case: Case
    world: World
    provider: Provider
    http: httpx.AsyncClient

    @property
    def base_url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    async def ask(
        self, changes: Mapping[str, object] | None = None, request_id: str = REQUEST_ID
    ) -> Answered:
        """Send the request of the case, with changed fields of its body (None: without the field)."""
        return await self.send(self.changed(changes), request_id)

    async def send(self, raw: bytes, request_id: str = REQUEST_ID) -> Answered:
        headers = {"Content-Type": "application/json", "X-Request-ID": request_id}
        path = self.case.request["path"]
        response = await self.http.post(
            path, content=raw, headers={**headers, **self.case.request["headers"]}
        )
        return Answered(response)

    def changed(self, changes: Mapping[str, object] | None = None) -> bytes:
        raw = self.case.raw_request()
        if changes is None:
            return raw
        body = orjson.loads(raw) | changes
        return orjson.dumps({name: value for name, value in body.items() if value is not None})

    async def record(self, request_id: str = REQUEST_ID) -> Json:
        return await self.world.record(request_id)

    async def usage(self) -> Json:
        """The tokens in the record."""
        usage: Json = (await self.record())["outcome"]["usage"]
        return usage

    async def cost_usd(self) -> float:
        return float((await self.record())["outcome"]["cost_usd"])

    def asked(self, name: str = "") -> list[Json]:
        """The bodies that an arm's provider received."""
        return self.provider.bodies.get(_model(self.case, name), [])

    def is_blamed(self, name: str = "") -> bool:
        """Whether the circuit breaker counts a failure of the arm, or keeps it from being called."""
        catalog = self.world.parts.catalog
        state = catalog.breaker.state_of(catalog.find(self.case.arm_id(name)))
        return state.condition != "closed" or state.n_failures > 0


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to the client, in either dialect, whole or streamed."""

    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def body(self) -> Json:
        body: Json = self.response.json()
        return body

    @property
    def error(self) -> Json:
        """The error: the whole answer, or the last event."""
        body = self.events[-1] if self.is_stream else self.body
        error: Json = body["error"]
        return error

    @property
    def is_stream(self) -> bool:
        return self.response.headers["content-type"].startswith("text/event-stream")

    @property
    def events(self) -> list[Json]:
        lines = [line for line in self.response.text.splitlines() if line.startswith("data: ")]
        return [orjson.loads(line[6:]) for line in lines if line != "data: [DONE]"]

    @property
    def is_done(self) -> bool:
        """Whether a stream in OpenAI's dialect ends as a whole one does."""
        return self.response.text.endswith("data: [DONE]\n\n") and not any("error" in e for e in self.events)

    # --- OpenAI's dialect

    @property
    def message(self) -> Json:
        """The message of the first choice; of a stream, its deltas without calls put together."""
        if not self.is_stream:
            message: Json = self.body["choices"][0]["message"]
            return message
        together: Json = {}
        for delta in self.deltas:
            for name, value in delta.items():
                if isinstance(value, str) and name != "role":
                    together[name] = together.get(name, "") + value
        return together

    @property
    def deltas(self) -> list[Json]:
        return [choice["delta"] for event in self.events for choice in event["choices"]]

    @property
    def text(self) -> str:
        return str(self.message.get("content") or "")

    @property
    def calls(self) -> list[Json]:
        """The tool calls as a client of OpenAI puts them together: by index, the id and name of the first."""
        if not self.is_stream:
            return list(self.message.get("tool_calls") or [])
        calls: dict[int, Json] = {}
        for part in [part for delta in self.deltas for part in delta.get("tool_calls") or []]:
            new = {"id": part.get("id"), "function": {"name": part["function"].get("name"), "arguments": ""}}
            call = calls.setdefault(part["index"], new)
            call["function"]["arguments"] += part["function"].get("arguments") or ""
        return [calls[index] for index in sorted(calls)]

    @property
    def finish_reason(self) -> str | None:
        choices = [c for e in (self.events if self.is_stream else [self.body]) for c in e["choices"]]
        reasons = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        assert len(reasons) <= 1
        return reasons[0] if reasons else None

    # --- Anthropic's dialect

    @property
    def blocks(self) -> list[Json]:
        """The content blocks; of a stream, put together from its events."""
        if not self.is_stream:
            return list(self.body["content"])
        blocks: list[Json] = []
        inputs: dict[int, str] = {}
        for event in self.events:
            if event["type"] == "content_block_start":
                blocks.append(dict(event["content_block"]))
                assert event["index"] == len(blocks) - 1
            elif event["type"] == "content_block_delta":
                _add(blocks[event["index"]], event["delta"], inputs, event["index"])
        for index, text in inputs.items():
            blocks[index]["input"] = orjson.loads(text)
        return blocks

    @property
    def tool_uses(self) -> list[Json]:
        return [block for block in self.blocks if block["type"] == "tool_use"]

    @property
    def spoken(self) -> str:
        return "".join(block["text"] for block in self.blocks if block["type"] == "text")

    @property
    def stop(self) -> tuple[str | None, str | None]:
        """`stop_reason` and `stop_sequence`."""
        if not self.is_stream:
            return self.body["stop_reason"], self.body["stop_sequence"]
        [delta] = [event["delta"] for event in self.events if event["type"] == "message_delta"]
        return delta["stop_reason"], delta["stop_sequence"]


def _add(block: Json, delta: Json, inputs: dict[int, str], index: int) -> None:
    match delta["type"]:
        case "text_delta":
            block["text"] += delta["text"]
        case "thinking_delta":
            block["thinking"] += delta["thinking"]
        case "signature_delta":
            block["signature"] = delta["signature"]
        case "input_json_delta":
            inputs[index] = inputs.get(index, "") + delta["partial_json"]


@asynccontextmanager
async def staged(case: Case, folder: Path, **knobs: Any) -> AsyncIterator[Stage]:
    """The service with the arms of the case; the first is preferred."""
    deadline_s = Settings().request_deadline_s * case.time_scale
    # Confidence is never reached, so the default model, which is the first, is always called first.
    preferring: dict[str, Any] = {
        "min_confidence_score": 1.0,
        "propensity_floor": 0.0,
        "request_deadline_s": deadline_s,
    }
    async with serving() as provider:
        arms = [_arm(case, name, provider) for name in case.arms or ("",)]
        async with opened(folder, arms, **preferring, **knobs) as world:
            model_client = build_provider_clients(KEYS, world.clock, simulator=SimulatedClient())
            world.parts.completion = replace(world.parts.completion, model_client=model_client)
            try:
                async with (
                    serving_world(world) as port,
                    httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http,
                ):
                    yield Stage(case, world, provider, http)
            finally:
                await model_client.close()


def _model(case: Case, name: str) -> str:
    return str(case.arm.get("model_name", case.arm_id(name)))


def _arm(case: Case, name: str, provider: Provider) -> Arm:
    model = _model(case, name)
    provider.play(model, case, name)
    settings = {
        "id": case.arm_id(name),
        "provider": case.provider,
        "model": model,
        "base_url": provider.base_url + ("/v1" if case.provider == "openai" else ""),
        "price": {"input": 2, "output": 8} if name == "b" else {"input": 1, "output": 4},
    }
    more = {key: value for key, value in case.arm.items() if key != "model_name"}
    arm = arm_of(ModelSettings.model_validate(settings | more))
    return replace(arm, timeout_s=None if arm.timeout_s is None else arm.timeout_s * case.time_scale)
