"""The values that the layers exchange: frozen, without behaviour beyond their own arithmetic."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Context, Decimal, Inexact
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]
Json = dict[str, Any]

DecisionKind = Literal["exploit", "explore", "pinned", "sticky", "default", "fallback", "escalated", "cache"]
AttemptStatus = Literal["ok", "failed", "cancelled"]
DEFAULT_TENANT = "default"
# Python rounds Decimals to 28 digits by default; dollars get a dozen more with each change of a price.
EXACT = Context(prec=100_000, traps=[Inexact])
AUTO = frozenset({"auto", "router/auto"})  # model names that leave the choice to the router


# --- the caller's side ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Turn:
    """Where a request stands in its conversation."""

    key: bytes | None = None  # the conversation's, within its tenant; None: the request is on its own
    continues: bool = False  # there may have been a request of this conversation before
    in_tool_loop: bool = False  # the model is given what it asked for; the user asks nothing new
    n_asked_chars: int = 0  # of the query's text: what is asked now; then comes what was asked before
    is_housekeeping: bool = False  # the client asks for itself: a title, a summary, a probe


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller asked of the router itself; it narrows the operator's policy, never widens it."""

    models: frozenset[str] | None = None  # ids or aliases; None: any
    exclude: frozenset[str] = frozenset()  # ids or aliases
    require_data_use: frozenset[str] = frozenset()  # what the provider has to promise, beside the operator's
    max_cost_usd: Decimal | None = None
    feedback_weight: float | None = None
    latency_weight: float | None = None
    cost_weight: float | None = None
    session_id: str | None = None
    task: str | None = None  # what kind of request the caller says this is
    learn: bool = True
    explain: bool = False


@dataclass(frozen=True, slots=True)
class Native:
    """A request in the Anthropic dialect as it came, for the arms that speak it themselves."""

    body: Json
    headers: Mapping[str, str]  # those that the upstream is to see
    needs: tuple[str, ...] = ()  # what the request asks for that no other arm can do


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks, in OpenAI's chat form whatever its dialect was.

    `body` is the request as validated, without the `router` object; `text` is what the context is
    made from; `body_digest` tells a retry from another request under the same id.
    """

    tenant: str
    request_id: str
    request_id_given: bool  # False: we made it, so nothing can be known under it
    body: Json
    text: str
    body_digest: bytes
    dialect: str
    requested_model: str | None  # None: the router chooses
    stream: bool
    n_prompt_tokens: int  # an estimate: UTF-8 bytes / 4, and 1,600 for each file
    max_output_tokens: int | None
    options: Options
    received_at: datetime
    native: Native | None = None  # None: `body` is what came
    n_client_retries: int = 0  # how often its client says that it tried before
    turn: Turn = Turn()
    counts: Mapping[str, int] = field(
        default_factory=dict
    )  # of the prompt's tokens, by tokenizer, where counted

    @property
    def n_messages(self) -> int:
        """How many messages came."""
        return len((self.body if self.native is None else self.native.body)["messages"])


# --- arms ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None  # of prompt tokens that the provider writes into its cache


@dataclass(frozen=True, slots=True)
class Arm:
    """One choosable model with its settings."""

    arm_id: str
    provider: str  # openai: any OpenAI-compatible upstream; anthropic; litellm; simulator
    model: str  # the upstream's name for it
    base_url: str | None = None
    api_key_env: str | None = None
    aliases: tuple[str, ...] = ()
    price: Price = Price(Decimal(0), Decimal(0))
    context_window: int | None = None
    max_output_tokens: int | None = None
    capabilities: frozenset[str] = frozenset()  # empty: not known
    lacks: frozenset[str] = frozenset()  # capabilities that it is known not to have
    data_use: frozenset[str] = frozenset()  # what its provider promises
    extra_fields: frozenset[str] = frozenset()  # of requests, that its server knows beyond OpenAI's
    prior_quality: float | None = None
    prior_mass: float | None = None
    timeout_s: float = 60.0
    chat_template: str | None = None  # Jinja, as in a tokenizer's configuration
    prior_source: str | None = None  # of prior_quality: "configured", or the date of the public table
    price_version: int = 0  # how often its price was changed at runtime


@dataclass(frozen=True, slots=True)
class ArmSums:
    """Everything observed of one arm of one tenant, as sums that add.

    Decimal, so that adding and withdrawing in any order gives the same sums to the last digit.
    """

    n: Decimal = Decimal(0)  # weight of rated answers, and of signals
    reward_sum: Decimal = Decimal(0)
    n_outcomes: int = 0  # answers that arrived
    latency_s_sum: Decimal = Decimal(0)
    cost_usd_sum: Decimal = Decimal(0)

    def __add__(self, other: ArmSums) -> ArmSums:
        return ArmSums(
            EXACT.add(self.n, other.n),
            EXACT.add(self.reward_sum, other.reward_sum),
            self.n_outcomes + other.n_outcomes,
            EXACT.add(self.latency_s_sum, other.latency_s_sum),
            EXACT.add(self.cost_usd_sum, other.cost_usd_sum),
        )

    def __neg__(self) -> ArmSums:
        """What takes these sums back."""
        return ArmSums(
            self.n.copy_negate(),
            self.reward_sum.copy_negate(),
            -self.n_outcomes,
            self.latency_s_sum.copy_negate(),
            self.cost_usd_sum.copy_negate(),
        )


# --- the decision --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A remembered decision near this context."""

    decision_id: UUID
    request_id: str
    arm_id: str
    similarity: float  # cosine, in [-1, 1]
    age_s: float
    reward: float
    weight: float  # trust in the reward, in (0, 1]
    latency_s: float
    cost_usd: float
    task: str | None = None  # as its caller tagged it


