"""Router.decide: query -> Decision."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from uuid import uuid4

import numpy as np

from bandit.arrays import Floats
from bandit.beliefs import believe
from bandit.budget import Pacer
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.utility import utility_terms
from embeddings.encoder import EncoderError, TextEncoder
from service.arms.catalog import Catalog
from service.conversations.affinity import ConversationAffinity
from service.domain import decision as types
from service.domain.answer import Outcome
from service.domain.arm import Arm
from service.domain.basics import DecisionKind, Vector
from service.domain.cached_answer import CacheMatch
from service.domain.candidates import CandidateColumns
from service.domain.conversation import ConversationState
from service.domain.decision import Decision
from service.domain.lately import Lately
from service.domain.neighbours import NO_NEIGHBOURS, NeighbourColumns, NeighbourQuery
from service.domain.ports import Clock, Evidence, Memory
from service.domain.query import THREAD_REFUSED, Options, Query
from service.domain.tags import STAND_IN, Tag
from service.domain.value import value
from service.errors import AllArmsFailed, ContextTooLong, MemoryUnavailable, NoEligibleArm
from service.policies.policies import Policies
from service.routing.arrays import candidates, n_rated, neighbours_of
from service.routing.budget import charge
from service.routing.ease import EaseFitter
from service.routing.kept import KeptWeighing, KeptWeighings
from service.routing.known_arms import KnownArmSets, TenantEvidence
from service.routing.pool import Pool
from service.routing.selection import Selection, WeighedArms, named_or_in_loop, select, undrawn

TASK_IS_KNOWN = 20  # prompts of a task with rated answers; from then on only these are its neighbours


@value
class Recalled:
    """What was recalled for a query: its context, its tags, and the rated decisions near it."""

    context: Vector | None = None
    neighbours: NeighbourColumns = NO_NEIGHBOURS
    degraded: tuple[str, ...] = ()
    tags: tuple[Tag, ...] = ()


@value
class Situation:
    """A query with the arms that may answer it, and the state of its conversation.

    Args:
        missing: the dependencies that were missing when the state was read.
    """

    query: Query
    arms: Sequence[Arm]
    rejected: Sequence[types.Rejection]
    conversation: ConversationState | None = None
    missing: tuple[str, ...] = ()

    @property
    def stays_in_loop(self) -> bool:
        """Whether the arm of a tool loop answers, which no rule changes."""
        return self.query.turn.in_tool_loop and self._has_arm_of_conversation

    def require_thread(self) -> None:
        """Check that the arm whose provider has the conversation's thread may answer.

        Raises NoEligibleArm.
        """
        conversation = self.conversation
        if not self.query.turn.continues_thread or conversation is None or self._has_arm_of_conversation:
            return
        raise NoEligibleArm(
            f"{THREAD_REFUSED}: the conversation is on {conversation.arm_id}, which has no such thread or "
            "cannot answer; send all messages",
            param="thread",
        )

    @property
    def _has_arm_of_conversation(self) -> bool:
        conversation = self.conversation
        return conversation is not None and any(arm.arm_id == conversation.arm_id for arm in self.arms)


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
    memory_timeout_s: float  # of all calls of one recall
    holdout_share: float = 0.0
    pooled_prior_mass: float = 0.0  # ratings that those of other tenants are worth at most
    policies: Policies = field(default_factory=Policies)
    known: KnownArmSets = field(init=False, default_factory=KnownArmSets)
    kept: KeptWeighings = field(init=False, default_factory=KeptWeighings)
    encoding: Lately = field(init=False, default_factory=Lately)
    recalling: Lately = field(init=False, default_factory=Lately)

    async def decide(self, query: Query) -> Decision:
        """Choose an arm and charge the budget's purse; neither logs nor calls.

        A query whose arm is certain is neither embedded nor are decisions near it recalled.

        Raises:
            UnknownModel, ContextTooLong, NoEligibleArm: the query leaves no arm to choose.
            AllArmsFailed: every arm that could answer is cooling down.
        """
        decision = await (self._passed_through(query) if self._may_pass(query) else self.preview(query))
        self.affinity.put(query, decision.conversation)
        if decision.step is not None and decision.step.previous_arm_id is not None:
            self.affinity.continued(query)
        if self.pacer.budget_usd is not None and decision.kind != "pinned":
            weight = query.options.narrow(self.knobs).feedback_weight
            charge(self.pacer, decision, weight, self.rng)
        return decision

    def _may_pass(self, query: Query) -> bool:
        """Whether the arm may be certain, and nobody asks what the arms are worth for this query."""
        may_be_certain = query.requested_model is not None or query.turn.in_tool_loop
        return may_be_certain and not query.options.explain and not self.policies.needs_task(query)

    async def _passed_through(self, query: Query) -> Decision:
        """The decision for the arm that is named or in a tool loop, with the beliefs about all requests.

        Its context is made later (`service.learning.late_contexts`), unless its text was embedded before.
        If no arm is certain after all, the arms are weighed for the query.
        """
        conversation, missing = await self.affinity.find(query)
        situation = Situation(query, *self._eligible(query, conversation), conversation, missing)
        certain = named_or_in_loop(query, situation.arms, conversation)
        if certain is None:
            return self._weighed(situation, await self._recall(query))
        situation.require_thread()
        rated = n_rated(self.evidence.sums(query.tenant))
        kept = self.kept.of(query, situation.arms, rated, self.clock(), self._by_all_requests)
        selection = undrawn(query, situation.arms, conversation, kept.probabilities, *certain)
        recalled = Recalled(self.encoder.cached(query.text))
        return self._decision(situation, recalled, kept.weighed, selection, kept.candidates)

    def _by_all_requests(self, query: Query, arms: Sequence[Arm]) -> KeptWeighing:
        """The arms weighed by their global evidence, as for a query without a context."""
        weighed, _ = self._weigh(Situation(query, arms, ()), Recalled())
        probabilities = weighed.probabilities()
        return KeptWeighing(
            arms,
            self.clock(),
            weighed,
            probabilities,
            self._candidates(weighed, probabilities),
        )

    async def preview(self, query: Query) -> Decision:
        """Choose an arm without changing any state. Raises as `decide` does.

        A query that is narrowed already gets neither tags nor another rule.
        """
        eligible = None if query.turn.in_tool_loop else self._eligible(query, None)
        recalled, (conversation, missing) = await self._recall_with_conversation(query)
        arms, rejected = eligible or self._eligible(query, conversation)
        return self._weighed(Situation(query, arms, rejected, conversation, missing), recalled)

    def _eligible(
        self, query: Query, conversation: ConversationState | None
    ) -> tuple[Sequence[Arm], Sequence[types.Rejection]]:
        """The arms that may answer; the arm of a tool loop even if no other can."""
        if conversation is None or not query.turn.in_tool_loop:
            return self.catalog.eligible(query)
        return self.catalog.eligible(query, conversation.arm_id)

    def _weighed(self, situation: Situation, recalled: Recalled) -> Decision:
        """The decision by what was recalled for the query."""
        query = self.policies.with_task(situation.query, recalled.tags)
        if query is not situation.query:
            situation = replace(situation, query=query)
        if query.narrowing is None and not situation.stays_in_loop:
            situation = self._narrowed(situation, recalled.tags)
        situation.require_thread()
        weighed, neighbour_ease = self._weigh(situation, recalled)
        selection = select(
            weighed,
            self.rng,
            switch_margin=self.affinity.switch_margin,
            holdout=self._holdout(weighed.policy, query.options),
        )
        candidates = self._candidates(weighed, selection.probabilities)
        return self._decision(situation, recalled, weighed, selection, candidates, neighbour_ease)

    def _weigh(self, situation: Situation, recalled: Recalled) -> tuple[WeighedArms, Floats]:
        """The arms with the beliefs about them for the query, and the ease of the neighbours' requests."""
        query, arms = situation.query, situation.arms
        known = self.known.of(query.tenant, arms, self.catalog)
        evidence = self._evidence_of(query.tenant)
        ease = evidence.fitted.at(recalled.context)
        neighbour_ease = evidence.fitted.of(recalled.neighbours, ease)
        neighbours = neighbours_of(known.columns.index, recalled.neighbours, neighbour_ease)
        knobs = query.options.narrow(self.knobs)
        prior_state = known.prior_state(query, evidence, self.knobs, ease, self.clock().timestamp())
        beliefs = believe(prior_state, neighbours, knobs)
        policy = ThompsonPolicy(
            knobs,
            price=self.pacer.price,
            barred=self.pacer.barred(beliefs.expected_cost_usd),
            default_arm=known.columns.index.get(self.catalog.default_arm_id),
        )
        weighed = WeighedArms(
            query,
            arms,
            beliefs,
            utility_terms(beliefs, knobs, self.pacer.price),
            policy,
            situation.conversation,
            evidence.n_rated,
            known.columns.sources,
        )
        return weighed, neighbour_ease

    def _evidence_of(self, tenant: str) -> TenantEvidence:
        """The evidence on the tenant's arms, and the fit of ease; a new fit is begun if it is due."""
        sums = self.evidence.sums(tenant)
        rated = n_rated(sums)
        most = self.pooled_prior_mass
        return TenantEvidence(
            sums,
            self.evidence.histories(tenant),
            rated,
            self.ease_fitter.of(tenant, rated),
            None if most == 0 else Pool(most, partial(self.evidence.others, tenant)),
        )

    def _candidates(self, weighed: WeighedArms, probabilities: Floats) -> CandidateColumns:
        barred = weighed.policy.barred
        assert barred is not None
        return candidates(
            weighed.arms, weighed.sources, weighed.beliefs, weighed.terms, probabilities, barred
        )

    def _decision(
        self,
        situation: Situation,
        recalled: Recalled,
        weighed: WeighedArms,
        selection: Selection,
        considered: CandidateColumns,
        neighbour_ease: Floats | None = None,
    ) -> Decision:
        query, beliefs, index = situation.query, weighed.beliefs, selection.choice.index
        arm_id = situation.arms[index].arm_id
        missing = situation.missing if self.evidence.is_loaded else (*situation.missing, "store")
        return Decision(
            decision_id=uuid4(),
            query=query,
            kind=selection.kind,
            arm_id=arm_id,
            propensity=selection.choice.propensity,
            uniform=selection.choice.uniform,
            candidates=considered,
            rejected=tuple(situation.rejected),
            neighbours=recalled.neighbours,
            n_rated=weighed.n_rated,
            expert_weights=tuple(beliefs.prior_state.expert_weights.tolist()),
            ease=beliefs.prior_state.ease,
            neighbour_ease=() if neighbour_ease is None else tuple(neighbour_ease.tolist()),
            confidence=float(beliefs.posterior.mean[index]),
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

    def _narrowed(self, situation: Situation, tags: Sequence[Tag]) -> Situation:
        """What the policies leave to choose among, and the arms that may answer then.

        Raises as `Catalog.eligible` does, for the first choice of the policies.
        """
        arms = situation.arms
        first_error: NoEligibleArm | ContextTooLong | AllArmsFailed | None = None
        for narrowing in self.policies.narrow(situation.query, tags):
            narrowed = replace(situation, query=situation.query.narrowed(narrowing))
            if left := [arm for arm in arms if narrowing.allows(arm.arm_id)]:
                excluded = [
                    types.Rejection(arm.arm_id, narrowing.reason)
                    for arm in arms
                    if not narrowing.allows(arm.arm_id)
                ]
                return replace(narrowed, arms=left, rejected=[*situation.rejected, *excluded])
            try:  # an arm that is cooling down, or has refused a feature, may answer if no other can
                arms, rejected = self.catalog.eligible(narrowed.query)
                return replace(narrowed, arms=arms, rejected=rejected)
            except (NoEligibleArm, ContextTooLong, AllArmsFailed) as error:
                first_error = first_error or error
        if first_error is not None:
            raise first_error
        return situation

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
        if (context := self.encoder.cached(query.text)) is None:
            try:
                async with asyncio.timeout(self.embedding_timeout_s):
                    context = await self.encoder.encode(query.text)
            except (EncoderError, TimeoutError) as error:
                self.encoding.failed(error)
                return Recalled(degraded=("encoder",), tags=await self.policies.classify(query, None))
            self.encoding.succeeded()
        tags = await self.policies.classify(query, context)
        stand_in = ("routing_model",) if any(tag.source == STAND_IN for tag in tags) else ()
        query = self.policies.with_task(query, tags)
        if self.knobs.max_similar_requests == 0:
            return Recalled(context, degraded=stand_in, tags=tags)
        now = self.clock()
        try:
            async with asyncio.timeout(self.memory_timeout_s):
                neighbours = await self._nearest(context, query, now)
        except (MemoryUnavailable, TimeoutError) as error:
            self.recalling.failed(error)
            return Recalled(context, degraded=("memory", *stand_in), tags=tags)
        self.recalling.succeeded()
        neighbours = self.catalog.in_todays_prices(neighbours, now).rounded()
        return Recalled(context, neighbours, stand_in, tags)

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

    def _holdout(self, policy: ThompsonPolicy, options: Options) -> Holdout | None:
        """The share held out for the default arm; None if it cannot answer or `learn` is off."""
        if self.holdout_share == 0 or policy.default_arm is None or not options.learn:
            return None
        return Holdout(self.holdout_share, policy.default_arm)
