"""A model's answer, the calls made for it, and their outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from service.domain.basics import AttemptStatus, CostSource, DecisionKind, Json
from service.domain.conversation import ConversationState
from service.domain.value import value


@value
class Usage:
    """Tokens of one call, counted as OpenAI does.

    `prompt_tokens` includes the tokens read from the provider's cache and those written into it.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False  # True: the provider reported none; the counts are bytes / 4
    cache_write_tokens: int = 0
    stated_cost_usd: Decimal | None = None  # what the provider says that the call cost


@value
class Answer:
    """A whole answer of a model: an OpenAI `chat.completion` object.

    `native` is the message of an arm that speaks the client's dialect; `body` is then its translation.
    """

    body: Json
    usage: Usage
    native: Json | None = None
    notes: tuple[str, ...] = ()  # what was changed in the request, and guessed to read the answer


@dataclass(slots=True)
class Chunk:
    """A chunk of a streamed answer: an OpenAI `chat.completion.chunk` object.

    Who gets a chunk may change it: the client's names of the answer and of its model are put into `body`.

    `usage` is set on the chunks that report it, and always on the last chunk of a stream. `native` is the
    event of an arm that speaks the client's dialect; `body` is then its translation. `text` is set where a
    further piece of the first choice's text is all that the chunk has, as in most chunks of most streams.
    """

    body: Json
    usage: Usage | None = None
    native: bytes | None = None
    notes: tuple[str, ...] = ()  # the same; those on the request come first, those on the answer last
    text: str | None = None


Burst: TypeAlias = Sequence[
    Chunk
]  # chunks of a stream that came together, in one read; they are sent together


@value
class Attempt:
    """One call of one arm's provider for a decision."""

    attempt_id: UUID
    decision_id: UUID
    position: int  # 0, 1, ... over all calls for this decision
    arm_id: str
    propensity: float  # probability of drawing this arm among the arms not yet tried
    status: AttemptStatus
    started_at: datetime
    latency_s: float
    ttft_s: float | None = None
    usage: Usage = Usage()
    cost_usd: Decimal | None = Decimal(0)  # None: nobody knows it
    cost_source: CostSource = "price"
    finish_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    upstream_status: int | None = None
    notes: tuple[str, ...] = ()  # what was changed in the request, and guessed to read the answer
    deployment: str | None = None  # of the arm, if it has several


@value
class Outcome:
    """The result of a decision; after a retry, the latest outcome counts."""

    decision_id: UUID
    tenant: str
    arm_id: str  # the arm that answered, or else the last one tried
    kind: DecisionKind  # `fallback`: another arm than the decided one answered
    status: AttemptStatus
    latency_s: float  # of the answering call
    ttft_s: float | None
    overhead_s: float  # the router's own time, without the calls
    usage: Usage
    cost_usd: Decimal | None  # of all attempts; None: that of one is not known
    call_cost_usd: Decimal | None  # of the answering call
    finish_reason: str | None
    answer_chars: int
    answer_digest: bytes | None
    answer_text: str | None  # only where texts are stored
    completed_at: datetime
    cost_source: CostSource = "price"  # of `call_cost_usd`
    price_version: int = 0  # of the price that the answer was billed at
    answer_id: str | None = None  # the provider's, if its message went to the client as it was
    conversation: ConversationState | None = None  # set if it differs from the decision's
    # Keys of a conversation without a session id, by this answer; its state is `conversation`.
    answer_names: tuple[bytes, ...] = ()
