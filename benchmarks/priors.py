"""The value of the shipped public priors by mass, on recorded outcomes.

    python -m benchmarks.priors --data FOLDER

The streams are those of `benchmarks.quality`, with seeds that the learner was not tuned on. Prior means come
from the shipped table, by the arms' names.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.learner import Setting, public, registry, replay, unknown
from benchmarks.measures.task import LAMBDAS, Row, Task, gaps
from benchmarks.pools import SMALL_POOL
from benchmarks.sets import read_set, set_names
from benchmarks.streams import Stream
from benchmarks.summary import mean_over

FIRST_SEED = 100  # the learner was tuned on earlier seeds
MASSES = (2.0, 5.0, 10.0, 20.0)
N_REQUESTS = 1500


def settings(stream: Stream, seed: int) -> dict[str, Setting]:
    """The settings to compare, by label: they differ in the priors."""
    shipped = public(stream)
    return {
        "unknown": Setting(0.0, unknown(stream)),
        "registry, mass 20": Setting(0.0, registry(stream, seed)),
        **{f"public, mass {mass:g}": Setting(0.0, shipped, mass=mass, is_relative=True) for mass in MASSES},
    }


def play(task: Task) -> list[Row]:
    stream = task.open()
    return [
        {
            "policy": label,
            "pool": task.pool,
            "seed": task.seed,
            "lam": lam,
            **gaps(stream.utilities(lam), replay(stream, replace(setting, lam=lam), task.seed).chosen),
        }
        for label, setting in settings(stream, task.seed).items()
        for lam in LAMBDAS
    ]


def table(rows: list[Row]) -> str:
    """Format the gaps of all requests and of the first 500, per pool and over all pools."""
    pools = sorted({row["pool"] for row in rows})
    lines = [f"{'':20}{'gap':>13}{'first 500':>14}{'worst':>8}" + "".join(f"{pool:>20}" for pool in pools)]
    for label in dict.fromkeys(row["policy"] for row in rows):
        own = [row for row in rows if row["policy"] == label]
        cells = [mean_over([row for row in own if row["pool"] == pool], "gap") for pool in pools]
        (gap, error), (first, first_error) = mean_over(own, "gap"), mean_over(own, "first")
        lines.append(
            f"{label:20}{gap:7.1f} ± {error:3.1f}{first:8.1f} ± {first_error:3.1f}"
            f"{min(row['gap'] for row in own):8.0f}"
            + "".join(f"{mean:14.1f} ± {err:3.1f}" for mean, err in cells)
        )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    print(table([row for seed in seeds for task in tasks(options.data, seed) for row in play(task)]))
    return 0


def tasks(folder: Path, seed: int) -> list[Task]:
    """Every set with all its arms, and with five of them if it has more."""
    sizes = {name: len(read_set(folder, name).arms) for name in set_names(folder)}
    pools = [(name, None) for name in sizes] + [
        (name, SMALL_POOL) for name in sizes if sizes[name] > SMALL_POOL
    ]
    return [Task("public priors", folder, name, n_arms, seed, N_REQUESTS) for name, n_arms in pools]


if __name__ == "__main__":
    raise SystemExit(main())
