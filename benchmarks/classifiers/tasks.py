"""python -m benchmarks.classifiers.tasks --data FOLDER [--seeds N] [--n N]

Measures what the tags `intent` and `difficulty` change for the learner when they are its tasks: the gap to
the best fixed arm, times 1000, minus the gap without tags on the same stream. Above 0 the tags help.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from bandit.arrays import Ints
from benchmarks.learner import Setting, registry, replay
from benchmarks.measures.task import gaps
from benchmarks.streams import Stream, open_stream, tagged
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.shipped import shipped_heads

SETS = ("judged", "llmrouter", "routellm", "zeroeval")
FIRST_SEED = 300
PRICE_OF_DOLLARS = 1 / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of recorded outcomes, <set>.parquet")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", type=int, default=1000, help="requests of a stream")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    options = parser.parse_args()
    for name in options.sets:
        changes: dict[str, list[float]] = {}
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            plain = open_stream(options.data, name, seed, n=options.n)
            without = gap(plain, seed)
            for tag, tags in tags_of(plain).items():
                changes.setdefault(tag, []).append(gap(tagged(plain, tags), seed) - without)
        for tag, of_seeds in changes.items():
            error = np.std(of_seeds, ddof=1) / np.sqrt(len(of_seeds)) if len(of_seeds) > 1 else np.nan
            print(f"{name}, {tag}: {np.mean(of_seeds):+.1f} ± {error:.1f}, {len(of_seeds)} seeds", flush=True)


def tags_of(stream: Stream) -> dict[str, Ints]:
    """The tags of every request, numbered, shape (n,)."""
    features = TextFeatures()
    described = [features.of(prompt) for prompt in stream.prompts]
    found = {}
    for head in shipped_heads(features):
        contexts = stream.contexts.astype(np.float32)
        probabilities = [head.probabilities(c, d) for c, d in zip(contexts, described, strict=True)]
        found[head.name] = np.argmax(probabilities, axis=1)
    return {**found, "both": 10 * found["intent"] + found["difficulty"]}


def gap(stream: Stream, seed: int) -> float:
    run = replay(stream, Setting(PRICE_OF_DOLLARS, registry(stream, seed)), seed)
    return float(gaps(stream.utilities(PRICE_OF_DOLLARS), run.chosen)["gap"])


if __name__ == "__main__":
    main()
