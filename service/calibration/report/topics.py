"""Topics of prompts: their task tags, or clusters of their contexts named by representative words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandit.arrays import Ints, Vectors
from service.calibration.clusters import Points
from service.calibration.prompts import CalibrationPrompt

LEAST_PROMPTS = 5  # of a topic; rarer task tags are one topic together
MOST_TOPICS = 12
CLUSTER_PROMPTS = 20  # with fewer prompts without a tag they are one topic
MOST_CLUSTERS = 6
SEED = 7
ALL, OTHER, UNTAGGED = "all prompts", "other", "untagged"
N_WORDS, LONGEST_WORD = 3, 20
COMMON = 0.5  # share of prompts with a word above which the word says nothing about a topic
WORD = re.compile(r"[^\W\d_]{3,}")
# English words that say nothing about a topic.
_STOP_WORDS = """
about after all also and any are been before best but can could did does each every following for
from get give given had has have her here him his how into its just let like make many may more most
much must not one only other our out over please put say she should so some such than that the their
them then there these they this those through two under use used using very was were what when where
which while who whose why will with would you your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


@dataclass(frozen=True, slots=True, eq=False)
class Topics:
    """The topics of a set of prompts.

    Args:
        names: one per topic, all different, the largest topic first.
        member: shape (n_prompts,), the topic of each prompt.
    """

    names: tuple[str, ...]
    member: Ints

    @classmethod
    def of(cls, prompts: Sequence[CalibrationPrompt], contexts: Vectors) -> Topics:
        """Sort prompts into topics: by tag where there is one, the others by cluster.

        Args:
            contexts: shape (n_prompts, d), unit vectors or zeros.
        """
        tags = Counter(prompt.task for prompt in prompts if prompt.task is not None)
        named = {tag for tag, n in tags.most_common(MOST_TOPICS - 1) if n >= LEAST_PROMPTS}
        labels = [
            "" if prompt.task is None else prompt.task if prompt.task in named else OTHER
            for prompt in prompts
        ]
        untagged = [row for row, prompt in enumerate(prompts) if prompt.task is None]
        texts = [prompts[row].text for row in untagged]
        alone = UNTAGGED if tags else ALL
        for row, name in zip(untagged, _clusters(texts, contexts[untagged], alone, set(labels)), strict=True):
            labels[row] = name
        names = tuple(name for name, _ in Counter(labels).most_common())
        return cls(names, np.array([names.index(label) for label in labels], dtype=np.int64))


def _clusters(texts: Sequence[str], contexts: Vectors, alone: str, taken: set[str]) -> list[str]:
    """The name of the cluster of each text."""
    n = len(texts)
    if n < CLUSTER_PROMPTS or not np.ptp(contexts, axis=0).any():
        return [alone] * n
    n_clusters = min(round((n / 10) ** 0.5) + 1, MOST_CLUSTERS)
    points = Points(np.asarray(contexts, dtype=np.float64), np.ones(n, dtype=np.intp))
    _, member = points.clusters(n_clusters, np.random.default_rng(SEED))
    names = _names(texts, member, taken)
    return [names[cluster] for cluster in member.tolist()]


def _names(texts: Sequence[str], member: NDArray[np.intp], taken: set[str]) -> dict[int, str]:
    """Name each cluster by the words that its texts have and the others lack.

    A word in a share p of the texts of a cluster and in a share q of the others scores
    p log((p + e) / (q + e)).
    """
    words = [{word[:LONGEST_WORD] for word in WORD.findall(text.casefold())} - STOP_WORDS for text in texts]
    in_all = Counter(word for found in words for word in found)
    names: dict[int, str] = {}
    for cluster in np.unique(member).tolist():
        inside = [found for found, c in zip(words, member.tolist(), strict=True) if c == cluster]
        n, n_outside = len(inside), max(len(words) - len(inside), 1)
        counts = Counter(word for found in inside for word in found)
        scores = {
            word: count / n * float(np.log((count / n + 0.05) / ((in_all[word] - count) / n_outside + 0.05)))
            for word, count in counts.items()
            if count >= 2 and in_all[word] <= COMMON * len(words)
        }
        best = sorted(scores, key=lambda word: (-scores[word], word))[:N_WORDS]
        name = ", ".join(word for word in best if scores[word] > 0) or "cluster"
        names[cluster] = _unique(name, {*taken, *names.values()})
    return names


def _unique(name: str, taken: set[str]) -> str:
    candidates = (name if i == 1 else f"{name} ({i})" for i in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate not in taken)
