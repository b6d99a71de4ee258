"""The expert whose description is nearest to a request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from embeddings.encoder import TextEncoder
from service.domain.basics import Vector
from service.domain.query import Query
from service.domain.tags import EXPERT, Tag

SOURCE = "embedding"
# Both were chosen on the sets of experts for development, with the default encoder.
MIN_SCORE = 0.1  # below it, no expert is for the request
SHARPNESS = 20.0  # of the confidence
# A request this similar to one of these is for no expert, unless an expert is nearer still.
IS_SMALL_TALK = 0.5
SMALL_TALK = (
    *("hi", "hello there, how are you?", "good morning", "thanks, that helped", "ok, goodbye"),
    *("tell me a joke", "who are you and what can you do?", "small talk", "yes please"),
    *("let us chat about something else", "I have a question"),
)

_BETWEEN_PHRASES = re.compile(
    r"[,;:.!?\n\u3001\u3002\uff0c\uff1b\uff1a]|\b(?:and|or|und|oder|et|ou|y|o|e|и|или)\b"
)
_MIN_PHRASE_CHARS = 3


@dataclass(frozen=True, slots=True)
class Expert:
    """What an expert is for, in natural language, and requests that are for it."""

    description: str
    examples: tuple[str, ...] = ()

    @property
    def phrases(self) -> tuple[str, ...]:
        """The parts of the description, and the examples: a request is seldom near to all of them."""
        parts = (part.strip() for part in _BETWEEN_PHRASES.split(self.description))
        phrases = tuple(part for part in parts if len(part) >= _MIN_PHRASE_CHARS)
        return (*(phrases or (self.description,)), *self.examples)


@dataclass(frozen=True, slots=True, eq=False)
class ExpertClassifier:
    """Finds the expert whose description and nearest phrase are most similar to the request, on average.

    Args:
        descriptions: unit vectors, shape (n_experts, d).
        phrases: unit vectors of the phrases of all experts, expert by expert, shape (n_phrases, d).
        first_phrases: the row of each expert's first phrase, shape (n_experts,).
        small_talk: unit vectors of what is for no expert, shape (n, d).
    """

    names: tuple[str, ...]
    descriptions: Vector
    phrases: Vector
    first_phrases: np.ndarray[tuple[int, ...], np.dtype[np.intp]]
    small_talk: Vector
    name: str = EXPERT

    async def tag(self, query: Query, context: Vector | None) -> Tag | None:
        if context is None:
            return None
        expert, confidence = self.best(context)
        return None if expert is None else Tag(self.name, expert, confidence, Decimal(0), SOURCE)

    def best(self, context: Vector) -> tuple[str | None, float]:
        """The best expert for a unit vector, and the confidence in it; None: no expert is near."""
        nearest = np.maximum.reduceat(self.phrases @ context, self.first_phrases)
        scores = (self.descriptions @ context + nearest) / 2
        best = int(scores.argmax())
        small_talk = float((self.small_talk @ context).max())
        if scores[best] < (small_talk if small_talk > IS_SMALL_TALK else MIN_SCORE):
            return None, 0.0
        return self.names[best], 1 / float(np.exp(SHARPNESS * (scores - scores[best])).sum())


async def expert_classifier(experts: Mapping[str, Expert], encoder: TextEncoder) -> ExpertClassifier:
    """Embed the descriptions of one or more experts.

    Raises:
        EncoderUnavailable, EncoderBusy: a description could not be embedded.
    """
    phrases = [expert.phrases for expert in experts.values()]
    return ExpertClassifier(
        names=tuple(experts),
        descriptions=np.stack([await encoder.encode(expert.description) for expert in experts.values()]),
        phrases=np.stack([await encoder.encode(phrase) for own in phrases for phrase in own]),
        first_phrases=np.cumsum([0, *map(len, phrases[:-1])]),
        small_talk=np.stack([await encoder.encode(text) for text in SMALL_TALK]),
    )
