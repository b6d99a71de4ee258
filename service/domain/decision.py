"""One arm chosen for one query, with everything that was weighed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.domain.basics import DecisionKind, Json, Vector
from service.domain.conversation import ConversationState, ConversationStep
from service.domain.query import Query


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
