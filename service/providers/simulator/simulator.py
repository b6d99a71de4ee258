"""A provider without a model: its answer says that it is simulated, and how good it is.

With it the router can be seen to learn without any key, and tests run without network.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from decimal import Decimal
from statistics import NormalDist
from typing import Any

import orjson

from service.domain.answer import Answer, Burst, Chunk, Usage
from service.domain.arm import Arm, Price
from service.domain.basics import Json
from service.domain.usage import estimated_usage, reported
from service.errors import ProviderBroken, ProviderRejected, ProviderTimeout
from service.providers.simulator.skills import MODELS, topic_of, true_quality, uniform

__all__ = ["SIMULATED_ARMS", "SimulatedClient", "prompt_of", "topic_of", "true_quality"]

_MAX_DEPTH = 12
_MAX_VALUES = 1_000  # references of a schema to one another could ask for 2^12 and many more
_MAX_PROMPT_CHARS = 20_000  # are enough to tell a topic
_SPREAD = 0.3  # standard deviation of the logarithm of latencies
_FILLER = (
    "A real model would now weigh the question from several sides.",
    "It would begin with what is known, and say what is not.",
    "Then it would give one clear answer.",
    "An example would follow, chosen to fit the case at hand.",
    "It might add where the answer stops being true.",
    "Somewhere it would mention an exception.",
    "The reasoning would stay short enough to check.",
    "At the end it would offer to go on.",
)


def _arm(arm_id: str, input_usd: str, output_usd: str, context_window: int, *capabilities: str) -> Arm:
    price = Price(Decimal(input_usd), Decimal(output_usd))
    return Arm(
        arm_id=arm_id,
        provider="simulator",
        model=arm_id,
        price=price,
        context_window=context_window,
        capabilities=frozenset(capabilities),
    )


SIMULATED_ARMS = (
    _arm("sim-small", "0.05", "0.20", 32_000, "tools", "json_schema"),
    _arm("sim-code", "0.30", "1.20", 128_000, "tools", "json_schema"),
    _arm("sim-math", "0.40", "1.60", 128_000, "tools", "json_schema"),
    _arm("sim-writer", "0.50", "2.00", 128_000, "tools", "json_schema"),
    _arm("sim-large", "3.00", "15.00", 200_000, "tools", "json_schema", "vision"),
)


@dataclass(frozen=True, slots=True)
class _Script:
    """An answer before it is sent."""

    answer_id: str
    words: tuple[str, ...]  # one per token
    finish_reason: str
    usage: Usage
    ttft_s: float
    token_s: float

    @property
    def duration_s(self) -> float:
        return self.ttft_s + self.token_s * len(self.words)


class SimulatedClient:
    """Answers for the models of `SIMULATED_ARMS`; the same request always gets the same answer.

    Args:
        seed: decides latencies and lengths, not qualities.
        time_scale: 1.0 waits like a model, 0.0 does not wait.
    """

    def __init__(self, *, seed: int = 0, time_scale: float = 1.0) -> None:
        self._seed = seed
        self._time_scale = time_scale

    async def complete(self, arm: Arm, body: Json, *, timeout_s: float) -> Answer:
        script = self._script(arm, body)
        await self._wait(script.duration_s, arm, _patience_s(arm, timeout_s, stream=False))
        message = {"role": "assistant", "content": "".join(script.words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": script.finish_reason}
        answer = _frame(script, arm, "chat.completion", [choice]) | {"usage": reported(script.usage)}
        return Answer(answer, script.usage)

    async def stream(self, arm: Arm, body: Json, *, timeout_s: float) -> AsyncGenerator[Burst, None]:
        script, timeout_s = self._script(arm, body), _patience_s(arm, timeout_s, stream=True)
        await self._wait(script.ttft_s, arm, timeout_s)
        yield [_chunk(script, arm, {"role": "assistant", "content": ""})]
        for word in script.words:
            await self._wait(script.token_s, arm, timeout_s)
            yield [_chunk(script, arm, {"content": word})]
        last = _chunk(script, arm, {}, finish_reason=script.finish_reason)
        closing = _frame(script, arm, "chat.completion.chunk", [])
        yield [last, Chunk(closing | {"usage": reported(script.usage)}, script.usage)]

    async def close(self) -> None:
        """Do nothing: no connection is open."""

    async def _wait(self, seconds: float, arm: Arm, timeout_s: float) -> None:
        wait_s = seconds * self._time_scale
        await asyncio.sleep(min(wait_s, timeout_s))
        if wait_s > timeout_s:
            raise ProviderTimeout(f"{arm.model} gave no answer within {timeout_s:g} s", has_begun=True)

    def _script(self, arm: Arm, body: Json) -> _Script:
        if arm.model not in MODELS:
            known = ", ".join(MODELS)
            raise ProviderBroken(f"no simulated model is called {arm.model}, only {known}", status=404)
        if body.get("n", 1) not in (1, None):
            message, code = "a simulated model gives one choice: n must be 1", "unsupported_parameter"
            raise ProviderRejected(message, status=400, param="n", code=code, is_local=True)
        prompt = prompt_of(body)
        text, was_stopped = _until_stop(self._text(arm.model, prompt, body), body.get("stop"))
        words = [word for word in re.split(r"(?<=\S)(?=\s)", text) if word.strip()]
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
        is_cut = limit < len(words) and not was_stopped
        skills = MODELS[arm.model]
        return _Script(
            answer_id=f"chatcmpl-sim-{int(uniform(self._seed, arm.model, prompt) * 2**48):012x}",
            words=tuple(words[:limit]),
            finish_reason="length" if is_cut else "stop",
            usage=_usage(body, len(words[:limit])),
            ttft_s=skills.ttft_s * self._pace("ttft", arm.model, prompt),
            token_s=skills.token_s * self._pace("token", arm.model, prompt),
        )

    def _text(self, model: str, prompt: str, body: Json) -> str:
        quality = true_quality(model, prompt)
        topic = topic_of(prompt)
        summary = (
            f"[simulated] No model was called; {model} stands in for one. It takes this for a question of "
            f"{topic} and considers its answer {_word(quality)}: quality {quality:.2f}."
        )
        form = body.get("response_format") or {}
        if form.get("type") == "json_schema":
            schema = (form.get("json_schema") or {}).get("schema") or {}
            return orjson.dumps(
                _instance(schema, summary, schema.get("$defs", {}), iter(range(_MAX_VALUES)))
            ).decode()
        if form.get("type") == "json_object":
            fields = {"simulated": True, "model": model, "topic": topic, "quality": round(quality, 2)}
            return orjson.dumps(fields | {"answer": summary}).decode()
        n_sentences = 1 + int(6 * uniform("length", self._seed, model, prompt))
        first = int(len(_FILLER) * uniform("filler", self._seed, model, prompt))
        filler = (_FILLER[(first + i) % len(_FILLER)] for i in range(n_sentences))
        return " ".join((summary, *filler))

    def _pace(self, what: str, model: str, prompt: str) -> float:
        """A log-normal factor with median 1."""
        u = min(max(uniform(what, self._seed, model, prompt), 1e-6), 1 - 1e-6)
        return math.exp(_SPREAD * NormalDist().inv_cdf(u))


def prompt_of(body: Json) -> str:
    """The text of the last user message, up to _MAX_PROMPT_CHARS."""
    for message in reversed(body["messages"]):
        if message.get("role") == "user":
            return _text_of(message.get("content"))[:_MAX_PROMPT_CHARS]
    return ""


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if part.get("type") == "text")
    return content if isinstance(content, str) else ""


def _until_stop(text: str, stop: str | list[str] | None) -> tuple[str, bool]:
    """The text before the first stop sequence, and whether there was one."""
    sequences = [stop] if isinstance(stop, str) else stop or []
    ends = [end for sequence in sequences if sequence and (end := text.find(sequence)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _usage(body: Json, n_tokens: int) -> Usage:
    prompt_tokens = estimated_usage(body, 0).prompt_tokens
    return Usage(prompt_tokens=prompt_tokens, completion_tokens=n_tokens)


def _word(quality: float) -> str:
    if quality >= 0.75:
        return "good"
    return "fair" if quality >= 0.5 else "poor"


def _frame(script: _Script, arm: Arm, kind: str, choices: list[Json]) -> Json:
    return {
        "id": script.answer_id,
        "object": kind,
        "created": int(time.time()),
        "model": arm.model,
        "system_fingerprint": "simulated",
        "choices": choices,
    }


def _chunk(script: _Script, arm: Arm, delta: Json, *, finish_reason: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return Chunk(_frame(script, arm, "chat.completion.chunk", [choice]))


def _instance(schema: Json, text: str, defs: Json, left: Iterator[int], depth: int = 0) -> Any:
    """A value that satisfies a common JSON schema; `depth` and the values `left` stop recursive schemas."""
    if depth > _MAX_DEPTH or next(left, None) is None:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]

    def instance(part: Json) -> Any:
        return _instance(part, text, defs, left, depth + 1)

    if "$ref" in schema:
        return instance(defs.get(schema["$ref"].rpartition("/")[2], {}))
    for combination in ("anyOf", "oneOf", "allOf"):
        if schema.get(combination):
            return instance(schema[combination][0])
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        return {name: instance(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance(schema.get("items", {"type": "string"}))]
    return {"string": text, "integer": 1, "number": 0.5, "boolean": True}.get(kind)


def _patience_s(arm: Arm, timeout_s: float, *, stream: bool) -> float:
    silence_s = arm.patience_s(stream=stream)
    return timeout_s if silence_s is None else min(silence_s, timeout_s)
