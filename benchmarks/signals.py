"""What implicit signals do to the learner, on recorded outcomes.

    python -m benchmarks.signals --data FOLDER [--seeds N]

Answers of the recorded sets show no signals, so they are made up: telling, which are likelier the worse the
answer; noise, the same for every arm; and against the best arm alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bandit.arrays import Floats
from benchmarks.learner import Setting, registry, replay, unknown
from benchmarks.measures import gaps
from benchmarks.streams import N_REQUESTS, Stream, open_stream, set_names

LAM = 1 / 3  # price of dollars
DELAY = 50  # requests until feedback is known
SHARES = (0.2, 0.02, 0.0)  # of requests that are rated
WEIGHT = 0.2  # of a signal, about the mean of the defaults


def none(stream: Stream, uniform: Floats) -> Floats:
    return np.zeros(stream.shape)


def telling(stream: Stream, uniform: Floats) -> Floats:
    """A fifth of worthless answers show one, and no perfect one does."""
    return np.where(uniform < 0.2 * (1 - stream.scores), WEIGHT, 0.0)


def noise(stream: Stream, uniform: Floats) -> Floats:
    """One in twenty answers shows one, whatever it is worth."""
    return np.where(uniform < 0.05, WEIGHT, 0.0)


def both(stream: Stream, uniform: Floats) -> Floats:
    return np.where(uniform < 0.15 * (1 - stream.scores) + 0.02, WEIGHT, 0.0)


def against_the_best(stream: Stream, uniform: Floats) -> Floats:
    """A fifth of the best arm's answers are cut off, and as good as the others."""
    weights = np.zeros(stream.shape)
    best = int((stream.quality - LAM * stream.price).argmax())
    weights[:, best] = np.where(uniform[:, best] < 0.2, WEIGHT / 2, 0.0)
    return weights


KINDS: tuple[Callable[[Stream, Floats], Floats], ...] = (none, telling, noise, both, against_the_best)


def gap(stream: Stream, seed: int, quality: Floats, signals: Floats) -> float:
    """Utility minus that of the best fixed arm in hindsight, times 1000."""
    run = replay(stream, Setting(LAM, quality, signals=signals), seed)
    return float(gaps(stream.utilities(LAM), run.chosen)["gap"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=N_REQUESTS)
    given = parser.parse_args(arguments)
    print("rated  knowledge  signals             gap")
    for share in SHARES:
        for knowledge in (registry, unknown):
            for kind in KINDS:
                found = []
                for name in set_names(given.data):
                    for seed in range(given.seeds):
                        stream = open_stream(
                            given.data, name, seed, n=given.requests, share=share, delay=DELAY
                        )
                        uniform = np.random.default_rng(500 + seed).random(stream.shape)
                        quality = registry(stream, seed) if knowledge is registry else unknown(stream)
                        found.append(gap(stream, seed, quality, kind(stream, uniform)))
                error = np.std(found) / np.sqrt(len(found))
                print(
                    f"{share:5.2f}  {knowledge.__name__:9}  {kind.__name__:17} "
                    f"{np.mean(found):6.1f} ± {error:.1f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
