"""A linear head: vector and features of a text -> a calibrated probability for each label."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from service.policies.classifiers.features import Features

VECTOR_SCALE = 3.0  # unit vectors have coordinates near 0.05, features near 1: one penalty fits both

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A softmax over labels.

    Args:
        encoder: the vector space that it was trained in; it says nothing in another.
        vector_weights: shape (d, n_labels), the scale included.
        feature_weights: shape (n_features, n_labels).
        stems: the row of `stem_weights` of each stem that has one.
        stem_weights: shape (n_stems, n_labels).
        bias: shape (n_labels,).
    """

    name: str
    encoder: str
    labels: tuple[str, ...]
    vector_weights: Floats
    feature_weights: Floats
    stems: Mapping[str, int]
    stem_weights: Floats
    bias: Floats

    def probabilities(self, context: Floats, features: Features) -> list[float]:
        """The probability of each label for a unit vector (d,) and its text's features."""
        logits = context @ self.vector_weights
        logits += features.values @ self.feature_weights
        logits += self.bias
        if rows := [self.stems[stem] for stem in features.stems if stem in self.stems]:
            logits += np.add.reduce(self.stem_weights.take(rows, axis=0))
        # Lists of a few numbers are faster than arrays.
        of_labels: list[float] = logits.tolist()
        highest = max(of_labels)
        weights = [math.exp(logit - highest) for logit in of_labels]
        total = sum(weights)
        return [weight / total for weight in weights]


def read_head(path: Path, feature_names: tuple[str, ...]) -> Head:
    """Read a head from JSON.

    Raises:
        ValueError: it was trained on other features.
    """
    stored = json.loads(path.read_bytes())
    if tuple(stored["features"]) != feature_names:
        raise ValueError(
            f"{path.name} was trained on other features: run python -m benchmarks.classifiers.train"
        )
    return Head(
        stored["name"],
        stored["encoder"],
        tuple(stored["labels"]),
        np.array(stored["vector_weights"], dtype=np.float32),
        np.array(list(stored["features"].values()), dtype=np.float32),
        {stem: row for row, stem in enumerate(stored["stems"])},
        np.array(list(stored["stems"].values()), dtype=np.float32),
        np.array(stored["bias"], dtype=np.float32),
    )


def write_head(head: Head, path: Path, feature_names: tuple[str, ...], *, decimals: int = 2) -> None:
    """Write a head as JSON with rounded weights."""

    def rounded(weights: Floats) -> list[float]:
        return [round(float(weight), decimals) for weight in weights]

    stored = {
        "name": head.name,
        "encoder": head.encoder,
        "labels": head.labels,
        "bias": rounded(head.bias),
        "features": {n: rounded(row) for n, row in zip(feature_names, head.feature_weights, strict=True)},
        "stems": {stem: rounded(head.stem_weights[row]) for stem, row in head.stems.items()},
        "vector_weights": [rounded(row) for row in head.vector_weights],
    }
    path.write_text(json.dumps(stored, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