@dataclass(slots=True)  # not frozen, as `Candidate`
class LoggedPriorState:
    """What was known of an arm before looking near the query, as in `bandit.beliefs.LoggedPriorState`."""

    prior_mean: float
    prior_mass: float
    n_rated: float
    reward_sum: float  # without what difficulty brought
    deviation: float
    cost_usd: float
    latency_s: float
    epoch_age_s: float | None  # None: the arm never changed
    n_changes: int


@dataclass(slots=True)  # not frozen: each decision makes one per arm, and freezing takes most of the time
class Candidate:
    """One eligible arm as it was weighed."""

    arm_id: str
    probability: float
    prior_state: LoggedPriorState
    predicted: tuple[float, ...]  # reward by each opinion on the neighbourhood, and by their mixture
    alpha: float  # posterior of its mean reward for this query
    beta: float
    local_mass: float  # pseudo-counts that neighbours brought
    bonus: float
    expected_latency_s: float
    expected_cost_usd: float
    quality: float  # the terms of the expected utility, already weighted
    speed: float
    cost: float
    budget: float
    utility: float  # their sum
    is_barred: bool = False  # by the budget, from this request


@dataclass(frozen=True, slots=True)
class Rejection:
    """One arm that could not answer this query, and why."""

    arm_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ConversationState:
    """The arm that a conversation is on, as its newest request left it."""

    arm_id: str
    vendor: str  # who made that arm's model
    n_messages_of_other_vendors: int  # of the first messages: in these, another vendor's arm may have spoken
    turns: int  # requests of the conversation so far
    holdout: bool | None  # the lot that was cast for it, as in `Decision`
    decision_id: UUID
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ConversationStep:
    """How a decision stands in its conversation; gain, margin and price are in utility."""

    turn: int  # 1: the conversation begins
    vendor: str  # as in `ConversationState`, of the arm that was chosen
    n_messages_of_other_vendors: int
    holdout: bool | None
    previous_arm_id: str | None = None  # the arm the conversation was on
    is_drawn: bool = True  # False: it stays without a lot, which tells nothing of any policy
    gain: float | None = None  # by the best of the other arms; None: none was weighed against staying
    switch_margin: float | None = None
    cache_loss: float | None = None  # of what the provider remembers of the conversation


@dataclass(frozen=True, slots=True)
class Decision:
    """One arm chosen for one query, with everything that was weighed."""

    decision_id: UUID
    query: Query
    kind: DecisionKind
    arm_id: str
    propensity: float
    uniform: float  # the number in [0, 1) that drew the arm; 0 where there was no choice
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejection, ...]
    neighbours: Collection[Neighbour]
    n_rated: float  # the tenant's, of all arms
    expert_weights: tuple[float, ...]
    ease: float  # of the request, as foretold from all arms' rewards
    neighbour_ease: tuple[float, ...]  # of the neighbours' requests, likewise
    confidence: float  # posterior mean reward of the chosen arm
    budget_price: float
    encoder: str | None  # names the vector space of `context`
    context: Vector | None
    degraded: tuple[str, ...]  # which dependencies were missing
    decided_at: datetime
    holdout: bool | None = None  # True: held out; False: it could have been; None: it could not
    step: ConversationStep | None = None  # None: a request on its own

    @property
    def conversation(self) -> ConversationState | None:
        """Where the decision leaves its conversation."""
        if self.step is None:
            return None
        return ConversationState(
            arm_id=self.arm_id,
            vendor=self.step.vendor,
            n_messages_of_other_vendors=self.step.n_messages_of_other_vendors,
            turns=self.step.turn,
            holdout=self.step.holdout,
            decision_id=self.decision_id,
            updated_at=self.decided_at,
        )


