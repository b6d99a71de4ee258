"""Router.decide: query -> Decision, the straight line of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import numpy as np

from bandit.arrays import Bools
from bandit.beliefs import Prior, PriorState, believe
from bandit.budget import Pacer
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.records import ArmRecords
from bandit.utility import utility_terms
from embeddings.encoder import EncoderError, TextEncoder
from service.arms.catalog import Catalog, list_cost_usd
from service.conversations.affinity import ConversationAffinity
from service.domain import decision as types
from service.domain.arm import Arm
from service.domain.basics import DecisionKind, Vector
from service.domain.conversation import ConversationState
from service.domain.decision import Decision
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.domain.ports import Clock, Evidence, Memory
from service.domain.query import Options, Query
from service.errors import MemoryUnavailable
from service.routing.arrays import as_floats, candidates, histories_of, n_rated, neighbours_of, sums_of
from service.routing.budget import charge
from service.routing.ease import EaseFitter, FittedEase
from service.routing.selection import WeighedArms, select

TASK_IS_KNOWN = 20  # rated requests of one task, from which they alone speak for it
USUAL_LATENCY_S = 1.0  # of an arm that was never called


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a query: its context, and the rated decisions near it."""

    context: Vector | None = None
    neighbours: NeighbourColumns = field(default_factory=lambda: NeighbourColumns.of([]))
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses an arm for a query.

    A sick encoder or memory gives a decision by global evidence alone, marked `degraded`.
    """

    catalog: Catalog
    encoder: TextEncoder
    memory: Memory
    evidence: Evidence
    ease_fitter: EaseFitter
    affinity: ConversationAffinity
    knobs: Knobs
    pacer: Pacer
    rng: np.random.Generator
    clock: Clock
    embedding_timeout_s: float
    memory_timeout_s: float
    holdout_share: float = 0.0

    async def decide(self, query: Query) -> Decision:
        """Choose an arm and charge the budget's purse; logging and calling are up to others.

        Raises:
            UnknownModel, ContextTooLong, NoEligibleArm: the query leaves no arm to choose.
            AllArmsFailed: those that could answer rest after failures.
        """
        decision = await self.preview(query)
        self.affinity.put(query, decision.conversation)
        if self.pacer.budget_usd is not None and decision.kind != "pinned":
            weight = query.options.narrow(self.knobs).feedback_weight
            charge(self.pacer, decision, weight, self.rng)
        return decision

    async def preview(self, query: Query) -> Decision:
        """Choose an arm without leaving a trace. Raises as `decide` does."""
        arms, rejected = ([], []) if query.turn.in_tool_loop else self.catalog.eligible(query)
        recalled, (conversation, missing) = await self._look_back(query)
        if query.turn.in_tool_loop:  # whose arm may answer even where no other can
            arms, rejected = self.catalog.eligible(
                query, None if conversation is None else conversation.arm_id
            )
        knobs = query.options.narrow(self.knobs)
        rated = n_rated(self.evidence.sums(query.tenant))
        fitted = self.ease_fitter.of(query.tenant, rated)
        here = fitted.at(recalled.context)
        neighbour_ease = fitted.of(recalled.neighbours, here)
        neighbours = neighbours_of(arms, recalled.neighbours, neighbour_ease)
        beliefs = believe(self._prior_state(arms, query, fitted, here, knobs), neighbours, knobs)
        terms = utility_terms(beliefs, knobs, self.pacer.price)
        barred = self.pacer.barred(beliefs.expected_cost_usd)
        policy = self._policy(arms, knobs, barred)
        chosen = select(
            WeighedArms(query, arms, beliefs, terms, policy, conversation),
            self.rng,
            switch_margin=self.affinity.switch_margin,
            holdout=self._holdout(policy, query.options),
        )
        if not self.evidence.is_loaded:
            missing = (*missing, "store")
        return Decision(
            decision_id=uuid4(),
            query=query,
            kind=chosen.kind,
            arm_id=arms[chosen.choice.index].arm_id,
            propensity=chosen.choice.propensity,
            uniform=chosen.choice.uniform,
            candidates=candidates(arms, beliefs, terms, chosen.probabilities, barred),
            rejected=tuple(rejected),
            neighbours=recalled.neighbours,
            n_rated=rated,
            expert_weights=tuple(beliefs.prior_state.expert_weights.tolist()),
            ease=here,
            neighbour_ease=tuple(neighbour_ease.tolist()),
            confidence=float(beliefs.posterior.mean[chosen.choice.index]),
            budget_price=self.pacer.price,
            encoder=None if recalled.context is None else self.encoder.name,
            context=recalled.context,
            degraded=tuple(dict.fromkeys((*recalled.degraded, *missing))),
            decided_at=self.clock(),
            holdout=chosen.holdout,
            step=chosen.step if self.affinity.has_affinity(query) else None,
        )

    def repeat(self, query: Query, arm_id: str) -> Decision:
        """The decision to answer as an arm answered the same request before: nothing was weighed."""
        return self._unweighed(query, arm_id, "cache")

    def refuse(self, query: Query, cooling_down: Mapping[str, str]) -> Decision:
        """The decision not to answer, as every arm that could rests; it names the one that is back first.

        Args:
            rests: why each arm rests, by its id.
        """
        kind: DecisionKind = "default" if query.requested_model is None else "pinned"
        rejected = tuple(types.Rejection(arm_id, why) for arm_id, why in cooling_down.items())
        return replace(self._unweighed(query, next(iter(cooling_down)), kind), rejected=rejected)

    def _unweighed(self, query: Query, arm_id: str, kind: DecisionKind) -> Decision:
        return Decision(
            decision_id=uuid4(),
            query=query,
            kind=kind,
            arm_id=arm_id,
            propensity=1.0,
            uniform=0.0,
            candidates=(),
            rejected=(),
            neighbours=(),
            n_rated=n_rated(self.evidence.sums(query.tenant)),
            expert_weights=(),
            ease=0.0,
            neighbour_ease=(),
            confidence=1.0,
            budget_price=self.pacer.price,
            encoder=None,
            context=None,
            degraded=(),
            decided_at=self.clock(),
        )

    def settle(
        self,
        query: Query,
        kind: DecisionKind,
        conversation: ConversationState | None,
        *,
        reserved_usd: float,
        cost_usd: Decimal,
    ) -> None:
        """Charge the budget, once, what a decided request cost; arms that clients name are not the budget's.

        Args:
            conversation: where the answer left it, if another arm than the decided one gave it.
            reserved_usd: what the decision reserved.
            cost_usd: what all calls cost.
        """
        self.affinity.put(query, conversation)
        if kind != "pinned":
            self.pacer.settle(reserved_usd, float(cost_usd))

    async def _look_back(
        self, query: Query
    ) -> tuple[Recalled, tuple[ConversationState | None, tuple[str, ...]]]:
        """What is known of the query; meanwhile, the pin of a conversation that goes on."""
        if not self.affinity.is_continued(query):
            return await self._recall(query), (None, ())
        return await asyncio.gather(self._recall(query), self.affinity.find(query))

    async def _recall(self, query: Query) -> Recalled:
        try:
            async with asyncio.timeout(self.embedding_timeout_s):
                context = await self.encoder.encode(query.text)
        except (EncoderError, TimeoutError):
            return Recalled(degraded=("encoder",))
        if self.knobs.max_similar_requests == 0:
            return Recalled(context)
        now = self.clock()
        try:
            async with asyncio.timeout(self.memory_timeout_s):
                neighbours = await self._nearest(context, query, now)
        except (MemoryUnavailable, TimeoutError):
            return Recalled(context, degraded=("memory",))
        return Recalled(context, self.catalog.in_todays_prices(neighbours, now))

    async def _nearest(self, context: Vector, query: Query, now: datetime) -> NeighbourColumns:
        """The nearest of the query's own task, once there are enough of them; else the nearest of all."""
        sought = NeighbourQuery(
            context,
            tenant=query.tenant,
            limit=self.knobs.max_similar_requests,
            min_similarity=self.knobs.similarity_threshold,
            since=now - timedelta(days=self.knobs.recency_days),
            now=now,
        )
        if (task := query.options.task) is not None:
            of_the_task = await self.memory.recall(replace(sought, task=task))
            if len(of_the_task) >= min(TASK_IS_KNOWN, self.knobs.max_similar_requests):
                return of_the_task
        return await self.memory.recall(sought)

    def _prior_state(
        self, arms: Sequence[Arm], query: Query, fitted: FittedEase, ease: float, knobs: Knobs
    ) -> PriorState:
        known = self.evidence.sums(query.tenant)
        histories = histories_of(arms, self.evidence.histories(query.tenant))
        records = ArmRecords.of(
            histories,
            now=self.clock().timestamp(),
            n_rated=n_rated(known),
            ease_sum=fitted.sums_of(arms, histories),
        )
        prior = Prior.of(
            quality=as_floats(arm.prior_quality for arm in arms),
            mass=as_floats(arm.prior_mass for arm in arms),
            cost_usd=np.array([float(list_cost_usd(arm, query)) for arm in arms]),
            latency_s=np.full(len(arms), USUAL_LATENCY_S),
            knobs=knobs,
            records=records,
            is_newcomer=self.catalog.newcomers(arms),
        )
        return PriorState.of(prior, sums_of(arms, known), records, ease)

    def _policy(self, arms: Sequence[Arm], knobs: Knobs, barred: Bools) -> ThompsonPolicy:
        default = [i for i, arm in enumerate(arms) if arm.arm_id == self.catalog.default_arm_id]
        return ThompsonPolicy(
            knobs,
            price=self.pacer.price,
            barred=barred,
            default_arm=default[0] if default else None,
        )

    def _holdout(self, policy: ThompsonPolicy, options: Options) -> Holdout | None:
        """The share of the default arm; None where it cannot answer, or nothing is to be learned."""
        if self.holdout_share == 0 or policy.default_arm is None or not options.learn:
            return None
        return Holdout(self.holdout_share, policy.default_arm)
