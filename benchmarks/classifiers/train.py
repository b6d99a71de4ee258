"""python -m benchmarks.classifiers.train [--encoder FOLDER]

Trains the heads of `service/policies/classifiers/` on data/train.jsonl and writes their JSON files.
The kept-apart prompts are not read. The same data give the same files.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from benchmarks.classifiers.prompts import TRAINING, Prompt, open_encoder, read_prompts, vectors_of
from service.domain.tags import DIFFICULTIES, DIFFICULTY, INTENT, INTENTS
from service.policies.classifiers.features import TextFeatures
from service.policies.classifiers.head import VECTOR_SCALE, Head, write_head

PACKAGE = Path("service/policies/classifiers")
LABELS = {INTENT: INTENTS, DIFFICULTY: DIFFICULTIES}
PENALTY = 0.7
STEM_IN = 4  # prompts that a stem must be in to get a weight of its own
N_FOLDS = 5

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoder", type=Path, default=Path("build/encoder"), help="folder of the built encoder"
    )
    encoder = open_encoder(parser.parse_args().encoder)
    prompts = read_prompts(TRAINING)
    describer = TextFeatures()
    vectors = vectors_of(encoder, [prompt.text for prompt in prompts])
    features = [describer.of(prompt.text) for prompt in prompts]
    counts = Counter(stem for described in features for stem in described.stems)
    stems = {stem: i for i, stem in enumerate(sorted(s for s, n in counts.items() if n >= STEM_IN))}
    design = np.hstack(
        [
            VECTOR_SCALE * vectors,
            np.array([described.values for described in features]),
            np.array([[stem in described.stems for stem in stems] for described in features]),
            np.ones((len(prompts), 1)),
        ]
    ).astype(np.float64)
    parts = np.cumsum([vectors.shape[1], len(describer.names), len(stems)])
    for name in LABELS:
        of_vector, of_features, of_stems, bias = np.split(
            calibrated(name, design, prompts).astype(np.float32), parts
        )
        head = Head(
            name,
            encoder.name,
            LABELS[name],
            VECTOR_SCALE * of_vector,
            of_features,
            stems,
            of_stems,
            bias[0],
        )
        write_head(head, PACKAGE / f"{name}.json", describer.names)


def calibrated(name: str, design: Floats, prompts: list[Prompt]) -> Floats:
    """The weights of a head, scaled so that its confidence fits prompts that it was not trained on."""
    labels = np.array([LABELS[name].index(getattr(prompt, name)) for prompt in prompts])
    folds = np.random.default_rng(0).permutation(len(prompts)) % N_FOLDS
    logits = np.zeros((len(prompts), len(LABELS[name])))
    for fold in range(N_FOLDS):
        weights = fit(design[folds != fold], labels[folds != fold], len(LABELS[name]))
        logits[folds == fold] = design[folds == fold] @ weights
    written = np.array([not prompt.is_composed for prompt in prompts])
    hits = logits.argmax(axis=1) == labels
    best = minimize_scalar(
        lambda log_scale: loss(np.exp(log_scale) * logits[written], labels[written]), bounds=(-3, 3)
    )
    scale = float(np.exp(best.x))
    print(f"{name}: {hits[written].mean():.1%} of written prompts in cross-validation, scale {scale:.2f}")
    return scale * fit(design, labels, len(LABELS[name]))


def fit(design: Floats, labels: Ints, n_labels: int) -> Floats:
    """Multinomial logistic regression with an L2 penalty: weights, shape (n_features, n_labels)."""
    shape = (design.shape[1], n_labels)
    targets = np.eye(n_labels)[labels]

    def objective(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(shape)
        logits = design @ weights
        gradient = design.T @ (softmax(logits) - targets) + PENALTY * weights
        value = len(labels) * loss(logits, labels) + PENALTY / 2 * float((weights**2).sum())
        return value, gradient.ravel()

    found = minimize(
        objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    weights: Floats = found.x.reshape(shape)
    return weights


def softmax(logits: Floats) -> Floats:
    weights: Floats = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def loss(logits: Floats, labels: Ints) -> float:
    """The mean negative logarithm of the probability of the right label."""
    return float(-np.log(softmax(logits)[np.arange(len(labels)), labels]).mean())


if __name__ == "__main__":
    main()
