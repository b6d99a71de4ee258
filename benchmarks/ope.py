"""How often the intervals of off-policy evaluation hold the truth, on recorded outcomes.

    python -m benchmarks.ope --data FOLDER [--logs 400]

The folder holds `<set>.parquet` and `<set>.emb.npz`. Each log is written by the service's own learner from
requests drawn with replacement, so that the set is the population and the truth is known. Half of the logs
explore.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from bandit.arrays import Floats, Ints
from bandit.beliefs import Beliefs, Prior, Standing, believe
from bandit.evidence import Neighbours, Sums
from bandit.history import History, learn
from bandit.knobs import Knobs
from bandit.ope import NORMAL_975, Estimate, Forecast, Overlap, compare
from bandit.policy import ThompsonPolicy, draw
from bandit.track import Track
from benchmarks.learner import Fitting, Memory, rating_at
from benchmarks.streams import N_NEIGHBOURS, Recorded, read_set, set_names

N_ROUNDS = 1500
N_LOGS = 400
REGISTRY_NOISE = 0.1
EXPLORING = replace(Knobs(), exploration_rate=0.05)
FRESH_EVERY = 3  # rounds from one fresh request to the next: those tell the truth on requests like these
LEAST_NOISE = 0.01  # variance of a reward that is taken for certain, as in the service


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """Knobs to evaluate, without one of the arms or with all; no knobs: every arm as often."""

    name: str
    knobs: Knobs | None
    removed: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """A set as a population of requests; costs in units of the dearest arm's mean."""

    recorded: Recorded
    costs: Floats  # (n_rows, n_arms)
    quality: Floats  # (n_arms,), what is known beforehand

    @classmethod
    def of(cls, recorded: Recorded, is_known: bool, rng: np.random.Generator) -> World:
        quality = np.full(len(recorded.arms), np.nan)
        if is_known:
            noise = rng.normal(0.0, REGISTRY_NOISE, quality.size)
            quality = np.clip(recorded.scores.mean(axis=0) + noise, 0.02, 0.98)
        return cls(recorded, recorded.costs / recorded.costs.mean(axis=0).max(), quality)

    @property
    def n_arms(self) -> int:
        return len(self.recorded.arms)


@dataclass(slots=True, eq=False)
class Log:
    """What was logged, with what only the recorded outcomes know.

    Args:
        memory: what the learner remembers of the rounds so far.
        rows: shape (n,), of the set.
        propensities, predicted, expected: shape (n, n_arms); reward and dollars as foretold.
        targets: shape (n_candidates, n, n_arms).
        fresh_rows: of requests that only the candidates saw, in the state that the learner was in.
        fresh_targets: of each, shape (n_candidates, n_arms).
    """

    memory: Memory
    rows: Ints
    propensities: Floats
    predicted: Floats
    expected: Floats
    targets: Floats
    fresh_rows: list[int]
    fresh_targets: list[Floats]

    @classmethod
    def blank(cls, rows: Ints, n_arms: int, n_candidates: int) -> Log:
        n = rows.size
        propensities, predicted, expected = np.zeros((3, n, n_arms))
        targets = np.zeros((n_candidates, n, n_arms))
        return cls(Memory.blank(n), rows, propensities, predicted, expected, targets, [], [])


@dataclass(frozen=True, slots=True)
class State:
    """What the learner knows at one moment, under any knobs."""

    quality: Floats
    price: Floats
    sums: Sums
    track: Track
    difficulty: float

    def standing(self, knobs: Knobs) -> Standing:
        nothing = np.zeros_like(self.price)
        unknown = np.full_like(self.price, np.nan)
        prior = Prior.of(self.quality, unknown, self.price, nothing, knobs, self.track)
        return Standing.of(prior, self.sums, self.track, self.difficulty)

    def probabilities(self, candidate: Candidate, near: Neighbours) -> Floats:
        """Of every arm; 0 for the one that the candidate does without."""
        if candidate.knobs is None:
            return np.full(self.price.size, 1 / self.price.size)
        standing = self.standing(candidate.knobs)
        if candidate.removed is None:
            return ThompsonPolicy(candidate.knobs).probabilities(believe(standing, near, candidate.knobs))
        beliefs = believe(*_without(candidate.removed, standing, near), candidate.knobs)
        return np.insert(ThompsonPolicy(candidate.knobs).probabilities(beliefs), candidate.removed, 0.0)


def _without(arm: int, standing: Standing, near: Neighbours) -> tuple[Standing, Neighbours]:
    per_arm: dict[str, Any] = {
        f.name: np.delete(getattr(standing, f.name), arm) for f in fields(Standing)[:-2]
    }
    others = near.arm != arm
    kept = {f.name: getattr(near, f.name)[others] for f in fields(Neighbours)}
    return replace(standing, **per_arm), Neighbours(**{**kept, "arm": kept["arm"] - (kept["arm"] > arm)})


