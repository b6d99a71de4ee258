"""Any sentence-transformers model, if that library (and torch with it) is installed."""

from collections.abc import Sequence

import numpy as np

from embeddings.encoder import CHARACTERS_PER_TOKEN, EncoderUnavailable, Vector, cut, normalise

# For models that do not state how many tokens they read.
DEFAULT_MAX_TOKENS = 512


class SentenceTransformerEncoder:
    """Encodes with a sentence-transformers model, given by name or folder.

    Raises:
        EncoderUnavailable: the library is not installed, or the model cannot be loaded.
    """

    def __init__(self, model: str) -> None:
        try:
            from sentence_transformers import (  # type: ignore[import-not-found, unused-ignore]
                SentenceTransformer,
            )
        except ImportError as error:
            raise EncoderUnavailable(
                "sentence-transformers is not installed: pip install sentence-transformers"
            ) from error
        try:
            self._model = SentenceTransformer(model)
        except (OSError, ValueError, RuntimeError) as error:
            raise EncoderUnavailable(
                f"cannot load the sentence-transformers model {model}: {error}"
            ) from error
        self.name = f"sentence-transformers-{model}"
        self._max_characters = (self._model.max_seq_length or DEFAULT_MAX_TOKENS) * CHARACTERS_PER_TOKEN
        self.dimension = self.encode(["dimension"]).shape[1]

    def encode(self, texts: Sequence[str]) -> Vector:
        beginnings = [cut(text, self._max_characters) for text in texts]
        vectors = self._model.encode(beginnings, show_progress_bar=False)
        return normalise(np.asarray(vectors, dtype=np.float32))
