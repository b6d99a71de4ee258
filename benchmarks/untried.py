"""What arms of unknown quality cost beside known ones, by the rule that guesses their prior.

    python -m benchmarks.untried --data FOLDER

Every stream is played under both rules: `alone`, which ignores the known arms, and `price class`, the
learner's. Known arms have registry priors, or those of the shipped table. Free arms cost nothing. Neighbours
are left out: they do not change the prior, and take half of the time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from bandit import prior
from bandit.arrays import Bools, Floats
from bandit.knobs import Knobs
from bandit.records import ArmRecords
from benchmarks.learner import Setting, public, registry, replay
from benchmarks.measures.task import Row, Task, gaps
from benchmarks.priors import tasks
from benchmarks.streams import Stream
from benchmarks.summary import mean_over

FIRST_SEED = 400
N_REQUESTS = 1000
LAMBDAS = (1 / 3,)
Guess = Callable[[Floats, Floats, Bools, ArmRecords, Bools, Floats], tuple[Floats, Floats]]


def _alone(
    mean: Floats, mass: Floats, known: Bools, records: ArmRecords, joined: Bools, price: Floats
) -> tuple[Floats, Floats]:
    """Guess as if no quality were known."""
    return prior._guess_alone(records, joined, Knobs())


GUESSES: dict[str, Guess] = {"alone": _alone, "price class": prior._guess_beside_known}


def conditions(stream: Stream, seed: int) -> Iterator[tuple[str, Stream, Floats]]:
    """Each condition's name, stream and prior means; NaN: unknown."""
    rng = np.random.default_rng(55_000 + seed)
    n_arms = stream.quality.size
    known = registry(stream, seed)
    best, worst = int(stream.quality.argmax()), int(stream.quality.argmin())
    half = rng.permutation(n_arms)[: n_arms // 2]
    yield "half unknown", stream, _without(known, half)
    yield "best unknown", stream, _without(known, best)
    yield "worst unknown", stream, _without(known, worst)
    yield "worst unknown and free", _free(stream, worst), _without(known, worst)
    yield "best unknown and free", _free(stream, best), _without(known, best)
    shipped = public(stream)
    if 0 < np.isnan(shipped).sum() < n_arms:
        yield "not in the table", stream, shipped


def _without(quality: Floats, arm: int | np.ndarray) -> Floats:
    quality = quality.copy()
    quality[arm] = np.nan
    return quality


def _free(stream: Stream, arm: int) -> Stream:
    costs, price = stream.costs.copy(), stream.price.copy()
    costs[:, arm], price[arm] = 0.0, 0.0
    return replace(stream, costs=costs, price=price)


def play(task: Task) -> list[Row]:
    rows = []
    for condition, stream, quality in conditions(task.open(), task.seed):
        for label, guess in GUESSES.items():
            with mock.patch.object(prior, "_guess_beside_known", guess):
                runs = [
                    (lam, replay(stream, Setting(lam, quality, has_context=False), task.seed))
                    for lam in LAMBDAS
                ]
            rows += [
                {
                    "condition": condition,
                    "policy": label,
                    "pool": task.pool,
                    "seed": task.seed,
                    "lam": lam,
                    "share": float(np.isnan(quality)[run.chosen].mean()),
                    **gaps(stream.utilities(lam), run.chosen),
                }
                for lam, run in runs
            ]
    return rows


def table(rows: list[Row]) -> str:
    """Format gaps, their paired difference to `alone`, and the unknown arms' share of requests."""
    lines = [
        f"{'condition':26}{'rule':14}{'gap':>14}{'difference':>16}{'first 500':>12}{'worst':>8}{'share':>8}"
    ]
    names = [*dict.fromkeys(row["condition"] for row in rows), None]
    for condition in names:
        of = [row for row in rows if condition in (None, row["condition"])]
        base = _by_seed([row for row in of if row["policy"] == "alone"])
        for label in GUESSES:
            own = [row for row in of if row["policy"] == label]
            gap, error = mean_over(own, "gap")
            difference = _by_seed(own) - base
            lines.append(
                f"{condition or 'all':26}{label:14}{gap:8.1f} ± {error:3.1f}{difference.mean():+10.1f} ± "
                f"{difference.std(ddof=1) / np.sqrt(difference.size):3.1f}{mean_over(own, 'first')[0]:12.1f}"
                f"{min(row['gap'] for row in own):8.0f}{np.mean([row['share'] for row in own]):8.3f}"
            )
    return "\n".join(lines)


def _by_seed(rows: list[Row]) -> Floats:
    seeds = sorted({row["seed"] for row in rows})
    return np.array([np.mean([row["gap"] for row in rows if row["seed"] == seed]) for seed in seeds])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=6, help="at least 2")
    options = parser.parse_args()
    rows: list[Row] = []
    for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
        for task in tasks(options.data, seed):
            rows += play(replace(task, n=N_REQUESTS))
    print(table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
