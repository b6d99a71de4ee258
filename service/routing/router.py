"""Router.decide: query -> Decision, the straight line of the product."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs, Prior, PriorState, believe
from bandit.budget import Pacer
from bandit.drift import ArmHistory
from bandit.evidence import Neighbours, Sums
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.records import ArmRecords
from bandit.utility import UtilityTerms, utility_terms
from embeddings.encoder import EncoderError, TextEncoder
from service.arms.catalog import Catalog, list_cost_usd
from service.completion.request_run import RequestRun
from service.conversations.affinity import ConversationAffinity
from service.domain import decision as types
from service.domain.arm import Arm, ArmSums
from service.domain.basics import DecisionKind, Vector
from service.domain.conversation import ConversationState
from service.domain.decision import Candidate, Decision
from service.domain.neighbours import NeighbourColumns
from service.domain.ports import Clock, Evidence, Memory
from service.domain.query import Options, Query
from service.errors import MemoryUnavailable
from service.routing.budget import charge
from service.routing.ease import EaseFitter, FittedEase
from service.routing.selection import WeighedArms, select

TASK_IS_KNOWN = 20  # rated requests of one task, from which they alone speak for it
USUAL_LATENCY_S = 1.0  # of an arm that was never called


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a query: its context, and the rated decisions near it."""

    context: Vector | None = None
    near: NeighbourColumns = field(default_factory=lambda: NeighbourColumns.of([]))
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
            weight = narrowed(self.knobs, query.options).feedback_weight
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
        knobs = narrowed(self.knobs, query.options)
        rated = n_rated(self.evidence.sums(query.tenant))
        fitted = self.ease_fitter.of(query.tenant, rated)
        here = fitted.at(recalled.context)
        neighbour_ease = fitted.of(recalled.near, here)
        near = neighbours_of(arms, recalled.near, neighbour_ease)
        beliefs = believe(self._prior_state(arms, query, fitted, here, knobs), near, knobs)
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
            neighbours=recalled.near,
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

    def settle(self, run: RequestRun) -> None:
        """Tell the budget what a run did cost, once; arms that callers name are not the budget's.

        Where another arm than the decided one answered, the conversation goes on with that.
        """
        self.affinity.put(run.query, run.moved_conversation(self.clock()))
        if run.kind != "pinned":
            self.pacer.settle(run.reserved_usd, float(run.cost_usd))

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
                near = await self._near(context, query, now)
        except (MemoryUnavailable, TimeoutError):
            return Recalled(context, degraded=("memory",))
        return Recalled(context, self.catalog.in_todays_prices(near, now))

    async def _near(self, context: Vector, query: Query, now: datetime) -> NeighbourColumns:
        """The nearest of the query's own task, once there are enough of them; else the nearest of all."""
        recall = partial(
            self.memory.recall,
            context,
            tenant=query.tenant,
            limit=self.knobs.max_similar_requests,
            min_similarity=self.knobs.similarity_threshold,
            since=now - timedelta(days=self.knobs.recency_days),
            now=now,
        )
        if (task := query.options.task) is not None:
            of_the_task = await recall(task=task)
            if len(of_the_task) >= min(TASK_IS_KNOWN, self.knobs.max_similar_requests):
                return of_the_task
        return await recall()

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


def narrowed(knobs: Knobs, options: Options) -> Knobs:
    """The knobs with the caller's own weights."""
    own = options.feedback_weight, options.latency_weight, options.cost_weight
    if own == (None, None, None):
        return knobs

    def given(own: float | None, operators: float) -> float:
        return operators if own is None else own

    return replace(
        knobs,
        feedback_weight=given(options.feedback_weight, knobs.feedback_weight),
        latency_weight=given(options.latency_weight, knobs.latency_weight),
        cost_weight=given(options.cost_weight, knobs.cost_weight),
    )


def sums_of(arms: Sequence[Arm], known: Mapping[str, ArmSums]) -> Sums:
    """The evidence on these arms, in their order."""
    nothing = ArmSums()
    sums = [known.get(arm.arm_id, nothing) for arm in arms]
    rows = [(s.n, s.reward_sum, s.n_outcomes, s.cost_usd_sum, s.latency_s_sum) for s in sums]
    return Sums(*np.array(rows, dtype=np.float64).T)


def histories_of(arms: Sequence[Arm], known: Mapping[str, ArmHistory]) -> list[ArmHistory]:
    """The histories of these arms, in their order."""
    return [known.get(arm.arm_id) or ArmHistory() for arm in arms]


def n_rated(known: Mapping[str, ArmSums]) -> float:
    """A tenant's rated requests, of all arms."""
    return float(sum(sums.n for sums in known.values()))


def neighbours_of(arms: Sequence[Arm], near: NeighbourColumns, neighbour_ease: Floats) -> Neighbours:
    """Those answered by one of these arms.

    Args:
        neighbour_ease: of the neighbours' requests, in their order.
    """
    index = {arm.arm_id: i for i, arm in enumerate(arms)}
    arm = np.array([index.get(arm_id, -1) for arm_id in near.arm_ids], dtype=np.int64)[near.arm]
    is_known = arm >= 0
    return Neighbours(
        arm=arm[is_known],
        similarity=near.similarity[is_known],
        age_s=near.age_s[is_known],
        reward=near.reward[is_known],
        cost_usd=near.cost_usd[is_known],
        latency_s=near.latency_s[is_known],
        weight=near.weight[is_known],
        ease=neighbour_ease[is_known],
    )


def candidates(
    arms: Sequence[Arm], beliefs: Beliefs, terms: UtilityTerms, probabilities: Floats, barred: Bools
) -> tuple[Candidate, ...]:
    """What was weighed, arm by arm."""
    columns = zip(
        arms,
        probabilities.tolist(),
        prior_states(beliefs.prior_state),
        beliefs.predicted.T.tolist(),
        beliefs.posterior.alpha.tolist(),
        beliefs.posterior.beta.tolist(),
        beliefs.local_mass.tolist(),
        terms.bonus.tolist(),
        beliefs.expected_latency_s.tolist(),
        beliefs.expected_cost_usd.tolist(),
        terms.quality.tolist(),
        terms.speed.tolist(),
        terms.cost.tolist(),
        terms.spend.tolist(),
        terms.total.tolist(),
        barred.tolist(),
        strict=True,
    )
    return tuple(
        Candidate(arm.arm_id, probability, prior_state, tuple(predicted), *numbers)
        for arm, probability, prior_state, predicted, *numbers in columns
    )


def prior_states(known: PriorState) -> list[types.LoggedPriorState]:
    """What is logged of each arm's standing."""
    columns = zip(
        known.prior_mean.tolist(),
        known.prior_mass.tolist(),
        known.n.tolist(),
        known.reward_sum.tolist(),
        known.deviation.tolist(),
        known.cost_usd.tolist(),
        known.latency_s.tolist(),
        (age_s if age_s < np.inf else None for age_s in known.epoch_age_s.tolist()),
        known.n_changes.tolist(),
        strict=True,
    )
    return [types.LoggedPriorState(*column) for column in columns]


def as_floats(values: Iterable[float | None]) -> Floats:
    """Numbers, NaN where there is none."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
