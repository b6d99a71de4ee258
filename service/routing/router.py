"""Router.decide: query -> Decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import numpy as np

from bandit.arrays import Bools
from bandit.beliefs import PriorState, believe
from bandit.budget import Pacer
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.records import ArmRecords
from bandit.utility import utility_terms
from embeddings.encoder import EncoderError, TextEncoder
from service.arms.catalog import Catalog
from service.arms.eligibility import list_cost_usd
from service.conversations.affinity import ConversationAffinity
from service.domain import decision as types
from service.domain.answer import Outcome
from service.domain.arm import Arm
from service.domain.basics import DecisionKind, Vector
from service.domain.cached_answer import CacheMatch
from service.domain.conversation import ConversationState
from service.domain.decision import Decision
from service.domain.neighbours import NeighbourColumns, NeighbourQuery
from service.domain.ports import Clock, Evidence, Memory
from service.domain.query import THREAD_REFUSED, Options, Query
from service.domain.tags import STAND_IN, Tag
from service.errors import AllArmsFailed, ContextTooLong, MemoryUnavailable, NoEligibleArm
from service.policies.policies import Policies
from service.routing.arrays import (
    candidates,
    histories_of,
    n_rated,
    neighbours_of,
    sums_of,
)
from service.routing.budget import charge
from service.routing.ease import EaseFitter, FittedEase
from service.routing.priors import prior_of, prior_sources
from service.routing.selection import WeighedArms, select

TASK_IS_KNOWN = 20  # prompts of a task with rated answers; from then on only these are its neighbours


@dataclass(frozen=True, slots=True)
class Recalled:
    """What was recalled for a query: its context, its tags, and the rated decisions near it."""

    context: Vector | None = None
    neighbours: NeighbourColumns = field(default_factory=lambda: NeighbourColumns.of([]))
    degraded: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True)
class Router:
    """Chooses an arm for a query.

    Without the encoder or the memory it decides by global evidence alone, marked `degraded`.
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
    policies: Policies = field(default_factory=Policies)

    async def decide(self, query: Query) -> Decision:
        """Choose an arm and charge the budget's purse; neither logs nor calls.

        Raises:
            UnknownModel, ContextTooLong, NoEligibleArm: the query leaves no arm to choose.
            AllArmsFailed: every arm that could answer is cooling down.
        """
        decision = await self.preview(query)
        self.affinity.put(query, decision.conversation)
        if decision.step is not None and decision.step.previous_arm_id is not None:
            self.affinity.continued(query)
        if self.pacer.budget_usd is not None and decision.kind != "pinned":
            weight = query.options.narrow(self.knobs).feedback_weight
            charge(self.pacer, decision, weight, self.rng)
        return decision

    async def preview(self, query: Query) -> Decision:
        """Choose an arm without changing any state. Raises as `decide` does.

        A query that is narrowed already gets neither tags nor another rule.
        """
        arms, rejected = ([], []) if query.turn.in_tool_loop else self.catalog.eligible(query)
        recalled, (conversation, missing) = await self._recall_with_conversation(query)
        if query.turn.in_tool_loop:  # its arm may answer even if no other can
            arms, rejected = self.catalog.eligible(
                query, None if conversation is None else conversation.arm_id
            )
        query = self.policies.with_task(query, recalled.tags)
        if query.narrowing is None and not _stays_in_loop(query, arms, conversation):
            query, arms, rejected = self._narrowed(query, recalled.tags, arms, rejected)
        if query.turn.continues_thread and conversation is not None:
            _require_thread(arms, conversation)
        knobs = query.options.narrow(self.knobs)
        rated = n_rated(self.evidence.sums(query.tenant))
        fitted = self.ease_fitter.of(query.tenant, rated)
        ease = fitted.at(recalled.context)
        neighbour_ease = fitted.of(recalled.neighbours, ease)
        neighbours = neighbours_of(arms, recalled.neighbours, neighbour_ease)
        beliefs = believe(self._prior_state(arms, query, fitted, ease, knobs), neighbours, knobs)
        terms = utility_terms(beliefs, knobs, self.pacer.price)
        barred = self.pacer.barred(beliefs.expected_cost_usd)
        policy = self._policy(arms, knobs, barred)
        selection = select(
            WeighedArms(query, arms, beliefs, terms, policy, conversation),
            self.rng,
            switch_margin=self.affinity.switch_margin,
            holdout=self._holdout(policy, query.options),
        )
        if not self.evidence.is_loaded:
            missing = (*missing, "store")
        arm_id = arms[selection.choice.index].arm_id
        return Decision(
            decision_id=uuid4(),
            query=query,
            kind=selection.kind,
            arm_id=arm_id,
            propensity=selection.choice.propensity,
            uniform=selection.choice.uniform,
            candidates=candidates(
                arms,
                prior_sources(arms, self.catalog),
                beliefs,
                terms,
                selection.probabilities,
                barred,
            ),
            rejected=tuple(rejected),
            neighbours=recalled.neighbours,
            n_rated=rated,
            expert_weights=tuple(beliefs.prior_state.expert_weights.tolist()),
            ease=ease,
            neighbour_ease=tuple(neighbour_ease.tolist()),
            confidence=float(beliefs.posterior.mean[selection.choice.index]),
            budget_price=self.pacer.price,
            encoder=None if recalled.context is None else self.encoder.name,
            context=recalled.context,
            degraded=tuple(dict.fromkeys((*recalled.degraded, *missing))),
            decided_at=self.clock(),
            holdout=selection.holdout,
            step=selection.step if self.affinity.has_affinity(query) else None,
            prior_offset=beliefs.prior_state.prior_offset,
            tags=recalled.tags,
            rule=None if query.narrowing is None else query.narrowing.rule,
            tier=self.policies.tiers.of(arm_id),
        )

    def _narrowed(
        self, query: Query, tags: Sequence[Tag], arms: list[Arm], rejected: list[types.Rejection]
    ) -> tuple[Query, list[Arm], list[types.Rejection]]:
        """The query with what the policies leave to choose among, and the arms that may answer it then.

        Raises as `Catalog.eligible` does, for the first choice of the policies.
        """
        first_error: NoEligibleArm | ContextTooLong | AllArmsFailed | None = None
        for narrowing in self.policies.narrow(query, tags):
            narrowed = query.narrowed(narrowing)
            if left := [arm for arm in arms if narrowing.allows(arm.arm_id)]:
                excluded = [
                    types.Rejection(arm.arm_id, narrowing.reason)
                    for arm in arms
                    if not narrowing.allows(arm.arm_id)
                ]
                return narrowed, left, [*rejected, *excluded]
            try:  # an arm that is cooling down, or has refused a feature, may answer if no other can
                return narrowed, *self.catalog.eligible(narrowed)
            except (NoEligibleArm, ContextTooLong, AllArmsFailed) as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return query, arms, rejected

    def cached_decision(self, query: Query, arm_id: str, match: CacheMatch) -> Decision:
        """The decision to answer from the cache, with the arm whose answer is cached; no arm is weighed.

        A rating of an answer to another question teaches nothing.
        """
        if match.match == "semantic":
            query = replace(query, options=replace(query.options, learn=False))
        return replace(self._unweighed(query, arm_id, "cache"), cached=match)

    def refused_decision(self, query: Query, cooling_down: Mapping[str, str]) -> Decision:
        """The decision of a refused request: every arm is cooling down; it names the first to be back.

        Args:
            cooling_down: why each arm is cooling down, by its id, first back first.
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
        outcome: Outcome,
        *,
        reserved_usd: float,
        cost_usd: Decimal | None,
    ) -> None:
        """Charge the budget, once, with the cost of a decided request, unless the client named the model.

        Args:
            outcome: it has the conversation's state if the answer left it differently than decided.
            reserved_usd: dollars that the decision reserved.
            cost_usd: cost of all calls, US dollars; None: not known, and the reservation stands.
        """
        self.affinity.put(query, outcome.conversation, outcome.answer_names)
        if kind != "pinned" and cost_usd is not None:
            self.pacer.settle(reserved_usd, float(cost_usd))

    async def _recall_with_conversation(
        self, query: Query
    ) -> tuple[Recalled, tuple[ConversationState | None, tuple[str, ...]]]:
        """Recall, and at the same time find the state of a continued conversation."""
        if not self.affinity.is_continued(query):
            return await self._recall(query), (None, ())
        return await asyncio.gather(self._recall(query), self.affinity.find(query))

    async def _recall(self, query: Query) -> Recalled:
        try:
            async with asyncio.timeout(self.embedding_timeout_s):
                context = await self.encoder.encode(query.text)
        except (EncoderError, TimeoutError):
            return Recalled(degraded=("encoder",), tags=await self.policies.classify(query, None))
        tags = await self.policies.classify(query, context)
        stand_in = ("routing_model",) if any(tag.source == STAND_IN for tag in tags) else ()
        query = self.policies.with_task(query, tags)
        if self.knobs.max_similar_requests == 0:
            return Recalled(context, degraded=stand_in, tags=tags)
        now = self.clock()
        try:
            async with asyncio.timeout(self.memory_timeout_s):
                neighbours = await self._nearest(context, query, now)
        except (MemoryUnavailable, TimeoutError):
            return Recalled(context, degraded=("memory", *stand_in), tags=tags)
        return Recalled(context, self.catalog.in_todays_prices(neighbours, now), stand_in, tags)

    async def _nearest(self, context: Vector, query: Query, now: datetime) -> NeighbourColumns:
        """The nearest prompts of the query's task if there are enough, else the nearest of all."""
        neighbour_query = NeighbourQuery(
            context,
            tenant=query.tenant,
            limit=self.knobs.max_similar_requests,
            min_similarity=self.knobs.similarity_threshold,
            since=now - timedelta(days=self.knobs.recency_days),
            now=now,
        )
        if (task := query.options.task) is not None:
            same_task = await self.memory.recall(replace(neighbour_query, task=task))
            if same_task.n_prompts >= min(TASK_IS_KNOWN, self.knobs.max_similar_requests):
                return same_task
        return await self.memory.recall(neighbour_query)

    def _prior_state(
        self, arms: Sequence[Arm], query: Query, fitted: FittedEase, ease: float, knobs: Knobs
    ) -> PriorState:
        sums = self.evidence.sums(query.tenant)
        histories = histories_of(arms, self.evidence.histories(query.tenant))
        records = ArmRecords.of(
            histories,
            now=self.clock().timestamp(),
            n_rated=n_rated(sums),
            ease=fitted.sums_of(arms, histories),
        )
        cost_usd = np.array([float(list_cost_usd(arm, query)) for arm in arms])
        prior = prior_of(arms, self.catalog, knobs, cost_usd, records)
        return PriorState.of(prior, sums_of(arms, sums), records, ease)

    def _policy(self, arms: Sequence[Arm], knobs: Knobs, barred: Bools) -> ThompsonPolicy:
        default = [i for i, arm in enumerate(arms) if arm.arm_id == self.catalog.default_arm_id]
        return ThompsonPolicy(
            knobs,
            price=self.pacer.price,
            barred=barred,
            default_arm=default[0] if default else None,
        )

    def _holdout(self, policy: ThompsonPolicy, options: Options) -> Holdout | None:
        """The share held out for the default arm; None if it cannot answer or `learn` is off."""
        if self.holdout_share == 0 or policy.default_arm is None or not options.learn:
            return None
        return Holdout(self.holdout_share, policy.default_arm)


def _stays_in_loop(query: Query, arms: Sequence[Arm], conversation: ConversationState | None) -> bool:
    """Whether the arm of a tool loop answers, which no rule changes."""
    if not query.turn.in_tool_loop or conversation is None:
        return False
    return any(arm.arm_id == conversation.arm_id for arm in arms)


def _require_thread(arms: Sequence[Arm], conversation: ConversationState) -> None:
    """Check that the arm whose provider has the conversation's thread may answer. Raises NoEligibleArm."""
    if all(arm.arm_id != conversation.arm_id for arm in arms):
        raise NoEligibleArm(
            f"{THREAD_REFUSED}: the conversation is on {conversation.arm_id}, which has no such thread or "
            "cannot answer; send all messages",
            param="thread",
        )
