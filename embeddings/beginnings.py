"""MiniLM for clients: the beginnings of texts, as the library that defines the model reads them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from embeddings.encoder import Vector

if TYPE_CHECKING:
    from embeddings.minilm import MiniLM  # loads onnxruntime, which most processes do without


class Beginnings:
    """Encodes the beginnings of texts, with a model that is opened when the first text comes.

    Args:
        open_model: opens the model; blocks, perhaps for seconds. Raises EncoderUnavailable.
    """

    name = "router-minilm"
    dimension = 384

    def __init__(self, open_model: Callable[[], MiniLM]) -> None:
        self._open_model = open_model
        self._model: MiniLM | None = None
        self._opening = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Vector:
        return self._opened().encode_beginnings(texts)

    def count_tokens(self, text: str) -> int:
        return self._opened().count_tokens(text)

    def _opened(self) -> MiniLM:
        with self._opening:
            if self._model is None:
                self._model = self._open_model()
            return self._model
