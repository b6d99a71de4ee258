"""One call of one arm, and what has come of it so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4

from service.domain.answer import Answer, Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.feedback import Signal
from service.domain.query import Query
from service.domain.usage import estimated_usage
from service.errors import ProviderBroken, ProviderRejected

MAX_TEXT_BYTES = 32 * 2**20  # of one answer; no model writes so much, but a broken one may never end
THINKING_FIELDS = ("reasoning_content", "reasoning")  # by who shows them
BESIDE_TEXT = ("tool_calls", "function_call", "audio", "images", "blocks")  # parts of an answer


@dataclass(slots=True)
class ToolCall:
    """A tool that the model asks for, as far as it has said so."""

    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class ModelCall:
    """One call of one arm under way, and what has come of it."""

    query: Query
    arm: Arm
    propensity: float
    started_at: datetime
    timeout_s: float = math.inf  # for the answer; of a stream, for its first content
    is_trial: bool = False  # the breaker waits for what comes of it
    is_escalation: bool = False
    is_whole: bool = False  # nothing more will come
    fault: Signal | None = None  # what is wrong with it, as far as that is looked for
    breaker_informed: bool = False  # the breaker knows what came of it
    attempt_id: UUID = field(default_factory=uuid4)
    answered_at: datetime | None = None
    ttft_s: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    written: bytearray = field(default_factory=bytearray)  # the answer's text so far, UTF-8
    n_thinking_bytes: int = 0  # of what it wrote for itself, where that is shown
    is_refusal: bool = False  # the model says so itself
    has_more: bool = False  # than text: tool calls, sound, images
    tool_calls: dict[int, ToolCall] = field(default_factory=dict)  # of the first choice
    choices: set[int] = field(default_factory=set)  # that there are, or were begun

    def received(self, answer: Answer, now: datetime) -> None:
        """Take in a whole answer. Raises as `received_chunk` does."""
        self.ended(now)
        self.usage = answer.usage
        for position, choice in enumerate(answer.body.get("choices") or []):
            self.choices.add(position)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self._take(_object(choice.get("message")), choice)

    def ended(self, now: datetime) -> None:
        """The answer is whole."""
        self.answered_at = now
        self.is_whole = True

    def received_chunk(self, chunk: Chunk, now: datetime) -> bool:
        """Take in a piece; says whether there is content in it.

        Raises:
            ProviderBroken: the answer has become longer than any answer is.
        """
        self.usage = chunk.usage or self.usage
        has_content = False
        for choice in chunk.body.get("choices") or []:
            delta = _object(choice.get("delta"))
            if isinstance(index := choice.get("index", 0), int):
                self.choices.add(index)
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self._take(delta, choice)
            has_content |= _has_content(delta)
        if has_content and self.ttft_s is None:
            self.ttft_s = max(0.0, (now - self.started_at).total_seconds())
        return has_content

    def require_every_choice(self) -> None:
        """Raises ProviderRejected: the model ignored `n`, and gave fewer choices than were asked for."""
        n_asked = self.query.body.get("n") or 1
        if 0 < len(self.choices) < n_asked:
            message = f"n: {self.arm.model} gave {len(self.choices)} of {n_asked} choices"
            raise ProviderRejected(message, status=400, param="n", code="unsupported_parameter")

    @property
    def is_empty(self) -> bool:
        """Whether nothing was answered, though neither a limit nor a rule kept it from that."""
        is_at_its_end = self.finish_reason in {None, "stop"}
        return is_at_its_end and not (self.written.strip() or self.has_more or self.is_refusal)

    @property
    def text(self) -> str:
        return self.written.decode("utf-8", "surrogatepass")

    def counted(self) -> Usage:
        """Tokens as the provider counted them; what it had not counted yet is estimated from lengths."""
        estimated = estimated_usage(self.query.body, len(self.written) + self.n_thinking_bytes)
        if self.usage is None:
            return estimated
        if self.is_whole or self.finish_reason is not None:
            return self.usage
        n_completion = max(self.usage.completion_tokens, estimated.completion_tokens)
        return replace(self.usage, completion_tokens=n_completion, estimated=True)

    def _take(self, message: Json, choice: Json) -> None:
        self.is_refusal |= bool(message.get("refusal"))
        self.has_more |= any(message.get(name) for name in BESIDE_TEXT) or isinstance(
            message.get("content"), list
        )
        if choice.get("index", 0) == 0:
            self._take_tool_calls(message.get("tool_calls"))
        self.n_thinking_bytes += sum(
            len(_text_of(message.get(name)).encode(errors="replace")) for name in THINKING_FIELDS
        )
        self._keep(texts_of(message))

    def _take_tool_calls(self, calls: object) -> None:
        """Whole calls, or pieces that name the call they belong to."""
        for position, call in enumerate(calls if isinstance(calls, list) else []):
            function = _object(_object(call).get("function"))
            index = _object(call).get("index", position)
            known = self.tool_calls.setdefault(index if isinstance(index, int) else position, ToolCall())
            known.name = known.name or _text_of(function.get("name"))  # some repeat it with every piece
            known.arguments += _text_of(function.get("arguments"))

    def _keep(self, texts: list[str]) -> None:
        for text in texts:
            self.written += text.encode("utf-8", "surrogatepass")
        if len(self.written) > MAX_TEXT_BYTES:
            raise ProviderBroken(f"{self.arm.model} answered more than {MAX_TEXT_BYTES} bytes")


def texts_of(message: Json) -> list[str]:
    """The strings a caller sees: content, refusal, arguments of tool calls."""
    found = [message.get("content"), message.get("refusal")]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        found.append(_object(_object(call).get("function")).get("arguments"))
    return [text for text in found if isinstance(text, str) and text]


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(value: object) -> Json:
    """The value where it is an object; models' servers put all sorts of things there."""
    return value if isinstance(value, dict) else {}


def _has_content(delta: Json) -> bool:
    """Whether a piece holds anything beyond the role."""
    return any(value for name, value in delta.items() if name != "role")
