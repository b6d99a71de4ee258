"""How often the intervals of off-policy evaluation contain the truth, on recorded outcomes.

    python -m benchmarks.ope --data FOLDER [--logs 400]

The folder contains `<set>.parquet` and `<set>.emb.npz`. The service's learner writes each log from requests
drawn with replacement, so that the set is the population and the truth is known. Half of the logs explore.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from bandit.arrays import Floats, Ints
from bandit.knobs import Knobs
from bandit.ope import NORMAL_975, Estimate, Forecast, Overlap, compare
from benchmarks.logs import Candidate, Log, World, write_log
from benchmarks.sets import Recorded, read_set, set_names

N_ROUNDS = 1500
N_LOGS = 400
EXPLORING = replace(Knobs(), exploration_rate=0.05)
LEAST_NOISE = 0.01  # variance of a reward that is predicted as certain, as in the service


@dataclass(frozen=True, slots=True)
class JudgedEstimate:
    """One estimate from one log, compared with the truth.

    Args:
        candidate, measure, estimator: names.
        is_covered: whether the interval contains the value on requests like these.
        is_covered_here: whether the interval contains the value on the requests of the log.
        is_difference_covered: whether the difference's interval contains it, on the requests of the log.
        width, difference_width: of the intervals.
    """

    candidate: str
    measure: str
    estimator: str
    is_covered: bool
    is_covered_here: bool
    is_difference_covered: bool
    width: float
    difference_width: float


def judged_estimates(
    world: World, log: Log, candidates: Sequence[Candidate]
) -> Iterator[JudgedEstimate | str]:
    """Yield every estimate of a log; only the candidate's name if its evaluation is refused."""
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
            logged = outcomes[log.rows]
            log_value = float((target * logged).sum(axis=1).mean())
            log_difference = log_value - float((log.propensities * logged).sum(axis=1).mean())
            value = population_value(fresh, outcomes, np.array(log.fresh_rows))
            drawn = logged[np.arange(arm.size), arm]
            for estimator, by in compare(drawn, overlap, forecast).items():
                yield JudgedEstimate(
                    candidate.name,
                    measure,
                    estimator,
                    is_covered=_covers(by.candidate, value),
                    is_covered_here=_covers(by.candidate, Estimate(log_value, 0.0)),
                    is_difference_covered=_covers(by.difference, Estimate(log_difference, 1e-9)),
                    width=by.candidate.high - by.candidate.low,
                    difference_width=by.difference.high - by.difference.low,
                )


def _covers(estimate: Estimate, truth: Estimate) -> bool:
    """Whether the interval contains the truth, which has a small error of its own."""
    error = np.hypot(estimate.standard_error, truth.standard_error)
    return bool(abs(estimate.value - truth.value) <= NORMAL_975 * error)


def population_value(targets: Floats, outcomes: Floats, rows: Ints) -> Estimate:
    """Estimate the mean of sum_a pi(a) y_a over the whole set from some of its rows.

    The estimate is a regression on the arms' outcomes, whose means over the set are known and which explain
    most of the variance.
    """
    values = (targets * outcomes[rows]).sum(axis=1)
    basis = np.column_stack([np.ones(rows.size), outcomes[rows] - outcomes.mean(axis=0)])
    slopes, *_ = np.linalg.lstsq(basis, values, rcond=None)
    residuals = values - basis @ slopes
    return Estimate(float(slopes[0]), float(residuals.std() / np.sqrt(rows.size)))


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


def judge(folder: Path, seed: int) -> list[JudgedEstimate | str]:
    """Write one log and evaluate every candidate on it."""
    names = set_names(folder)
    recorded = read_set(folder, names[seed % len(names)])
    logging = EXPLORING if seed >= N_LOGS // 2 else Knobs()
    rng = np.random.default_rng(seed)
    rows, unseen = rng.integers(0, recorded.n, N_ROUNDS), rng.permutation(recorded.n)
    world = World.of(recorded, is_known=seed // len(names) % 2 == 0, rng=rng)
    candidates = candidates_for(logging, recorded)
    return list(judged_estimates(world, write_log(world, logging, candidates, rows, unseen, rng), candidates))


def table(found: Sequence[JudgedEstimate | str], names: Sequence[str]) -> str:
    groups: defaultdict[tuple[str, str, str], list[JudgedEstimate]] = defaultdict(list)
    for estimate in found:
        if isinstance(estimate, JudgedEstimate):
            for name in (estimate.candidate, "all"):
                groups[name, estimate.measure, estimate.estimator].append(estimate)
    lines = [
        "interval contains: value on requests like these, on these requests; difference on these requests",
        f"{'candidate':26}{'measure':9}{'estimator':15}{'logs':>5}{'like these':>12}{'these':>8}"
        f"{'difference':>12}{'width':>9}{'width':>9}",
    ]
    rank = {name: i for i, name in enumerate([*names, "all"])}
    for (name, measure, estimator), group in sorted(groups.items(), key=lambda item: rank[item[0][0]]):
        like_these = np.mean([e.is_covered for e in group])
        these = np.mean([e.is_covered_here for e in group])
        difference = np.mean([e.is_difference_covered for e in group])
        width, difference_width = (
            np.mean([e.width for e in group]),
            np.mean([e.difference_width for e in group]),
        )
        lines.append(
            f"{name:26}{measure:9}{estimator:15}{len(group):5}{like_these:12.3f}{these:8.3f}{difference:12.3f}"
            f"{width:9.4f}{difference_width:9.4f}"
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
    options = parser.parse_args(arguments)
    half = options.logs // 2
    seeds = [*range(half), *range(N_LOGS // 2, N_LOGS // 2 + half)]
    os.environ["OMP_NUM_THREADS"] = "1"  # more threads only wait; a new process reads it when it loads numpy
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        logs = pool.map(judge, [options.data] * len(seeds), seeds)
        found = [estimate for estimates in logs for estimate in estimates]
    any_set = read_set(options.data, set_names(options.data)[0])
    print(table(found, [candidate.name for candidate in candidates_for(Knobs(), any_set)]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
