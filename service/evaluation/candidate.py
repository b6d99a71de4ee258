"""A candidate configuration, and its decision in a round of the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandit.arrays import Bools, Floats
from bandit.beliefs import Beliefs, PriorState, believe
from bandit.evidence import Sums
from bandit.knobs import Knobs
from bandit.policy import Holdout, ThompsonPolicy
from bandit.prior import Prior
from bandit.records import PRIOR_KEPT, ArmRecords
from service.arms.eligibility import USUAL_ANSWER_TOKENS
from service.domain.arm import Arm
from service.domain.basics import Json
from service.domain.decision import LoggedRound
from service.domain.logged_neighbours import recalled_neighbours
from service.domain.neighbours import NeighbourColumns
from service.domain.query import Options
from service.routing.arrays import as_floats, neighbours_of, prices_of
from service.routing.priors import relative_of


@dataclass(frozen=True, slots=True)
class Repriced:
    """The cost of an answer at another price: usd * factor + added_usd."""

    factor: float = 1.0
    added_usd: float = 0.0  # above 0 if the answer was free

    def of(self, usd: float) -> float:
        return usd * self.factor + self.added_usd


@dataclass(frozen=True, slots=True, eq=False)
class JudgedRound:
    """One round as decided by the log and by the candidate; arrays are in the order of the eligible arms.

    Args:
        drawn: index of the drawn arm.
        logged, target: shape (n_arms,), probabilities; target is all 0 if the candidate cannot be judged.
        predicted: shape (3, n_arms), each arm's reward, dollars and seconds.
        repriced: the cost of the drawn arm at the candidate's prices.
        unseen: arms of the candidate that did not exist yet.
    """

    drawn: int
    logged: Floats
    target: Floats
    predicted: Floats
    repriced: Repriced
    unseen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CandidateConfig:
    """The knobs and arms to evaluate.

    Args:
        default_arm_id: answers if no arm is trusted, and answers held-out requests.
        newcomers: ids of arms that were added after others had been rated.
        added: ids of arms added at runtime; in earlier rounds the candidate does without them.
        holdout_share: of requests that the default arm may answer, also if the log held none out.
        priced: the arms at the prices of the log, by id.
    """

    knobs: Knobs
    arms: tuple[Arm, ...]
    default_arm_id: str
    priced: Mapping[str, Arm]
    newcomers: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    holdout_share: float = 0.0

    def weigh(self, logged: LoggedRound) -> JudgedRound:
        """Decide the round again, with the code of the router, from the evidence of that time."""
        logged_decision = logged.explanation
        considered = [c["arm_id"] for c in logged_decision["candidates"]]
        propensities = np.array([c["probability"] for c in logged_decision["candidates"]])
        own_arms = {arm.arm_id: arm for arm in self.arms}
        existing = {*considered, *(rejection["arm_id"] for rejection in logged_decision["rejected"])}
        unseen = tuple(arm_id for arm_id in own_arms if arm_id not in existing | self.added)
        is_own = np.array([arm_id in own_arms for arm_id in considered])
        predicted, target = _predicted(logged_decision["candidates"]), np.zeros_like(propensities)
        repriced = [self._repriced(arm_id, logged) for arm_id in considered]
        predicted[1] = [r.of(usd) for r, usd in zip(repriced, predicted[1], strict=True)]
        if is_own.any():
            arms = [own_arms[arm_id] for arm_id in considered if arm_id in own_arms]
            beliefs = self._believe(arms, logged_decision, dict(zip(considered, repriced, strict=True)))
            predicted[:, is_own] = [
                beliefs.predicted[-1],
                beliefs.expected_cost_usd,
                beliefs.expected_latency_s,
            ]
            if not unseen:
                target[is_own] = self._probabilities(arms, beliefs, logged, _barred(logged_decision)[is_own])
        drawn = considered.index(logged.arm_id)
        return JudgedRound(drawn, propensities, target, predicted, repriced[drawn], unseen)

    def _believe(
        self, arms: Sequence[Arm], logged_decision: Json, repriced: Mapping[str, Repriced]
    ) -> Beliefs:
        prior_states = {c["arm_id"]: c["prior_state"] for c in logged_decision["candidates"]}
        recalled, logged_ease = recalled_neighbours(logged_decision)
        recalled = recalled.of_prompts(self.knobs.max_similar_requests)
        recalled = replace(recalled, cost_usd=_repriced_usd(recalled, repriced))
        known = [prior_states[arm.arm_id] for arm in arms]
        prior_state = self._prior_state(arms, known, logged_decision)
        cost_usd = [repriced[arm.arm_id].of(s["cost_usd"]) for arm, s in zip(arms, known, strict=True)]
        factors = np.array([repriced[arm.arm_id].factor for arm in arms])
        error = prior_state.cost_usd_error * factors
        prior_state = replace(prior_state, cost_usd=np.array(cost_usd), cost_usd_error=error)
        neighbour_ease = as_floats(logged_ease[: len(recalled)] or [0.0] * len(recalled))
        neighbours = neighbours_of({arm.arm_id: i for i, arm in enumerate(arms)}, recalled, neighbour_ease)
        return believe(prior_state, neighbours, self._knobs(logged_decision))

    def _prior_state(self, arms: Sequence[Arm], known: Sequence[Json], logged_decision: Json) -> PriorState:
        """The evidence of that time with the candidate's own priors."""

        def logged(name: str) -> Floats:
            return np.array([s.get(name, 0.0) for s in known], dtype=np.float64)

        zeros = np.zeros(len(arms))
        n_changes = np.array([s["n_changes"] for s in known], dtype=np.int64)
        records = replace(
            ArmRecords.from_sums(Sums.zeros(len(arms))),
            n=logged("n_rated"),
            reward_sum=logged("reward_sum"),
            prior_kept=np.where(n_changes > 0, PRIOR_KEPT, 1.0),
        )
        prior = Prior.of(
            quality=as_floats(arm.prior_quality for arm in arms),
            mass=as_floats(arm.prior_mass for arm in arms),
            cost_usd=zeros,
            latency_s=zeros,
            knobs=self.knobs,
            records=records,
            is_newcomer=np.array([arm.arm_id in self.newcomers for arm in arms], dtype=np.bool_),
            price=prices_of(arms),
            is_relative=relative_of(arms),
        )
        return PriorState(
            prior_mean=prior.mean,
            prior_mass=prior.mass * records.prior_kept,
            n=records.n,
            reward_sum=records.reward_sum,
            deviation=logged("deviation"),
            cost_usd=logged("cost_usd"),
            cost_usd_error=logged("cost_usd_error"),
            latency_s=logged("latency_s"),
            latency_s_error=logged("latency_s_error"),
            epoch_age_s=np.array([np.inf if s["epoch_age_s"] is None else s["epoch_age_s"] for s in known]),
            n_changes=n_changes,
            expert_weights=np.array(logged_decision["expert_weights"]),
            ease=logged_decision.get("ease", 0.0),
            prior_offset=prior.offset,
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
        """The ratio of the cost of a usual answer at the candidate's price to that at the log's."""
        now = next((arm for arm in self.arms if arm.arm_id == arm_id), None)
        before = self.priced.get(arm_id)
        if now is None or before is None or now.expected_price == before.expected_price:
            return Repriced()
        new, old = _usual_cost_usd(now, logged), _usual_cost_usd(before, logged)
        return Repriced(factor=new / old) if old > 0 else Repriced(added_usd=new)


def _usual_cost_usd(arm: Arm, logged: LoggedRound) -> float:
    price = arm.expected_price
    tokens = logged.n_prompt_tokens * price.input + USUAL_ANSWER_TOKENS * price.output
    return float(tokens) / 1_000_000


def _repriced_usd(neighbours: NeighbourColumns, repriced: Mapping[str, Repriced]) -> Floats:
    """What the neighbours cost at the candidate's prices."""
    of_arms = [repriced.get(arm_id, Repriced()) for arm_id in neighbours.arm_ids]
    pairs = zip(neighbours.arm.tolist(), neighbours.cost_usd.tolist(), strict=True)
    return as_floats(of_arms[arm].of(usd) for arm, usd in pairs)


def _barred(logged_decision: Json) -> Bools:
    """Which arms the budget barred; early logs only have a probability of 0 for them."""
    return np.array([c.get("barred", c["probability"] == 0) for c in logged_decision["candidates"]])


def _predicted(candidates: Sequence[Json]) -> Floats:
    """The logged predictions for every arm, in the order of JudgedRound.predicted."""
    return np.array(
        [[c["predicted"][-1], c["expected_cost_usd"], c["expected_latency_s"]] for c in candidates]
    ).T


def is_complete(logged: LoggedRound) -> bool:
    """Whether the logged explanation is enough to decide again; those of early versions are not."""
    candidates = logged.explanation["candidates"]
    return bool(candidates) and all("prior_state" in c for c in candidates)