@dataclass(frozen=True, slots=True)
class LoggedDecision:
    """What a retry needs to know of the decision that its id stands for."""

    decision_id: UUID
    body_digest: bytes
    arm_id: str
    propensity: float
    kind: DecisionKind
    n_attempts: int
    probabilities: tuple[tuple[str, float], ...]  # of every candidate, for falling back
    step: ConversationStep | None = None


@dataclass(frozen=True, slots=True)
class LoggedRound:
    """A decision that the router made by itself, and what came of it: what an evaluation starts from."""

    decided_at: datetime
    arm_id: str
    n_prompt_tokens: int
    explanation: Json  # as `service.explanation` wrote it
    reward: float | None  # by the newest score somebody gave; None: there is none
    cost_usd: float | None  # None: no answer came
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class PacedArm:
    """One arm as the budget sees it."""

    arm_id: str
    alpha: float  # posterior of its mean reward
    beta: float
    offset: float  # the rest of its utility, without the budget's price
    expected_cost_usd: float


@dataclass(frozen=True, slots=True)
class Spend:
    """What the budget paid for one decision."""

    decided_at: datetime
    arm_id: str
    cost_usd: float | None  # None: its end was not logged
    arms: tuple[PacedArm, ...]  # those that were weighed; empty: it is not told
    feedback_weight: float | None  # None: the operator's


# --- the call ------------------------------------------------------------------------------------------


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


# --- feedback ------------------------------------------------------------------------------------------

FeedbackStatus = Literal["applied", "revised", "duplicate", "withdrawn", "not_learned", "kept"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said of an answer. `score=None` withdraws what was said before."""

    tenant: str
    request_id: str
    score: float | None
    text: str | None
    received_at: datetime
    session_id: str | None = None  # said of this whole conversation; None: of the request itself


@dataclass(frozen=True, slots=True)
class ConversationFeedback:
    """What somebody said of a whole conversation. `score=None` withdraws what was said before."""

    tenant: str
    session_id: str
    score: float | None
    text: str | None
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Reward:
    """Feedback, or a weak implicit signal, as one number in [0, 1], with its weight in (0, 1].

    Decimal with at most six places, so that sums of rewards add and withdraw without rounding.
    """

    value: Decimal
    weight: Decimal = Decimal(1)


Signal = Literal["provider_error", "refusal", "empty", "truncated", "invalid_schema", "reask"]


@dataclass(frozen=True, slots=True)
class ImplicitSignal:
    """An implicit signal: what a request shows of an arm though nobody says it. Its reward is 0."""

    signal: Signal
    arm_id: str
    weight: Decimal  # in (0, 1], at most six places


@dataclass(frozen=True, slots=True)
class Learned:
    """What a feedback did; committed."""

    status: FeedbackStatus
    decision_id: UUID
    request_id: str
    arm_id: str
    event_id: int | None  # None: nothing changed (`duplicate`, `kept`)
    reward: float | None


@dataclass(frozen=True, slots=True)
class ConversationLearned:
    """What a conversation's feedback did to each of its decisions, newest first; committed."""

    session_id: str
    weight: float  # of the score, for each decision
    learned: tuple[Learned, ...]


@dataclass(frozen=True, slots=True)
class Experience:
    """A rated decision as the memory keeps it."""

    decision_id: UUID
    tenant: str
    request_id: str
    arm_id: str
    encoder: str
    context: Vector
    reward: float
    weight: float
    latency_s: float
    cost_usd: float
    decided_at: datetime
    task: str | None = None  # as its caller tagged it


@dataclass(frozen=True, slots=True)
class Pending:
    """A rated decision whose memory is not yet up to date; `experience=None`: forget it."""

    decision_id: UUID
    tenant: str
    event_id: int
    experience: Experience | None
