"""What a model answered, and what its calls led to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from service.domain.basics import AttemptStatus, DecisionKind, Json
from service.domain.conversation import ConversationState


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, counted as OpenAI does: what was read from the provider's cache, or written into
    it, is part of `prompt_tokens`.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False  # True: the provider reported none, lengths / 4 stand in
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer of a model: an OpenAI `chat.completion` object as the upstream sent it.

    `native` is the message that an arm of the caller's own dialect sent; `body` then tells what is in it.
    """

    body: Json
    usage: Usage
    native: Json | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a streamed answer: an OpenAI `chat.completion.chunk` object.

    `usage` is set on the pieces that report it, the last of a stream always among them. `native` is the
    event that an arm of the caller's own dialect sent; `body` then tells what is in it.
    """

    body: Json
    usage: Usage | None = None
    native: bytes | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of one arm's provider for a decision."""

    attempt_id: UUID
    decision_id: UUID
    position: int  # 0, 1, ... over all calls for this decision
    arm_id: str
    propensity: float  # with which this arm was drawn among those that remained
    status: AttemptStatus
    started_at: datetime
    latency_s: float
    ttft_s: float | None = None
    usage: Usage = Usage()
    cost_usd: Decimal = Decimal(0)
    finish_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    upstream_status: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the decision led to; the latest one stands when a request was retried."""

    decision_id: UUID
    tenant: str
    arm_id: str  # the arm that answered, or was tried last
    kind: DecisionKind  # `fallback` when another arm than the decided one answered
    status: AttemptStatus
    latency_s: float  # of the answering call
    ttft_s: float | None
    overhead_s: float  # the router's own time: all but the calls
    usage: Usage
    cost_usd: Decimal  # of all attempts of this run
    call_cost_usd: Decimal  # of the answering call
    finish_reason: str | None
    answer_chars: int
    answer_digest: bytes | None
    answer_text: str | None  # only where texts are stored
    completed_at: datetime
    price_version: int = 0  # at which the answering arm was billed
    conversation: ConversationState | None = None  # where it left the conversation otherwise than was decided
