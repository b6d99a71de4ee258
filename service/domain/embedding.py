"""A request for embeddings, and its vectors."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

import numpy as np

from service.domain.basics import Json

Tokens = tuple[int, ...]
Row = list[float] | str  # the numbers of a vector, or the base64 of its little-endian float32
EncodingFormat = Literal["float", "base64"]


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts, or lists of tokens, to turn into vectors.

    Args:
        dimensions: numbers that each vector shall have; None: the model's own.
        others: further fields of the request.
    """

    model: str
    inputs: tuple[str | Tokens, ...]
    encoding_format: EncodingFormat = "float"
    dimensions: int | None = None
    others: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each input, in their order.

    Args:
        is_estimated: the server reported no tokens; the count is bytes / 4.
        stated_cost_usd: what the server says that the call cost.
    """

    rows: tuple[Row, ...]
    prompt_tokens: int
    is_estimated: bool = False
    stated_cost_usd: Decimal | None = None


def numbers_of(embedding: object) -> list[float] | None:
    """The numbers of a vector in either format; None: it is none."""
    if isinstance(embedding, str):
        try:
            numbers = np.frombuffer(b64decode(embedding, validate=True), "<f4")
        except ValueError:
            return None
        return numbers.tolist() if len(numbers) and np.isfinite(numbers).all() else None
    if not isinstance(embedding, list) or not embedding:
        return None
    return embedding if all(type(number) in (float, int) for number in embedding) else None


def as_row(numbers: Sequence[float], encoding_format: EncodingFormat) -> Row:
    """The vector in that format."""
    if encoding_format == "float":
        return list(numbers)
    return b64encode(np.asarray(numbers, "<f4").tobytes()).decode()
