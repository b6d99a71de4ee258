"""Tags by a linear head on the vector that every request has."""

from __future__ import annotations

from decimal import Decimal

from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag
from service.policies.classifiers.asked import asked
from service.policies.classifiers.features import Features, TextFeatures
from service.policies.classifiers.head import Head

SOURCE = "linear"


class NewestFeatures:
    """Keeps the features of the newest text, for the heads that are asked one after the other."""

    def __init__(self, features: TextFeatures) -> None:
        self._features = features
        self._newest: tuple[str, Features] | None = None

    def of(self, text: str) -> Features:
        if self._newest is None or self._newest[0] != text:
            self._newest = (text, self._features.of(text))
        return self._newest[1]


class LinearClassifier:
    """Finds the label that a head finds most probable."""

    def __init__(self, head: Head, features: NewestFeatures) -> None:
        self.name = head.name
        self._head = head
        self._features = features

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        if context is None:
            return None
        probabilities = self._head.probabilities(context, self._features.of(asked(query)))
        confidence = max(probabilities)
        return Tag(
            self.name, self._head.labels[probabilities.index(confidence)], confidence, Decimal(0), SOURCE
        )
