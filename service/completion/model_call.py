"""One call of one arm, and its result so far."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID, uuid4

from service.conversations.answer_names import text_of
from service.domain.answer import Answer, Burst, Chunk, Usage
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.reasoning import reasoning_in
from service.domain.usage import estimated_usage
from service.domain.weakness import Weakness
from service.errors import ProviderBroken, ProviderRejected

MAX_TEXT_BYTES = 32 * 2**20  # of one answer; bounds the stream of a broken model that never ends
MAX_ID_CHARS = 128
# Fields of a message: all of one that is only a text, and those with content beside the text.
_TEXT = frozenset({"role", "content"})
BESIDE_TEXT = frozenset({"tool_calls", "function_call", "audio", "images", "parts", "blocks"})


@dataclass(slots=True)
class ToolCall:
    """A tool call of the model, as far as it has arrived."""

    name: str = ""
    arguments: str = ""
    id: str = ""


@dataclass(slots=True)
class ChoiceSoFar:
    """What the client has received of one choice."""

    texts: list[str] = field(default_factory=list)
    tool_calls: dict[int, ToolCall] = field(default_factory=dict)

    @property
    def message(self) -> Json:
        """The message that the client brings back."""
        calls = [
            {"id": call.id, "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.tool_calls.values()
        ]
        return {"role": "assistant", "content": "".join(self.texts), "tool_calls": calls}


@dataclass(slots=True)
class ModelCall:
    """One call of one arm, and its result so far."""

    query: Query
    arm: Arm  # at the deployment that is called, if it has several
    propensity: float
    started_at: datetime
    timeout_s: float = math.inf  # until the whole answer; of a stream, until its first content
    gap_s: float = math.inf  # of a stream: longest time between two pieces of content
    default_max_tokens: int | None = None  # what the router asks for if the request gives no limit
    is_trial: bool = False  # the trial call of a half-open breaker
    is_escalation: bool = False
    is_whole: bool = False  # the answer is complete
    fault: Weakness | None = None  # found by `Escalation.fault`
    is_under_way: bool = True  # it counts as load of its deployment
    breaker_informed: bool = False  # the result was reported to the breaker
    attempt_id: UUID = field(default_factory=uuid4)
    answered_at: datetime | None = None
    ttft_s: float | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    native_id: str | None = None  # of a message in the client's own dialect, whose bytes are passed on
    notes: tuple[str, ...] = ()  # what was changed in the request, and guessed to read the answer
    written: bytearray = field(default_factory=bytearray)  # the answer's text so far, UTF-8
    n_thinking_bytes: int = 0  # where the provider shows its thinking
    token_probability_sum: float = 0.0  # where the provider gives log probabilities
    n_token_probabilities: int = 0
    is_refusal: bool = False  # the model marked its answer as a refusal
    has_other_content: bool = False  # beside text: tool calls, audio, images
    choices: dict[int, ChoiceSoFar] = field(default_factory=dict)  # that have begun, by index

    def received(self, answer: Answer, now: datetime) -> None:
        """Record a whole answer. Raises as `received_burst` does."""
        self.ended(now)
        self.usage, self.notes = answer.usage, answer.notes
        if answer.native is not None:
            self._keep_id(answer.native)
        for position, choice in enumerate(answer.body.get("choices") or []):
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            self._record(_object(choice.get("message")), position)
            self._record_probabilities(choice)
        if len(self.written) > MAX_TEXT_BYTES:
            raise ProviderBroken(f"{self.arm.model} answered more than {MAX_TEXT_BYTES} bytes")

    def ended(self, now: datetime) -> None:
        """Record that the answer is complete."""
        self.answered_at = now
        self.is_whole = True

    def received_burst(self, burst: Burst, now: datetime) -> bool:
        """Record chunks; returns whether they have content.

        Raises:
            ProviderBroken: the answer is longer than MAX_TEXT_BYTES.
        """
        has_content = False
        for chunk in burst:
            if chunk.text is not None:
                self._record_text(0, chunk.text)
                has_content |= chunk.text != ""
            else:
                has_content |= self._received(chunk)
        if len(self.written) > MAX_TEXT_BYTES:
            raise ProviderBroken(f"{self.arm.model} answered more than {MAX_TEXT_BYTES} bytes")
        if has_content and self.ttft_s is None:
            self.ttft_s = max(0.0, (now - self.started_at).total_seconds())
        return has_content

    def _received(self, chunk: Chunk) -> bool:
        if chunk.usage is not None:
            self.usage = chunk.usage
        if chunk.notes:
            self.notes = (*self.notes, *chunk.notes)
        if chunk.native is not None and self.native_id is None:
            self._keep_id(chunk.body)
        has_content = False
        for choice in chunk.body.get("choices") or ():
            delta, index = _object(choice.get("delta")), choice.get("index", 0)
            if choice.get("finish_reason"):
                self.finish_reason = choice["finish_reason"]
            self._record(delta, index if isinstance(index, int) else 0)
            if choice.get("logprobs"):
                self._record_probabilities(choice)
            has_content |= _has_content(delta)
        return has_content

    def require_every_choice(self) -> None:
        """Raises ProviderRejected: the model ignored `n` and gave fewer choices than requested."""
        n_wanted = self.query.body.get("n") or 1
        if 0 < len(self.choices) < n_wanted:
            message = f"n: {self.arm.model} gave {len(self.choices)} of {n_wanted} choices"
            raise ProviderRejected(message, status=400, param="n", code="unsupported_parameter")

    @property
    def is_empty(self) -> bool:
        """Whether the model ended by itself without any text, other content or refusal."""
        ended_by_itself = self.finish_reason in {None, "stop"}
        return ended_by_itself and not (self.written.strip() or self.has_other_content or self.is_refusal)

    @property
    def mean_token_probability(self) -> float | None:
        """The mean probability of the answer's tokens; None: the provider does not give it."""
        n = self.n_token_probabilities
        return None if n == 0 else self.token_probability_sum / n

    @property
    def text(self) -> str:
        return self.written.decode("utf-8", "surrogatepass")

    def counted(self) -> Usage:
        """The provider's token counts; tokens that it has not counted yet are estimated from lengths."""
        if self.usage is not None and (self.is_whole or self.finish_reason is not None):
            return self.usage
        estimated = estimated_usage(self.query.body, len(self.written) + self.n_thinking_bytes)
        if self.usage is None:
            return estimated
        n_completion = max(self.usage.completion_tokens, estimated.completion_tokens)
        return replace(self.usage, completion_tokens=n_completion, estimated=True)

    @property
    def messages(self) -> list[Json]:
        """The message of each choice, as far as it has arrived."""
        return [choice.message for choice in self.choices.values()]

    @property
    def tool_calls(self) -> dict[int, ToolCall]:
        """The tool calls of the first choice."""
        return self.choices[0].tool_calls if 0 in self.choices else {}

    def _keep_id(self, answer: Json) -> None:
        given = answer.get("id")
        self.native_id = given if isinstance(given, str) and 0 < len(given) <= MAX_ID_CHARS else None

    def _begun(self, index: int) -> ChoiceSoFar:
        choice = self.choices[index] = ChoiceSoFar()
        return choice

    def _record_text(self, index: int, text: str) -> None:
        (self.choices.get(index) or self._begun(index)).texts.append(text)
        self.written += text.encode("utf-8", "surrogatepass")

    def _record(self, message: Json, index: int) -> None:
        content = message.get("content")
        if type(content) is str and message.keys() <= _TEXT:
            self._record_text(index, content)
            return
        choice = self.choices.get(index) or self._begun(index)
        self.is_refusal |= bool(message.get("refusal"))
        self.has_other_content |= isinstance(content, list)
        self.has_other_content |= any(message.get(name) for name in BESIDE_TEXT & message.keys())
        _record_tool_calls(choice, message.get("tool_calls"))
        choice.texts += [text_of(message), _text_of(message.get("refusal"))]
        self.n_thinking_bytes += len(reasoning_in(message).encode(errors="replace"))
        for text in texts_of(message):
            self.written += text.encode("utf-8", "surrogatepass")

    def _record_probabilities(self, choice: Json) -> None:
        content = _object(choice.get("logprobs")).get("content")
        for token in content if isinstance(content, list) else []:
            if isinstance(logprob := _object(token).get("logprob"), int | float):
                self.token_probability_sum += math.exp(min(0.0, logprob))
                self.n_token_probabilities += 1


def _record_tool_calls(choice: ChoiceSoFar, calls: object) -> None:
    """Record whole tool calls, or parts of them that name their call by index."""
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        function = _object(_object(call).get("function"))
        index = _object(call).get("index", position)
        tool_call = choice.tool_calls.setdefault(index if isinstance(index, int) else position, ToolCall())
        tool_call.name = tool_call.name or _text_of(function.get("name"))  # some repeat it in every chunk
        tool_call.id = tool_call.id or _text_of(_object(call).get("id"))
        tool_call.arguments += _text_of(function.get("arguments"))


def texts_of(message: Json) -> list[str]:
    """The strings that the client sees: content, refusal, arguments of tool calls."""
    texts = [message.get("content"), message.get("refusal")]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        texts.append(_object(_object(call).get("function")).get("arguments"))
    return [text for text in texts if isinstance(text, str) and text]


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _object(value: object) -> Json:
    """The value if it is an object, else an empty one: some servers send other types here."""
    return value if isinstance(value, dict) else {}


def _has_content(delta: Json) -> bool:
    """Whether a chunk has anything but the role."""
    return any(value for name, value in delta.items() if name != "role")
