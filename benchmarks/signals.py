"""The effect of implicit signals on the learner, on recorded outcomes.

    python -m benchmarks.signals --data FOLDER [--seeds N] [--weight W] [--kinds none complaints]

The recorded sets have no signals, so the signals are made up: telling (likelier for a worse answer), noise
(equally likely for every answer), both, and against the best arm only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np

from bandit.arrays import Bools, Floats
from benchmarks.learner import Setting, registry, replay, unknown
from benchmarks.measures.task import gaps
from benchmarks.sets import set_names
from benchmarks.streams import N_REQUESTS, Stream, open_stream

LAM = 1 / 3  # price of dollars
DELAY = 50  # requests until feedback arrives
SHARES = (0.2, 0.05, 0.0)  # of requests that are rated

Kind = Callable[[Stream, Floats], Bools]  # which answers would have a signal


def none(stream: Stream, uniform: Floats) -> Bools:
    return np.zeros(stream.shape, dtype=np.bool_)


def telling(stream: Stream, uniform: Floats) -> Bools:
    """A fifth of the answers with score 0 have a signal, and none of those with score 1."""
    return uniform < 0.2 * (1 - stream.scores)


def noise(stream: Stream, uniform: Floats) -> Bools:
    """One in twenty answers has a signal, whatever its score."""
    return uniform < 0.05


def both(stream: Stream, uniform: Floats) -> Bools:
    return uniform < 0.15 * (1 - stream.scores) + 0.02


def against_the_best(stream: Stream, uniform: Floats) -> Bools:
    """A fifth of the best arm's answers have a signal, whatever their score."""
    has_signal = none(stream, uniform)
    best = int((stream.quality - LAM * stream.price).argmax())
    has_signal[:, best] = uniform[:, best] < 0.2
    return has_signal


def complaints(stream: Stream, uniform: Floats) -> Bools:
    """Users complain of one in ten answers with score 0, and of one in 200 with score 1."""
    return uniform < 0.1 - 0.095 * stream.scores


KINDS: tuple[Kind, ...] = (none, telling, noise, both, against_the_best, complaints)


def gap(stream: Stream, seed: int, kind: Kind, weight: float, *, is_known: bool) -> float:
    """Utility minus that of the best fixed arm in hindsight, times 1000."""
    uniform = np.random.default_rng(500 + seed).random(stream.shape)
    quality = registry(stream, seed) if is_known else unknown(stream)
    run = replay(stream, Setting(LAM, quality, signals=np.where(kind(stream, uniform), weight, 0.0)), seed)
    return float(gaps(stream.utilities(LAM), run.chosen)["gap"])


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of <set>.parquet and <set>.emb.npz")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=N_REQUESTS)
    parser.add_argument("--weight", type=float, default=0.05, help="of one signal")
    names = [kind.__name__ for kind in KINDS]
    parser.add_argument("--kinds", nargs="+", choices=names, default=names, help="of made-up signals")
    options = parser.parse_args(arguments)
    kinds = [kind for kind in KINDS if kind.__name__ in options.kinds]
    print("rated  knowledge  signals             gap")
    for share, is_known, kind in product(SHARES, (True, False), kinds):
        found = []
        for name, seed in product(set_names(options.data), range(options.seeds)):
            stream = open_stream(options.data, name, seed, n=options.requests, share=share, delay=DELAY)
            found.append(gap(stream, seed, kind, options.weight, is_known=is_known))
        error = np.std(found) / np.sqrt(len(found))
        knowledge = "registry" if is_known else "none"
        print(
            f"{share:5.2f}  {knowledge:9}  {kind.__name__:17} {np.mean(found):6.1f} ± {error:.1f}", flush=True
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
