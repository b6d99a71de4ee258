"""python -m benchmarks.classifiers.evaluate [--encoder FOLDER]

Prints how well the shipped classifiers label the prompts that are kept apart: accuracy with its interval,
confusion, languages, edge cases, calibration, microseconds. `make evaluate-classifiers` runs it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.classifiers.experts import print_experts
from benchmarks.classifiers.prompts import (
    KEPT_APART,
    TRAINING,
    Prompt,
    open_encoder,
    read_prompts,
    vectors_of,
)
from embeddings.encoder import Vector
from embeddings.minilm import MiniLM
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.head import Head
from service.policies.classifiers.shipped import shipped_heads

NEAR_DUPLICATE = 0.9  # cosine
N_REPEATS = 5

Bools = NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", type=Path, default=Path("build/encoder"), help="folder of the built encoder"
    )
    encoder = open_encoder(parser.parse_args().encoder)
    features = TextFeatures()
    prompts = read_prompts(KEPT_APART)
    vectors = vectors_of(encoder, [prompt.text for prompt in prompts])
    print_overlap(encoder, prompts, vectors)
    heads = shipped_heads(features)
    for head in heads:
        print_head(head, features, prompts, vectors)
    print_time(heads, features, prompts, vectors)
    print_experts(encoder)


def print_overlap(encoder: MiniLM, prompts: Sequence[Prompt], vectors: Vector) -> None:
    """How near the prompts are to those of the training."""
    training = read_prompts(TRAINING)
    nearest = (vectors @ vectors_of(encoder, [prompt.text for prompt in training]).T).max(axis=1)
    texts = {prompt.text for prompt in training}
    same = sum(prompt.text in texts for prompt in prompts)
    print(
        f"{len(prompts)} prompts kept apart, {len(training)} of the training; nearest of these: cosine "
        f"median {np.median(nearest):.2f}, {int((nearest > NEAR_DUPLICATE).sum())} above {NEAR_DUPLICATE}, "
        f"{same} the same"
    )


def print_head(head: Head, features: TextFeatures, prompts: Sequence[Prompt], vectors: Vector) -> None:
    probabilities = np.array(
        [head.probabilities(v, features.of(p.text)) for v, p in zip(vectors, prompts, strict=True)]
    )
    truth = np.array([head.labels.index(getattr(prompt, head.name)) for prompt in prompts])
    answers = probabilities.argmax(axis=1)
    hits = answers == truth
    print(f"\n## {head.name}: {accuracy(hits)}\n")
    print_confusion(head.labels, truth, answers)
    print("\nlanguages")
    for language in dict.fromkeys(prompt.language for prompt in prompts):
        print(f"  {language}: {accuracy(hits[[prompt.language == language for prompt in prompts]])}")
    print(f"  all but en: {accuracy(hits[[prompt.language != 'en' for prompt in prompts]])}")
    print("edge cases")
    for edge in dict.fromkeys(prompt.edge for prompt in prompts if prompt.edge):
        print(f"  {edge}: {accuracy(hits[[prompt.edge == edge for prompt in prompts]])}")
    print_calibration(probabilities.max(axis=1), hits)


def accuracy(hits: Bools) -> str:
    """The share of hits with its 95 % Wilson interval."""
    n, share, z = hits.size, float(hits.mean()), 1.96
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * float(np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))) / (1 + z**2 / n)
    return f"{share:.1%} of {n} ({centre - half:.1%} to {centre + half:.1%})"


def print_confusion(labels: Sequence[str], truth: NDArray[np.int64], answers: NDArray[np.int64]) -> None:
    width = max(map(len, labels)) + 1
    print(" " * width + "".join(f"{label:>{width}}" for label in labels) + "   (columns: the answer)")
    for i, label in enumerate(labels):
        counts = [int(((truth == i) & (answers == j)).sum()) for j in range(len(labels))]
        print(f"{label:{width}}" + "".join(f"{count:>{width}}" for count in counts))


def print_calibration(confidence: NDArray[np.float32], hits: Bools) -> None:
    print("calibration: confidence, accuracy")
    error = 0.0
    for low, high in ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01)):
        part = (confidence >= low) & (confidence < high)
        if part.any():
            print(f"  {confidence[part].mean():.2f}  {hits[part].mean():.2f}  of {int(part.sum())}")
            error += part.mean() * abs(float(confidence[part].mean()) - float(hits[part].mean()))
    print(f"  expected calibration error {error:.3f}")


def print_time(
    heads: Sequence[Head], features: TextFeatures, prompts: Sequence[Prompt], vectors: Vector
) -> None:
    """The processor's time for both heads, the fastest of a few repetitions: the rest is other programs."""
    fastest = []
    for prompt, vector in zip(prompts, vectors, strict=True):
        taken = []
        for _ in range(N_REPEATS):
            start = time.thread_time()
            found = features.of(prompt.text)
            for head in heads:
                head.probabilities(vector, found)
            taken.append(1e6 * (time.thread_time() - start))
        fastest.append(min(taken))
    p95 = np.percentile(fastest, 95)
    print(
        f"\nboth heads: mean {np.mean(fastest):.0f} µs, median {np.median(fastest):.0f} µs, p95 {p95:.0f} µs"
    )


if __name__ == "__main__":
    main()