def write_log(
    world: World,
    logging: Knobs,
    candidates: Sequence[Candidate],
    rows: Ints,
    unseen: Ints,
    rng: np.random.Generator,
) -> Log:
    """Let the learner answer requests, and the candidates decide each of them in its place.

    Args:
        rows: of the set, the requests.
        unseen: rows for the fresh requests, of which one is taken every third round.
    """
    recorded, n_arms = world.recorded, world.n_arms
    log = Log.blank(rows, n_arms, len(candidates))
    contexts = recorded.contexts[log.rows]
    histories = [History() for _ in range(n_arms)]
    fitting = Fitting.blank(contexts, n_arms)
    for t, row in enumerate(log.rows):
        fitting.keep_up(log.memory, range(t), histories, float(t))
        state = _state(world, histories, log.memory, fitting, t)
        near = _recall(contexts[:t], recorded.contexts[row], log.memory, fitting)
        beliefs = believe(state.standing(logging), near, logging)
        log.propensities[t] = ThompsonPolicy(logging).probabilities(beliefs)
        log.predicted[t], log.expected[t] = beliefs.predicted[-1], beliefs.expected_cost_usd
        log.targets[:, t] = [state.probabilities(candidate, near) for candidate in candidates]
        if t % FRESH_EVERY == 0:
            fresh = int(unseen[t // FRESH_EVERY])
            around = _recall(contexts[:t], recorded.contexts[fresh], log.memory, fitting)
            there = replace(state, difficulty=fitting.at(recorded.contexts[fresh]))
            log.fresh_rows.append(fresh)
            log.fresh_targets.append(np.array([there.probabilities(c, around) for c in candidates]))
        arm = draw(log.propensities[t], rng).index
        _remember(log.memory, t, arm, world, int(row), beliefs)
        histories[arm] = learn(histories[arm], rating_at(log.memory, t))
    return log


def _state(world: World, histories: Sequence[History], memory: Memory, fitting: Fitting, t: int) -> State:
    nothing = np.zeros(world.n_arms)
    arms = memory.arm[:t]
    n_calls = np.bincount(arms, minlength=world.n_arms).astype(np.float64)
    spent = np.bincount(arms, memory.cost[:t], minlength=world.n_arms).astype(np.float64)
    return State(
        world.quality,
        world.costs.mean(axis=0),
        Sums(nothing, nothing, n_calls, spent, nothing),
        Track.of(histories, float(t), float(t), fitting.sums_of(histories)),
        float(fitting.of_requests[t]),
    )


def _recall(contexts: Floats, context: Floats, memory: Memory, fitting: Fitting) -> Neighbours:
    cosine = contexts @ context
    near = np.flatnonzero(cosine > 0)
    if near.size > N_NEIGHBOURS:
        near = near[np.argpartition(-cosine[near], N_NEIGHBOURS)[:N_NEIGHBOURS]]
    return Neighbours(
        arm=memory.arm[near],
        similarity=cosine[near].astype(np.float64),
        age_s=(contexts.shape[0] - near).astype(np.float64),
        reward=memory.reward[near],
        cost_usd=memory.cost[near],
        latency_s=np.zeros(near.size),
        weight=np.ones(near.size),
        difficulty=fitting.of_requests[near],
    )


def _remember(memory: Memory, t: int, arm: int, world: World, row: int, beliefs: Beliefs) -> None:
    memory.arm[t], memory.n_rated[t] = arm, t
    memory.reward[t], memory.cost[t] = world.recorded.scores[row, arm], world.costs[row, arm]
    memory.predicted[t] = beliefs.predicted[:, arm]
    memory.deviation[t] = beliefs.standing.deviation[arm]
    memory.n_changes[t] = beliefs.standing.n_changes[arm]


# --- how the intervals did ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """One estimate of one log, held against the truth.

    Args:
        candidate, measure, estimator: which.
        is_held: whether the interval holds the value on requests like these.
        is_held_here: whether it holds the value on the very requests of the log.
        is_difference_held: whether that of the difference holds it, on these requests.
        width, difference_width: of the intervals.
    """

    candidate: str
    measure: str
    estimator: str
    is_held: bool
    is_held_here: bool
    is_difference_held: bool
    width: float
    difference_width: float


def verdicts(world: World, log: Log, candidates: Sequence[Candidate]) -> Iterator[Verdict | str]:
    """Every estimate of a log; the candidate's name alone where there is none."""
    arm = log.memory.arm
    for candidate, target, fresh in zip(
        candidates, log.targets, np.array(log.fresh_targets).swapaxes(0, 1), strict=True
    ):
        overlap = Overlap.of(log.propensities, target, arm)
        if not overlap.is_enough:
            yield candidate.name
            continue
        for measure, outcomes, predicted in (
            ("reward", world.recorded.scores, log.predicted),
            ("dollars", world.costs, log.expected),
        ):
            noise = np.maximum(predicted * (1 - predicted), LEAST_NOISE)
            forecast = Forecast.of(
                log.propensities, target, arm, predicted, noise if measure == "reward" else predicted**2
            )
            here = outcomes[log.rows]
            value_here = float((target * here).sum(axis=1).mean())
            more_here = value_here - float((log.propensities * here).sum(axis=1).mean())
            value = population_value(fresh, outcomes, np.array(log.fresh_rows))
            drawn = here[np.arange(arm.size), arm]
            for estimator, by in compare(drawn, overlap, forecast).items():
                yield Verdict(
                    candidate.name,
                    measure,
                    estimator,
                    is_held=_is_held(by.candidate, value),
                    is_held_here=_is_held(by.candidate, Estimate(value_here, 0.0)),
                    is_difference_held=_is_held(by.difference, Estimate(more_here, 1e-9)),
                    width=by.candidate.high - by.candidate.low,
                    difference_width=by.difference.high - by.difference.low,
                )


def _is_held(estimate: Estimate, truth: Estimate) -> bool:
    """Whether they differ by no more than they should; the truth has a small error of its own."""
    error = np.hypot(estimate.standard_error, truth.standard_error)
    return bool(abs(estimate.value - truth.value) <= NORMAL_975 * error)


def population_value(targets: Floats, outcomes: Floats, rows: Ints) -> Estimate:
    """Estimate the mean of sum_a pi(a) y_a over the whole set from some of its rows.

    By regression on the arms' outcomes, whose means over the set are known, and which explain most of it.
    """
    seen = (targets * outcomes[rows]).sum(axis=1)
    basis = np.column_stack([np.ones(rows.size), outcomes[rows] - outcomes.mean(axis=0)])
    slopes, *_ = np.linalg.lstsq(basis, seen, rcond=None)
    left = seen - basis @ slopes
    return Estimate(float(slopes[0]), float(left.std() / np.sqrt(rows.size)))


# --- the command ----------------------------------------------------------------------------------------


def candidates_for(logging: Knobs, recorded: Recorded) -> list[Candidate]:
    second = int(np.argsort(-recorded.scores.mean(axis=0))[1])
    return [
        Candidate("the running knobs", logging),
        Candidate("cost_weight -0.3", replace(logging, cost_weight=-0.3)),
        Candidate("cost_weight -0.1", replace(logging, cost_weight=-0.1)),
        Candidate("exploration_rate 0.02", replace(logging, exploration_rate=0.02)),
        Candidate("prior 0.5, mass 3", replace(logging, optimistic_prior=0.5, optimistic_prior_mass=3.0)),
        Candidate("second best arm removed", logging, second),
        Candidate("every arm as often", None),
    ]


def judge(folder: Path, seed: int) -> list[Verdict | str]:
    """Write one log, evaluate every candidate on it."""
    names = set_names(folder)
    recorded = read_set(folder, names[seed % len(names)])
    logging = EXPLORING if seed >= N_LOGS // 2 else Knobs()
    rng = np.random.default_rng(seed)
    rows, unseen = rng.integers(0, recorded.n, N_ROUNDS), rng.permutation(recorded.n)
    world = World.of(recorded, is_known=seed // len(names) % 2 == 0, rng=rng)
    candidates = candidates_for(logging, recorded)
    return list(verdicts(world, write_log(world, logging, candidates, rows, unseen, rng), candidates))


def table(found: Sequence[Verdict | str], names: Sequence[str]) -> str:
    groups: defaultdict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for one in found:
        if isinstance(one, Verdict):
            for name in (one.candidate, "all"):
                groups[name, one.measure, one.estimator].append(one)
    lines = [
        "interval holds: value on requests like these, on these requests; difference on these requests",
        f"{'candidate':26}{'measure':9}{'estimator':15}{'logs':>5}{'like these':>12}{'these':>8}"
        f"{'difference':>12}{'width':>9}{'width':>9}",
    ]
    rank = {name: i for i, name in enumerate([*names, "all"])}
    for (name, measure, estimator), of in sorted(groups.items(), key=lambda group: rank[group[0][0]]):
        held = [np.mean([getattr(v, f"is_{what}") for v in of]) for what in ("held", "held_here")]
        difference = np.mean([v.is_difference_held for v in of])
        widths = [np.mean([v.width for v in of]), np.mean([v.difference_width for v in of])]
        lines.append(
            f"{name:26}{measure:9}{estimator:15}{len(of):5}{held[0]:12.3f}{held[1]:8.3f}{difference:12.3f}"
            f"{widths[0]:9.4f}{widths[1]:9.4f}"
        )
    refused = [f"{name} {found.count(name)}" for name in names if found.count(name)]
    return "\n".join([*lines, f"refused: {', '.join(refused)}"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--logs", type=int, default=N_LOGS)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args(arguments)
    half = given.logs // 2
    seeds = [*range(half), *range(N_LOGS // 2, N_LOGS // 2 + half)]
    with ProcessPoolExecutor(given.jobs) as pool:
        found = [one for of in pool.map(judge, [given.data] * len(seeds), seeds) for one in of]
    any_set = read_set(given.data, set_names(given.data)[0])
    print(table(found, [candidate.name for candidate in candidates_for(Knobs(), any_set)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
