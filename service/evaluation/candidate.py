"""A candidate configuration: what it would have decided in a round of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs, Prior, PriorState, believe
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.records import PRIOR_KEPT, ArmRecords
from service.arms.catalog import USUAL_ANSWER_TOKENS
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.decision import LoggedRound, Neighbour
from service.domain.neighbours import NeighbourColumns
from service.domain.query import Options
from service.routing.arrays import as_floats, neighbours_of


@dataclass(frozen=True, slots=True)
class Repriced:
    """What an answer would cost at another price: usd * factor + added_usd."""

    factor: float = 1.0
    added_usd: float = 0.0  # above 0 where it was free

    def of(self, usd: float) -> float:
        return usd * self.factor + self.added_usd


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRound:
    """One round as the log and the candidate have it; arrays follow the arms that were eligible.

    Args:
        drawn: index of the arm drawn.
        logged, target: shape (n_arms,), probabilities; all 0 where it is unknown what the candidate would do.
        foretold: shape (3, n_arms), each arm's reward, dollars and seconds.
        repriced: how dollars of the arm drawn change by the candidate's prices.
        unseen: arms of the candidate that were not there yet.
    """

    drawn: int
    logged: Floats
    target: Floats
    predicted: Floats
    repriced: Repriced
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CandidateConfig:
    """Knobs and arms to evaluate.

    Args:
        default_arm_id: answers where confidence is missing, and what is held out.
        newcomers: ids of arms that came when others had been rated.
        added: ids of arms that came at runtime; before they came the candidate does without them.
        holdout_share: of requests that the default arm may answer, whether or not the log held any out.
        priced: the arms as they were priced when the log was written, by id.
    """

    knobs: Knobs
    arms: tuple[Arm, ...]
    default_arm_id: str
    priced: Mapping[str, Arm]
    newcomers: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    holdout_share: float = 0.0

    def weigh(self, logged: LoggedRound) -> JudgedRound:
        """Decide the round again, by the code that decides, from what was known then."""
        logged_decision = logged.explanation
        considered = [c["arm_id"] for c in logged_decision["candidates"]]
        propensities = np.array([c["probability"] for c in logged_decision["candidates"]])
        offered = {arm.arm_id: arm for arm in self.arms}
        there = {*considered, *(rejection["arm_id"] for rejection in logged_decision["rejected"])}
        unseen = tuple(arm_id for arm_id in offered if arm_id not in there | self.added)
        kept = np.array([arm_id in offered for arm_id in considered])
        predicted, target = _predicted(logged_decision["candidates"]), np.zeros_like(propensities)
        repriced = [self._repriced(arm_id, logged) for arm_id in considered]
        predicted[1] = [one.of(usd) for one, usd in zip(repriced, predicted[1], strict=True)]
        if kept.any():
            arms = [offered[arm_id] for arm_id in considered if arm_id in offered]
            beliefs = self._believe(arms, logged_decision, dict(zip(considered, repriced, strict=True)))
            predicted[:, kept] = [
                beliefs.predicted[-1],
                beliefs.expected_cost_usd,
                beliefs.expected_latency_s,
            ]
            if not unseen:
                target[kept] = self._probabilities(arms, beliefs, logged, _barred(logged_decision)[kept])
        drawn = considered.index(logged.arm_id)
        return JudgedRound(drawn, propensities, target, predicted, repriced[drawn], unseen)

    def _believe(
        self, arms: Sequence[Arm], logged_decision: Json, repriced: Mapping[str, Repriced]
    ) -> Beliefs:
        prior_states = {c["arm_id"]: c["prior_state"] for c in logged_decision["candidates"]}
        recalled = [
            Neighbour(**(n | {"decision_id": UUID(n["decision_id"])}))
            for n in logged_decision["neighbours"][: self.knobs.max_similar_requests]
        ]
        near = [replace(n, cost_usd=repriced.get(n.arm_id, Repriced()).of(n.cost_usd)) for n in recalled]
        seen = [prior_states[arm.arm_id] for arm in arms]
        prior_state = self._prior_state(arms, seen, logged_decision)
        cost_usd = [repriced[arm.arm_id].of(s["cost_usd"]) for arm, s in zip(arms, seen, strict=True)]
        today = replace(prior_state, cost_usd=np.array(cost_usd))
        neighbour_ease = as_floats(logged_decision.get("neighbour_ease") or [0.0] * len(recalled))
        neighbours = neighbours_of(arms, NeighbourColumns.of(near), neighbour_ease[: len(near)])
        return believe(today, neighbours, self._knobs(logged_decision))

    def _prior_state(self, arms: Sequence[Arm], seen: Sequence[Json], logged_decision: Json) -> PriorState:
        """What was known then, under the candidate's own priors."""

        def logged(name: str) -> Floats:
            return np.array([s[name] for s in seen], dtype=np.float64)

        nothing = np.zeros(len(arms))
        n_changes = np.array([s["n_changes"] for s in seen], dtype=np.int64)
        records = replace(
            ArmRecords.from_sums(Sums.zeros(len(arms))), n=logged("n_rated"), reward_sum=logged("reward_sum")
        )
        prior = Prior.of(
            quality=as_floats(arm.prior_quality for arm in arms),
            mass=as_floats(arm.prior_mass for arm in arms),
            cost_usd=nothing,
            latency_s=nothing,
            knobs=self.knobs,
            records=records,
            is_newcomer=np.array([arm.arm_id in self.newcomers for arm in arms], dtype=np.bool_),
        )
        return PriorState(
            prior_mean=prior.mean,
            prior_mass=prior.mass * np.where(n_changes > 0, PRIOR_KEPT, 1.0),
            n=records.n,
            reward_sum=records.reward_sum,
            deviation=logged("deviation"),
            cost_usd=logged("cost_usd"),
            latency_s=logged("latency_s"),
            epoch_age_s=np.array([np.inf if s["epoch_age_s"] is None else s["epoch_age_s"] for s in seen]),
            n_changes=n_changes,
            expert_weights=np.array(logged_decision["expert_weights"]),
            ease=logged_decision.get("ease", 0.0),
        )

    def _probabilities(
        self, arms: Sequence[Arm], beliefs: Beliefs, logged: LoggedRound, barred: Bools
    ) -> Floats:
        logged_decision = logged.explanation
        has_budget = self.knobs.budget_usd_per_request is not None
        default = [i for i, arm in enumerate(arms) if arm.arm_id == self.default_arm_id]
        probabilities = ThompsonPolicy(
            self._knobs(logged_decision),
            price=logged_decision["budget_price"],
            barred=barred if has_budget and not barred.all() else None,
            default_arm=default[0] if default else None,
        ).probabilities(beliefs)
        if not default:
            return probabilities
        return Holdout(self.holdout_share, default[0]).mix(probabilities)

    def _knobs(self, logged_decision: Json) -> Knobs:
        return Options(**logged_decision.get("own_weights", {})).narrow(self.knobs)

    def _repriced(self, arm_id: str, logged: LoggedRound) -> Repriced:
        """By what a usual answer costs at the candidate's price and at that of the log."""
        now = next((arm for arm in self.arms if arm.arm_id == arm_id), None)
        before = self.priced.get(arm_id)
        if now is None or before is None or now.price == before.price:
            return Repriced()
        new, old = _usual_cost_usd(now, logged), _usual_cost_usd(before, logged)
        return Repriced(factor=new / old) if old > 0 else Repriced(added_usd=new)


def _usual_cost_usd(arm: Arm, logged: LoggedRound) -> float:
    tokens = logged.n_prompt_tokens * arm.price.input + USUAL_ANSWER_TOKENS * arm.price.output
    return float(tokens) / 1_000_000


def _barred(logged_decision: Json) -> Bools:
    """Which arms the budget barred from this request; early logs gave them a probability of 0 and no word."""
    return np.array([c.get("barred", c["probability"] == 0) for c in logged_decision["candidates"]])


def _predicted(candidates: Sequence[Json]) -> Floats:
    """What the log says of every arm, in the order of JudgedRound.predicted."""
    return np.array(
        [[c["predicted"][-1], c["expected_cost_usd"], c["expected_latency_s"]] for c in candidates]
    ).T


def is_complete(logged: LoggedRound) -> bool:
    """Whether the decision's explanation has all that deciding it again needs; early ones have not."""
    candidates = logged.explanation["candidates"]
    return bool(candidates) and all("prior_state" in c for c in candidates)
