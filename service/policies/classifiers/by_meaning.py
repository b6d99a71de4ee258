"""Tags by what a text means, for decisions by vectors that do not say it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from embeddings.encoder import EncoderError, TextEncoder
from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import Tag
from service.policies.classifier import Classifier


@dataclass(frozen=True, slots=True)
class ByMeaning:
    """Gives a classifier the vector of another encoder than that of the decision."""

    classifier: Classifier
    encoder: TextEncoder
    timeout_s: float

    @property
    def name(self) -> str:
        return self.classifier.name

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:  # a Classifier
        return await self.classifier.tag(query, await self._meaning(query.text))

    async def _meaning(self, text: str) -> Vector | None:
        if (vector := self.encoder.cached(text)) is not None:
            return vector
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self.encoder.encode(text)
        except (EncoderError, TimeoutError):
            return None
