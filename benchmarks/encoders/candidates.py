"""The encoders that are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions  # type: ignore[import-untyped]

from embeddings.encoder import Encoder, Vector, normalise
from embeddings.graph import minilm_graph
from embeddings.minilm import MiniLM, build_minilm
from embeddings.tokens import Tokens
from embeddings.weights import TOKENIZER, packaged_weights
from embeddings.words import open_words, typical_prompts

RECORDED = "MiniLM, float32, first 256"
FOLDER = Path(__file__).parent.parent / "results" / "encoders"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An encoder by its name in the report; `open` builds or loads it."""

    name: str
    open: Callable[[], Encoder]


class Layers:
    """The mean of the tokens after the first layers of MiniLM, around the mean of typical prompts."""

    dimension = MiniLM.dimension

    def __init__(self, n_layers: int, *, int8: bool = True, is_recorded: bool = False) -> None:
        source = packaged_weights(FOLDER, print)
        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        graph = minilm_graph(source, int8=int8, n_layers=n_layers)
        self.name = f"layers-{n_layers}-{int8}"
        self._session = InferenceSession(graph.SerializeToString(), options)
        tokens = Tokens(source / TOKENIZER)
        self._ids = tokens.first if is_recorded else tokens.last
        self._centre = np.zeros((1, self.dimension), dtype=np.float32)
        if not is_recorded:
            self._centre = self._pooled(typical_prompts()).mean(axis=0, keepdims=True)

    def encode(self, texts: Sequence[str]) -> Vector:
        return normalise(self._pooled(texts) - self._centre)

    def _pooled(self, texts: Sequence[str]) -> Vector:
        rows = [np.array([self._ids(text)], dtype=np.int32) for text in texts]
        return np.concatenate([self._session.run(None, {"ids": row})[0] for row in rows])


class Chance:
    """Vectors that say nothing."""

    name, dimension = "chance", MiniLM.dimension

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)

    def encode(self, texts: Sequence[str]) -> Vector:
        return normalise(self._rng.normal(size=(len(texts), self.dimension)).astype(np.float32))


def _minilm() -> MiniLM:
    return MiniLM(build_minilm(FOLDER, model_path=None, progress=print))


CANDIDATES = (
    Candidate(RECORDED, lambda: Layers(6, int8=False, is_recorded=True)),
    Candidate(
        "MiniLM, int8, last 128", lambda: MiniLM(build_minilm(FOLDER, model_path=None, progress=print))
    ),
    Candidate("3 layers", lambda: Layers(3)),
    Candidate("1 layer", lambda: Layers(1)),
    Candidate("words", lambda: open_words(FOLDER, model_path=None, progress=print)),
    Candidate("chance", Chance),
)
