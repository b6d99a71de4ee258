"""The interface of every encoder: texts in, unit vectors out."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float32]

# Far above the length of a token in ordinary text (about 4), and still a limit to the cost of a long text.
CHARACTERS_PER_TOKEN = 64


class EncoderError(Exception):
    """A text could not be encoded.

    EncoderError
    ├── EncoderBusy          too many texts already wait: try again later
    └── EncoderUnavailable   the encoder is missing, broken, unreachable or closed
    """


class EncoderBusy(EncoderError):
    """Too many texts already wait."""


class EncoderUnavailable(EncoderError):
    """The encoder is missing, broken, unreachable or closed."""


class Encoder(Protocol):
    """Encodes texts, blocking its thread."""

    @property
    def name(self) -> str:
        """The vector space; vectors of differently named spaces are never compared."""

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""

    def encode(self, texts: Sequence[str]) -> Vector:
        """Encode one or more texts into unit rows, shape (n, d).

        Raises:
            EncoderUnavailable: the texts could not be encoded.
        """


class TextEncoder(Protocol):
    """Encodes one text at a time without blocking the event loop."""

    @property
    def name(self) -> str:
        """The vector space; vectors of differently named spaces are never compared."""

    @property
    def dimension(self) -> int:
        """d, the length of every vector."""

    def cached(self, text: str) -> Vector | None:
        """The unit vector of a text, shape (d,), if it is known without a wait."""

    async def encode(self, text: str) -> Vector:
        """Encode a text into a unit vector, shape (d,).

        Raises:
            EncoderBusy: too many texts already wait.
            EncoderUnavailable: the text could not be encoded.
        """

    async def close(self) -> None:
        """End threads and close connections."""


def normalise(vectors: Vector) -> Vector:
    """Scale every row of an (n, d) array to length 1.

    Raises:
        EncoderUnavailable: a row is zero or not finite, so it has no direction.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise EncoderUnavailable("the encoder gave a vector that is zero or not finite")
    unit: Vector = (vectors / lengths).astype(np.float32, copy=False)
    return unit


def cut(text: str, n_characters: int) -> str:
    """Return the beginning of a text, as valid UTF-8.

    JSON may contain lone surrogates, which tokenisers and HTTP bodies reject; question marks replace them.
    """
    return text[:n_characters].encode("utf-8", "replace").decode()


def end(text: str, n_characters: int) -> str:
    """Return the end of a text, as valid UTF-8."""
    return text[-n_characters:].encode("utf-8", "replace").decode()
