"""Decisions: one arm chosen for one query, with everything that the choice was based on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.domain.basics import DecisionKind, Json, Vector
from service.domain.cached_answer import CacheMatch
from service.domain.conversation import ConversationState, ConversationStep
from service.domain.query import Query
from service.domain.tags import Tag
from service.domain.value import value


@value
class Neighbour:
    """A remembered decision near this context."""

    decision_id: UUID
    request_id: str
    arm_id: str
    similarity: float  # cosine, in [-1, 1]
    age_s: float
    reward: float
    weight: float  # of the reward, in (0, 1]
    latency_s: float
    cost_usd: float | None  # None: nobody knows it
    task: str | None = None  # as its client tagged it
    prompt: int | None = None  # number of its prompt, 0: the most similar; None: a prompt of its own


@dataclass(slots=True)  # not frozen, for the reason given at `Candidate`
class LoggedPriorState:
    """What was known of an arm before its neighbours were used, as in `bandit.beliefs.PriorState`."""

    prior_mean: float
    prior_mass: float
    n_rated: float
    reward_sum: float  # adjusted for the ease of the rated requests
    deviation: float
    cost_usd: float
    latency_s: float
    epoch_age_s: float | None  # None: the arm never changed
    n_changes: int
    prior_source: str | None = (
        None  # of prior_mean; None: no quality was known, or an older version logged it
    )
    cost_usd_error: float = 0.0  # standard errors of the two means; 0: an older version logged it
    latency_s_error: float = 0.0


@dataclass(slots=True)  # not frozen: each decision makes one per arm, and freezing would dominate the cost
class Candidate:
    """One eligible arm with the values that its choice depended on."""

    arm_id: str
    probability: float
    prior_state: LoggedPriorState
    predicted: tuple[float, ...]  # reward predicted by each expert, then by their mixture
    alpha: float  # posterior of its mean reward for this query
    beta: float
    local_mass: float  # pseudo-counts from neighbours
    bonus: float
    expected_latency_s: float
    expected_cost_usd: float
    quality: float  # the weighted terms of the expected utility
    speed: float
    cost: float
    budget: float
    utility: float  # the sum of the terms
    is_barred: bool = False  # the budget excludes it from this request


@dataclass(frozen=True, slots=True)
class Rejection:
    """One arm that cannot answer this query, and why."""

    arm_id: str
    reason: str


@value
class Decision:
    """One arm chosen for one query, with everything that the choice was based on."""

    decision_id: UUID
    query: Query
    kind: DecisionKind
    arm_id: str
    propensity: float
    uniform: float  # the number in [0, 1) that drew the arm; 0 if nothing was drawn
    candidates: Sequence[Candidate]
    rejected: tuple[Rejection, ...]
    neighbours: Collection[Neighbour]
    n_rated: float  # weight of the tenant's ratings over all arms
    expert_weights: tuple[float, ...]
    ease: float  # of the request, predicted from all arms' rewards; above 0: easier
    neighbour_ease: tuple[float, ...]  # of the neighbours' requests
    confidence: float  # posterior mean reward of the chosen arm
    budget_price: float
    encoder: str | None  # names the vector space of `context`
    context: Vector | None
    degraded: tuple[str, ...]  # the dependencies that were unavailable
    decided_at: datetime
    holdout: bool | None = None  # True: held out; False: drawn but not held out; None: not drawn
    step: ConversationStep | None = None  # None: the request belongs to no conversation
    prior_offset: float = (
        0.0  # that the priors of the public table were moved by, to the level of their ratings
    )
    cached: CacheMatch | None = None  # whose answer the cache gave
    tags: tuple[Tag, ...] = ()
    rule: str | None = None  # that narrowed the choice
    tier: str | None = None  # of the chosen arm

    @property
    def conversation(self) -> ConversationState | None:
        """The state of its conversation after this decision; None: it does not change."""
        if self.step is None or not self.query.turn.moves_conversation:
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
    """What a retry needs from the decision that was logged under its request id."""

    decision_id: UUID
    body_digest: bytes
    arm_id: str
    propensity: float
    kind: DecisionKind
    n_attempts: int
    probabilities: tuple[tuple[str, float], ...]  # of every candidate, for fallback
    step: ConversationStep | None = None


@dataclass(frozen=True, slots=True)
class LoggedRound:
    """A decision that the router made by itself, with its outcome and reward; the input of an evaluation."""

    decided_at: datetime
    arm_id: str
    n_prompt_tokens: int
    explanation: Json  # as `service.domain.explanation` writes it
    reward: float | None  # of the newest score; None: not rated
    cost_usd: float | None  # None: there was no answer
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class PacedArm:
    """One arm as the budget's pacer sees it."""

    arm_id: str
    alpha: float  # posterior of its mean reward
    beta: float
    offset: float  # its other terms of utility, without the budget's price
    expected_cost_usd: float


@dataclass(frozen=True, slots=True)
class Spend:
    """What the budget paid for one decision."""

    decided_at: datetime
    arm_id: str
    cost_usd: float | None  # None: its outcome was not logged, or the cost of a call is not known
    arms: tuple[PacedArm, ...]  # the candidates; empty: not known
    feedback_weight: float | None  # None: the operator's setting
